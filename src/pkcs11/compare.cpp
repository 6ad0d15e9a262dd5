#include <array>

#include "host.hpp"
#include "keys.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/crypto/digest.hpp"
#include "objects.hpp"

namespace kmtool::pkcs11 {
namespace {

constexpr std::size_t block = 16;

/// Nothing that is signed to prove possession is anything else: it begins with this.
Bytes challenge(const Session& session) { return to_bytes("kmtool-possession-v1\n" + hex(session.random(32)) + "\n"); }

bool proves_by_signing(const Session& session, const Object& half, const crypto::PublicKey& key) {
  const Bytes message = challenge(session);
  if (half.key_type == CKK_RSA) {
    return host::verify_rsa(key, message, session.sign({CKM_SHA256_RSA_PKCS, nullptr, 0}, half.handle.value, message));
  }
  if (half.key_type == ckk_edwards)
    return key.is_ed25519() && key.verify_ed25519(message, eddsa(session, half.handle.value, message));
  const auto digest = crypto::sha256(message);
  return key.verify_ecdsa_digest(digest, ecdsa_der(session, half.handle.value, digest));
}

/// For keys that come from outside, throwaway: a template that only allows what the comparison needs.
Attributes throwaway(CK_KEY_TYPE type, CK_ATTRIBUTE_TYPE usage) {
  Attributes out;
  out.number(CKA_CLASS, CKO_SECRET_KEY).number(CKA_KEY_TYPE, type).flag(CKA_TOKEN, false).flag(CKA_PRIVATE, true);
  out.flag(CKA_SENSITIVE, true).flag(CKA_EXTRACTABLE, false).flag(usage, true);
  return out;
}

bool proves_by_agreement(const Session& session, const Object& half, const crypto::PublicKey& key) {
  host::Agreement host_side = host::agree(key);
  // The whole shared secret: tokens differ in which end of it they cut.
  Attributes what = throwaway(CKK_GENERIC_SECRET, CKA_SIGN);
  what.number(CKA_VALUE_LEN, host_side.secret.size());
  CK_ECDH1_DERIVE_PARAMS parameters{};
  parameters.kdf = CKD_NULL;
  parameters.pPublicData = host_side.point.data();
  parameters.ulPublicDataLen = host_side.point.size();
  const ScopedObject derived(
      session, session.derive({CKM_ECDH1_DERIVE, &parameters, sizeof parameters}, half.handle.value, std::move(what)));
  const Bytes message = challenge(session);
  return hmac_tag(session, derived.get(), message) == host::hmac_sha256(host_side.secret, message);
}

/// A deterministic cipher over two random blocks, by whatever of the three the token has.
Bytes encrypt_blocks(const Session& session, CK_OBJECT_HANDLE key, const Bytes& blocks, Bytes iv) {
  try {
    return session.encrypt({CKM_AES_ECB, nullptr, 0}, key, blocks);
  } catch (const Error& error) {
    if (is_fatal(error)) throw;
  }
  try {
    return session.encrypt({CKM_AES_CBC, iv.data(), iv.size()}, key, blocks);
  } catch (const Error& error) {
    if (is_fatal(error)) throw;
  }
  CK_GCM_PARAMS gcm{iv.data(), 12, 96, nullptr, 0, 128};
  return session.encrypt({CKM_AES_GCM, &gcm, sizeof gcm}, key, blocks);
}

bool same_wrapping_key(const Session& session, const Profile& profile, const Object& a, const Object& b) {
  const ObjectSpec spec{Role::data, KeyType::aes256, Part::value, "kmtool-drill", session.random(16), true};
  const auto made = generate_key(session, profile, spec, Lifetime::session);
  const ScopedObject key(session, made.front().handle.value);
  const Mechanism mechanism =
      wrap_mechanism(profile, profile.kwp_mechanism != 0 ? WrapAlgorithm::aes_kwp : WrapAlgorithm::aes_kw);
  return session.wrap(mechanism, a.handle.value, key.get()) == session.wrap(mechanism, b.handle.value, key.get());
}

/// CKK_GENERIC_SECRET keys do any HMAC; a key made elsewhere may be bound to one hash.
Bytes tag_with(const Session& session, const Object& object, const Bytes& message) {
  CK_MECHANISM_TYPE mechanism = CKM_SHA256_HMAC;
  if (object.key_type == ckk_sha384_hmac) mechanism = CKM_SHA384_HMAC;
  if (object.key_type == ckk_sha512_hmac) mechanism = CKM_SHA512_HMAC;
  return session.sign({mechanism, nullptr, 0}, object.handle.value, message);
}

bool same_numbers(const Object& a, const Object& b) { return public_key_of(a).spki() == public_key_of(b).spki(); }

/// The public keys that may belong to a private half: its own numbers, and the public objects with its id.
std::vector<crypto::PublicKey> public_candidates(const Session& session, const Object& a, const Object& b) {
  std::vector<crypto::PublicKey> out;
  for (const Object* half : {&a, &b}) {
    if (half->key_type == CKK_RSA && !half->modulus.empty() && !half->public_exponent.empty())
      out.push_back(public_key_of(*half));
    if (half->id.empty()) continue;
    Attributes filter;
    filter.number(CKA_CLASS, CKO_PUBLIC_KEY).bytes(CKA_ID, half->id);
    for (const Object& object : find_objects(session, std::move(filter))) {
      if (object.id == half->id && object.key_type == half->key_type) out.push_back(public_key_of(object));
    }
  }
  return out;
}

bool same_private_half(const Session& session, const Profile& profile, const Object& a, const Object& b) {
  if (a.key_type != b.key_type || (!a.modulus.empty() && !b.modulus.empty() && a.modulus != b.modulus)) return false;
  const auto candidates = public_candidates(session, a, b);
  if (candidates.empty()) {
    throw Error::unavailable("the private keys cannot be compared: there is no public half with their id on the token");
  }
  for (const crypto::PublicKey& key : candidates) {
    if (private_half_matches(session, profile, a, key)) return private_half_matches(session, profile, b, key);
  }
  return false;
}

}  // namespace

bool oaep_opens(const Session& session, CK_OBJECT_HANDLE private_key, const crypto::PublicKey& key, const std::string& hash) {
  const Bytes value = session.random(32);
  const auto wrapped = host::rsa_oaep(key, hash, value);
  if (!wrapped) return false;
  CK_RSA_PKCS_OAEP_PARAMS parameters = oaep_parameters(hash);
  CK_OBJECT_HANDLE handle = 0;
  try {
    handle = session.unwrap({CKM_RSA_PKCS_OAEP, &parameters, sizeof parameters}, private_key, *wrapped,
                            throwaway(CKK_GENERIC_SECRET, CKA_SIGN));
  } catch (const Error& error) {
    if (is_fatal(error)) throw;
    return false;
  }
  const ScopedObject opened(session, handle);
  const Bytes message = challenge(session);
  return hmac_tag(session, opened.get(), message) == host::hmac_sha256(value, message);
}

bool private_half_matches(const Session& session, const Profile& profile, const Object& half, const crypto::PublicKey& key) {
  const bool rsa = half.key_type == CKK_RSA;
  // A key of another kind or curve cannot even be tried.
  if (rsa != (key.description().rfind("rsa", 0) == 0) || (half.key_type == ckk_edwards) != key.is_ed25519()) return false;
  if (!half.ec_params.empty() && type_of_ec_params(half.ec_params) != key.type()) return false;
  if (half.sign.value_or(false)) return proves_by_signing(session, half, key);
  if (rsa && half.unwrap.value_or(false)) {
    if (profile.oaep_hashes.empty()) throw Error::unavailable("the token does no RSA-OAEP that kmtool could prove the key with");
    const auto& hashes = profile.oaep_hashes;
    const bool has_sha256 = std::find(hashes.begin(), hashes.end(), "SHA-256") != hashes.end();
    return oaep_opens(session, half.handle.value, key, has_sha256 ? "SHA-256" : hashes.front());
  }
  if (half.key_type == CKK_EC && half.derive.value_or(false)) return proves_by_agreement(session, half, key);
  throw Error::refused("usage",
                       "the private key allows neither signing, unwrapping nor derivation: nothing proves whose half it is");
}

bool keys_equal(const Session& session, const Profile& profile, const Object& a, const Object& b, Role role, Part part) {
  if (a.key_type != b.key_type || a.object_class != b.object_class) return false;
  if (part == Part::public_half) return same_numbers(a, b);
  if (part == Part::private_half) return same_private_half(session, profile, a, b);
  if (a.value_length && b.value_length && *a.value_length != *b.value_length) return false;
  if (part == Part::kek_wrap) return same_wrapping_key(session, profile, a, b);
  if (part == Part::kek_seal || role == Role::mac) {
    const Bytes message = challenge(session);
    return tag_with(session, a, message) == tag_with(session, b, message);
  }
  const Bytes blocks = session.random(2 * block);
  const Bytes iv = session.random(block);
  return encrypt_blocks(session, a.handle.value, blocks, iv) == encrypt_blocks(session, b.handle.value, blocks, iv);
}

}  // namespace kmtool::pkcs11
