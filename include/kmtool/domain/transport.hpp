#pragma once
#include <optional>
#include <string_view>
#include <vector>

#include "kmtool/domain/role.hpp"

namespace kmtool {

/// How a key is wrapped to somebody's public key, by what the octets are (as WrapAlgorithm for symmetric KEKs).
///
/// - `rsa_oaep`: RSAES-OAEP (RFC 8017, 7.1) of the key's value; MGF1 over the same hash, empty label.
/// - `rsa_oaep_kwp`: RSAES-OAEP of a fresh AES-256 key ‖ RFC 5649 of the value under that: the octets of CKM_RSA_AES_KEY_WRAP.
/// - `ecdh_kwp`: the uncompressed point of a fresh pair on the recipient's curve ‖ RFC 5649 of the value under the first 32 octets that
///   ANSI X9.63's KDF makes of the shared secret, without shared information: the octets of CKM_ECDH_AES_KEY_WRAP.
struct Transport {
  enum class Kind { rsa_oaep, rsa_oaep_kwp, ecdh_kwp };
  Kind kind = Kind::rsa_oaep;
  std::string_view hash = "SHA-256";  ///< `SHA-1` (RSA only), `SHA-256`, `SHA-384`, `SHA-512`
  bool operator==(const Transport&) const = default;
};

/// `RSA-OAEP-SHA256`, `RSA-OAEP-SHA1+AES-KWP`, `ECDH-X963-SHA256+AES-KWP`.
std::string_view to_text(const Transport& transport);
std::optional<Transport> transport_from(std::string_view text);
/// Every one, the ones to prefer first: SHA-1 last (no collision matters in OAEP, but newer tokens do without).
const std::vector<Transport>& all_transports();
/// An RSA key goes with OAEP, a NIST curve with ECDH.
bool fits(const Transport& transport, KeyType recipient);
/// Octets of a wrapped value of `plain` octets for a recipient of this type.
unsigned long transported_length(const Transport& transport, KeyType recipient, unsigned long plain);
/// The leading part of a two-step value: the encrypted AES key, or the point. 0 for `rsa_oaep`.
unsigned long transport_head(const Transport& transport, KeyType recipient);

}  // namespace kmtool
