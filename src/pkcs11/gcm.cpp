#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "keys.hpp"
#include "kmtool/core/secret.hpp"

namespace kmtool::pkcs11 {
namespace {

constexpr std::size_t iv_length = 12, tag_length = 16;
constexpr std::size_t ivs_drawn = 341;  // 4,092 octets: what Session::random takes in one call
static_assert(iv_length + tag_length == gcm_overhead);

CK_GCM_PARAMS parameters(ByteView iv, ByteView associated) {
  return {const_cast<CK_BYTE*>(iv.data()),         iv_length,         iv_length * 8,
          const_cast<CK_BYTE*>(associated.data()), associated.size(), tag_length * 8};
}

/// Codes by which tokens say that a tag is wrong. SoftHSM and NSS have words for it that may also mean a fault.
bool may_mean_damaged(const Error& error) {
  constexpr std::array codes{CKR_GENERAL_ERROR,          CKR_FUNCTION_FAILED,          CKR_DEVICE_ERROR, CKR_DATA_INVALID,
                             CKR_ENCRYPTED_DATA_INVALID, CKR_ENCRYPTED_DATA_LEN_RANGE, CK_RV{0x42}};  // CKR_AEAD_DECRYPT_FAILED
  return std::ranges::any_of(codes, [&](CK_RV rv) { return is_rv(error, rv); });
}

/// The token still opens what it has sealed itself.
bool gcm_works(const Session& session, const Profile& profile) {
  const ObjectSpec spec{Role::data, KeyType::aes256, Part::value, "kmtool-probe", session.random(16), false};
  try {
    const ScopedObject key(session, session.generate(CKM_AES_KEY_GEN, secret_template(spec, Lifetime::session, profile)));
    const Bytes text = session.random(32), iv = session.random(iv_length);
    Bytes sealed(text.size() + gcm_overhead), opened(sealed.size());
    seal_gcm(session, key.get(), iv, {}, text, sealed);
    CK_GCM_PARAMS gcm = parameters(iv, {});
    opened.resize(session.decrypt({CKM_AES_GCM, &gcm, sizeof gcm}, key.get(), ByteView(sealed).subspan(iv_length), opened));
    return opened == text;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

ByteView IvSupply::next(const Session& session) {
  if (used_ == drawn_.size()) {
    drawn_ = session.random(ivs_drawn * iv_length);
    used_ = 0;
  }
  const ByteView iv = ByteView(drawn_).subspan(used_, iv_length);
  used_ += iv_length;
  return iv;
}

std::size_t seal_gcm(const Session& session, CK_OBJECT_HANDLE key, ByteView iv, ByteView associated, ByteView plain,
                     std::span<std::uint8_t> out) {
  if (out.size() < plain.size() + gcm_overhead) throw Error::internal("a buffer too small for what is to be encrypted");
  std::ranges::copy(iv, out.begin());
  CK_GCM_PARAMS gcm = parameters(iv, associated);
  const std::size_t written =
      session.encrypt({CKM_AES_GCM, &gcm, sizeof gcm}, key, plain, out.subspan(iv_length, plain.size() + tag_length));
  if (written != plain.size() + tag_length) {
    throw Error::internal(fmt::format("C_Encrypt: {} octets became {} under AES-GCM", plain.size(), written),
                          "the PKCS#11 module breaks its contract; do not use it");
  }
  return iv_length + written;
}

std::size_t open_gcm(const Session& session, const Profile& profile, CK_OBJECT_HANDLE key, ByteView associated, ByteView sealed,
                     std::span<std::uint8_t> out) {
  if (sealed.size() < gcm_overhead) throw Error::tampered("the encrypted data is shorter than its IV and tag");
  if (out.size() < sealed.size()) throw Error::internal("a buffer too small for what is to be decrypted");
  CK_GCM_PARAMS gcm = parameters(sealed.first(iv_length), associated);
  std::size_t written = 0;
  try {
    written = session.decrypt({CKM_AES_GCM, &gcm, sizeof gcm}, key, sealed.subspan(iv_length), out);
  } catch (const Error& error) {
    cleanse(out.data(), out.size());  // a module may have written before it looked at the tag
    if (!may_mean_damaged(error) || !gcm_works(session, profile)) throw;
    throw Error(ExitCode::damaged, error.code(), "it does not open under its key: " + error.message(),
                "it is damaged, was altered, or belongs elsewhere");
  }
  if (written != sealed.size() - gcm_overhead) {
    cleanse(out.data(), out.size());
    throw Error::internal(fmt::format("C_Decrypt: {} octets became {} under AES-GCM", sealed.size() - iv_length, written),
                          "the PKCS#11 module breaks its contract; do not use it");
  }
  return written;
}

}  // namespace kmtool::pkcs11
