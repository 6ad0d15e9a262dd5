#include <fmt/format.h>

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

}  // namespace kmtool::pkcs11
