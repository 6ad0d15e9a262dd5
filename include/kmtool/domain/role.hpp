#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kmtool {

/// What a key is for; fixes every usage attribute (DESIGN.md, Words).
enum class Role { kek, data, mac, sign, transport };

enum class KeyType {
  aes128, aes192, aes256,
  hmac_sha256, hmac_sha384, hmac_sha512,
  ec_p256, ec_p384, ec_p521, ed25519,
  rsa3072, rsa4096,
};

enum class KeyClass { secret, pair };

std::string_view to_text(Role role);
std::optional<Role> role_from(std::string_view text);
/// Names of CLI.md: `aes-256`, `hmac-sha256`, `ec-p256`, `ed25519`, `rsa-3072`…
std::string_view to_text(KeyType type);
std::optional<KeyType> key_type_from(std::string_view text);
const std::vector<Role>& all_roles();
/// CLI.md's table, default first.
const std::vector<KeyType>& types_of(Role role);
/// The role's default when `type` is nullopt; throws usage (64) naming the role's types for any pair outside the table.
KeyType require_type(Role role, std::optional<KeyType> type);

KeyClass class_of(KeyType type);
/// Length of the key value in octets for secret keys (aes-256: 32, hmac-sha384: 48); 0 for pairs.
unsigned long value_length(KeyType type);
/// Modulus bits for RSA, else 0.
unsigned long modulus_bits(KeyType type);
bool is_rsa(KeyType type);
bool is_ec(KeyType type);  ///< NIST curves, not Ed25519
/// Security strength in bits: SP 800-57 part 1 r5, 5.6.1, tables 2 and 3 (Ed25519 128; HMAC min(key, hash)).
int strength_of(KeyType type);
/// The table's row for any RSA modulus / symmetric size, for keys not made by kmtool.
int rsa_strength(unsigned long modulus_bits);
int ec_strength(unsigned long field_bits);

}  // namespace kmtool
