#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/domain/role.hpp"

namespace kmtool::pkcs11 {

/// What a token really does (TOKENS.md): found by trying, with session objects that are destroyed again.
struct Profile {
  /// Mechanism number proven to be RFC 3394 (0x2109) / RFC 5649 (0x210B preferred, 0x210A only after a length and known-answer
  /// test). 0: none. Proven by a round trip of known structure: 32 octets wrap to 40 under both, 20 octets to 32 under
  /// KWP, PKCS#7 gives 48; and by unwrapping a vector made on the host with a throwaway imported session KEK.
  unsigned long kw_mechanism = 0;
  unsigned long kwp_mechanism = 0;
  std::string kwp_note;                  ///< e.g. `0x210A is PKCS#7 padding, not RFC 5649`, `odd lengths come back zero-padded`
  std::vector<std::string> oaep_hashes;  ///< `SHA-1`, `SHA-256`…: which unwrap RSA-OAEP accepts
  /// Names of transports (domain/transport.hpp): what this token can wrap to a public key, and what its private keys can open.
  std::vector<std::string> transports_out, transports_in;
  bool extractable_enforced = false;     ///< a non-extractable key cannot be wrapped
  bool wrap_with_trusted_enforced = false;
  bool local_correct = false;                 ///< CKA_LOCAL true on generated keys
  bool modifiable_enforced = false;           ///< MODIFIABLE=false stops C_SetAttributeValue adding a usage
  bool copies = false;                        ///< C_CopyObject works, session → changed EXTRACTABLE
  bool copy_keeps_extractable_false = false;  ///< copying a non-extractable key cannot make it extractable
  bool copyable_known = false;                ///< CKA_COPYABLE=false accepted in a copy's template and honoured
  bool private_pairs_copy = false;            ///< C_CopyObject works for private keys and public halves too
  /// The token keeps one object a class and CKA_ID: writing a second one silently replaces the first (NSS; recognised, not
  /// tried). The second objects of a KEK and of the anchor then carry a suffix on the token that Object::id does not show.
  bool one_object_per_id = false;
  bool finds_nameless = false;  ///< C_FindObjects with an empty label and id gives just the objects without them
  bool relabels = false;  ///< CKA_LABEL of a secret object can be changed (needed for the anchor)
  bool hmac_sha256 = false, ecdsa_p256 = false, ed25519 = false, aes_gcm = false;
  std::map<std::string, std::string> wraps;  ///< type name → `yes` or the CKR name: which kinds C_WrapKey takes
  std::vector<std::string> generates;        ///< type names the token can generate

  [[nodiscard]] bool can_generate(KeyType type) const;
  [[nodiscard]] bool can_wrap(KeyType type) const;
  [[nodiscard]] std::string to_json() const;
  /// nullopt when it is not one of ours or of another version (then probe again).
  static std::optional<Profile> from_json(const std::string& text);
};

/// Cache key: SHA-256 over module digest, serial, model, firmware and the profile format's version, hex.
std::string profile_key(const std::string& module_digest, const std::string& serial, const std::string& model,
                        const std::string& firmware);

}  // namespace kmtool::pkcs11
