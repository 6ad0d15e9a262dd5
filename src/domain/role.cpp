#include "kmtool/domain/role.hpp"

#include <algorithm>
#include <array>

#include "kmtool/core/error.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool {
namespace {

struct TypeFacts {
  KeyType type;
  std::string_view text;
  KeyClass key_class;
  unsigned long value_length;  ///< octets; 0 for pairs
  unsigned long modulus_bits;  ///< 0 for all but RSA
  int strength;
};

/// In the order of KeyType. An HMAC key's strength is the lesser of its bits and the hash's (256 from SHA-256 on).
constexpr std::array<TypeFacts, 12> facts{{
    {KeyType::aes128, "aes-128", KeyClass::secret, 16, 0, 128},
    {KeyType::aes192, "aes-192", KeyClass::secret, 24, 0, 192},
    {KeyType::aes256, "aes-256", KeyClass::secret, 32, 0, 256},
    {KeyType::hmac_sha256, "hmac-sha256", KeyClass::secret, 32, 0, 256},
    {KeyType::hmac_sha384, "hmac-sha384", KeyClass::secret, 48, 0, 256},
    {KeyType::hmac_sha512, "hmac-sha512", KeyClass::secret, 64, 0, 256},
    {KeyType::ec_p256, "ec-p256", KeyClass::pair, 0, 0, 128},
    {KeyType::ec_p384, "ec-p384", KeyClass::pair, 0, 0, 192},
    {KeyType::ec_p521, "ec-p521", KeyClass::pair, 0, 0, 256},
    {KeyType::ed25519, "ed25519", KeyClass::pair, 0, 0, 128},
    {KeyType::rsa3072, "rsa-3072", KeyClass::pair, 0, 3072, 128},
    {KeyType::rsa4096, "rsa-4096", KeyClass::pair, 0, 4096, 128},
}};

const TypeFacts& facts_of(KeyType type) {
  for (const auto& fact : facts) {
    if (fact.type == type) return fact;
  }
  throw Error::internal("no such key type");
}

std::string type_list(Role role) {
  std::vector<std::string> names;
  for (const KeyType type : types_of(role)) names.emplace_back(to_text(type));
  return join(names, ", ");
}

}  // namespace

std::string_view to_text(Role role) {
  switch (role) {
    case Role::kek:
      return "kek";
    case Role::data:
      return "data";
    case Role::mac:
      return "mac";
    case Role::sign:
      return "sign";
    case Role::transport:
      return "transport";
  }
  throw Error::internal("no such role");
}

std::optional<Role> role_from(std::string_view text) {
  for (const Role role : all_roles()) {
    if (to_text(role) == text) return role;
  }
  return std::nullopt;
}

std::string_view to_text(KeyType type) { return facts_of(type).text; }

std::optional<KeyType> key_type_from(std::string_view text) {
  for (const auto& fact : facts) {
    if (fact.text == text) return fact.type;
  }
  return std::nullopt;
}

const std::vector<Role>& all_roles() {
  static const std::vector<Role> roles{Role::kek, Role::data, Role::mac, Role::sign, Role::transport};
  return roles;
}

const std::vector<KeyType>& types_of(Role role) {
  static const std::vector<KeyType> aes{KeyType::aes256, KeyType::aes192, KeyType::aes128};
  static const std::vector<KeyType> hmac{KeyType::hmac_sha256, KeyType::hmac_sha384, KeyType::hmac_sha512};
  static const std::vector<KeyType> signing{KeyType::ec_p256, KeyType::ec_p384, KeyType::ec_p521,
                                            KeyType::ed25519, KeyType::rsa3072, KeyType::rsa4096};
  // Ordered by what can carry a KEK best; P-256 is missing because it is weaker than any AES-192.
  static const std::vector<KeyType> transport{KeyType::rsa4096, KeyType::rsa3072, KeyType::ec_p384, KeyType::ec_p521};
  switch (role) {
    case Role::kek:
    case Role::data:
      return aes;
    case Role::mac:
      return hmac;
    case Role::sign:
      return signing;
    case Role::transport:
      return transport;
  }
  throw Error::internal("no such role");
}

KeyType require_type(Role role, std::optional<KeyType> type) {
  const auto& types = types_of(role);
  if (!type) return types.front();
  if (std::find(types.begin(), types.end(), *type) != types.end()) return *type;
  throw Error::usage("a key of role " + std::string(to_text(role)) + " cannot be of type " + std::string(to_text(*type)),
                     "types of " + std::string(to_text(role)) + ": " + type_list(role));
}

KeyClass class_of(KeyType type) { return facts_of(type).key_class; }
unsigned long value_length(KeyType type) { return facts_of(type).value_length; }
unsigned long modulus_bits(KeyType type) { return facts_of(type).modulus_bits; }
bool is_rsa(KeyType type) { return facts_of(type).modulus_bits != 0; }
bool is_ec(KeyType type) { return type == KeyType::ec_p256 || type == KeyType::ec_p384 || type == KeyType::ec_p521; }
int strength_of(KeyType type) { return facts_of(type).strength; }

int rsa_strength(unsigned long modulus_bits) {
  if (modulus_bits >= 15360) return 256;
  if (modulus_bits >= 7680) return 192;
  if (modulus_bits >= 3072) return 128;
  if (modulus_bits >= 2048) return 112;
  return modulus_bits >= 1024 ? 80 : 0;  // 80: the row that the table dropped, told apart from none at all
}

int ec_strength(unsigned long field_bits) {
  if (field_bits >= 512) return 256;
  if (field_bits >= 384) return 192;
  if (field_bits >= 256) return 128;
  if (field_bits >= 224) return 112;
  return field_bits >= 160 ? 80 : 0;
}

}  // namespace kmtool
