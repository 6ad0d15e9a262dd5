#pragma once
#include <optional>
#include <string>

#include "kmtool/core/bytes.hpp"
#include "kmtool/crypto/public_key.hpp"

/// Host-side sums for proofs about a token, over throwaway values only: no key of value ever comes here.
namespace kmtool::crypto::reference {

Bytes aes_kw(ByteView kek, ByteView value);   ///< RFC 3394; lengths are multiples of 8
Bytes aes_kwp(ByteView kek, ByteView value);  ///< RFC 5649
Bytes aes_ecb(ByteView key, ByteView blocks);
Bytes hmac_sha256(ByteView key, ByteView data);
/// What CKA_MODULUS, CKA_PUBLIC_EXPONENT and CKA_EC_POINT (DER OCTET STRING, and without it) of a public key are.
struct Numbers {
  Bytes modulus, exponent, point, raw_point;
};
Numbers numbers_of(const PublicKey& key);
/// nullopt where the modulus is too short for the hash.
std::optional<Bytes> rsa_oaep(const PublicKey& key, const std::string& hash, ByteView value);
/// PKCS#1 v1.5 over SHA-256.
bool verify_rsa(const PublicKey& key, ByteView message, ByteView signature);
/// An ephemeral key on the curve of `key`: its uncompressed point, and the secret it shares with `key`.
struct Agreement {
  Bytes point, secret;
};
Agreement agree(const PublicKey& key);
/// ANSI X9.63's KDF (SEC 1, 3.6.1) without shared information; `hash` as `SHA-256`.
Bytes x963_kdf(const std::string& hash, ByteView secret, std::size_t length);

}  // namespace kmtool::crypto::reference
