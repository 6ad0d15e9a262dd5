#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "keys.hpp"

namespace kmtool::pkcs11 {

Bytes hmac_tag(const Session& session, CK_OBJECT_HANDLE key, ByteView data) {
  Bytes tag = session.sign({CKM_SHA256_HMAC, nullptr, 0}, key, data);
  if (tag.size() != 32) throw Error::internal(fmt::format("C_Sign: the token's HMAC-SHA-256 has {} octets", tag.size()));
  return tag;
}

Bytes ecdsa_der(const Session& session, CK_OBJECT_HANDLE key, ByteView digest) {
  return crypto::ecdsa_raw_to_der(session.sign({CKM_ECDSA, nullptr, 0}, key, digest));
}

Bytes eddsa(const Session& session, CK_OBJECT_HANDLE key, ByteView message) {
  Bytes signature = session.sign({mech_eddsa, nullptr, 0}, key, message);
  if (signature.size() != 64)
    throw Error::internal(fmt::format("C_Sign: the token's Ed25519 signature has {} octets", signature.size()));
  return signature;
}

Bytes rsa_pss(const Session& session, CK_OBJECT_HANDLE key, ByteView digest) {
  CK_RSA_PKCS_PSS_PARAMS pss{};
  switch (digest.size()) {
    case 32:
      pss = {CKM_SHA256, CKG_MGF1_SHA256, digest.size()};
      break;
    case 48:
      pss = {CKM_SHA384, CKG_MGF1_SHA384, digest.size()};
      break;
    case 64:
      pss = {CKM_SHA512, CKG_MGF1_SHA512, digest.size()};
      break;
    default:
      throw Error::internal(fmt::format("a digest of {} octets is to be signed with RSA-PSS", digest.size()));
  }
  return session.sign({CKM_RSA_PKCS_PSS, &pss, sizeof pss}, key, digest);
}

namespace {

Mechanism hmac_mechanism(KeyType type) {
  if (type == KeyType::hmac_sha384) return {CKM_SHA384_HMAC, nullptr, 0};
  if (type == KeyType::hmac_sha512) return {CKM_SHA512_HMAC, nullptr, 0};
  if (type != KeyType::hmac_sha256) throw Error::internal("an HMAC with a key of another type");
  return {CKM_SHA256_HMAC, nullptr, 0};
}

}  // namespace

Bytes hmac_tag_of(const Session& session, CK_OBJECT_HANDLE key, KeyType type, const Feed& next) {
  Bytes tag = session.sign(hmac_mechanism(type), key, next);
  if (tag.size() != value_length(type)) {
    throw Error::internal(fmt::format("C_SignFinal: the token's {} has {} octets", to_text(type), tag.size()));
  }
  return tag;
}

namespace {

/// The token still verifies what it has made itself.
bool hmac_works(const Session& session, const Profile& profile, KeyType type) {
  try {
    const ObjectSpec spec{Role::mac, type, Part::value, "kmtool-probe", session.random(16), false};
    const ScopedObject key(session, session.generate(generation_mechanism(type), secret_template(spec, Lifetime::session, profile)));
    const Bytes text = session.random(32);
    const auto once = [&text](bool& given) { return [&text, &given] { return std::exchange(given, true) ? ByteView() : ByteView(text); }; };
    bool signed_over = false, verified_over = false;
    const Bytes tag = session.sign(hmac_mechanism(type), key.get(), once(signed_over));
    return session.verify(hmac_mechanism(type), key.get(), once(verified_over), tag);
  } catch (const Error&) {
    return false;
  }
}

/// NSS says of a wrong tag whatever its last error happened to be.
bool may_mean_wrong(const Error& error) {
  constexpr std::array codes{CKR_ARGUMENTS_BAD, CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED, CKR_DEVICE_ERROR, CKR_DATA_INVALID, CKR_DATA_LEN_RANGE};
  return std::ranges::any_of(codes, [&](CK_RV rv) { return is_rv(error, rv); });
}

}  // namespace

bool hmac_tag_good(const Session& session, const Profile& profile, CK_OBJECT_HANDLE key, KeyType type, const Feed& next, ByteView tag) {
  if (tag.size() != value_length(type)) return false;  // a token may take one that was cut short
  try {
    return session.verify(hmac_mechanism(type), key, next, tag);
  } catch (const Error& error) {
    if (!may_mean_wrong(error) || !hmac_works(session, profile, type)) throw;
    return false;
  }
}

}  // namespace kmtool::pkcs11
