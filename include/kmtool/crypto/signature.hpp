#pragma once
#include <optional>
#include <string_view>

#include "kmtool/crypto/digest.hpp"
#include "kmtool/crypto/public_key.hpp"

namespace kmtool::crypto {

/// How a document is signed with a key: the type of the key decides, so that nobody has to choose and nothing weak can be chosen.
enum class Scheme {
  ecdsa_p256_sha256,  ///< FIPS 186-5, 6: DER Ecdsa-Sig-Value over a digest as long as the curve's order
  ecdsa_p384_sha384,
  ecdsa_p521_sha512,
  ed25519,         ///< RFC 8032, pure: over the document itself
  rsa_pss_sha256,  ///< RFC 8017, 8.1: MGF1 with SHA-256, a salt of 32 octets
};
std::string_view to_text(Scheme scheme);  ///< `ecdsa-p256-sha256`, `ed25519`, `rsa-pss-sha256`
Scheme scheme_of(const PublicKey& key);
/// Of the digest that is signed; nullopt where the document itself is.
std::optional<Hash> hash_of(Scheme scheme);

/// `signed_over`: the digest, or for Ed25519 the document. RSA-PSS takes a salt of any length, as other programs write them.
bool verify(const PublicKey& key, ByteView signed_over, ByteView signature);

/// DER AlgorithmIdentifier, for requests and certificates (RFC 5758, RFC 8410, RFC 4055).
Bytes algorithm_identifier(Scheme scheme);

}  // namespace kmtool::crypto
