#include <algorithm>

#include "templates.hpp"

namespace kmtool::pkcs11 {
namespace {

std::optional<KeyType> aes_of(unsigned long length) {
  for (const KeyType type : {KeyType::aes128, KeyType::aes192, KeyType::aes256}) {
    if (value_length(type) == length) return type;
  }
  return std::nullopt;
}

std::optional<KeyType> hmac_of(unsigned long length) {
  for (const KeyType type : {KeyType::hmac_sha256, KeyType::hmac_sha384, KeyType::hmac_sha512}) {
    if (value_length(type) == length) return type;
  }
  return std::nullopt;
}

std::optional<KeyType> rsa_of(const Bytes& modulus) {
  const auto first = std::ranges::find_if(modulus, [](std::uint8_t octet) { return octet != 0; });
  if (first == modulus.end() || *first < 0x80) return std::nullopt;
  const auto bits = static_cast<unsigned long>(modulus.end() - first) * 8;
  for (const KeyType type : {KeyType::rsa3072, KeyType::rsa4096}) {
    if (modulus_bits(type) == bits) return type;
  }
  return std::nullopt;
}

std::optional<KeyType> type_of(const Object& object) {
  switch (object.key_type) {
    case CKK_AES:
      return object.value_length ? aes_of(*object.value_length) : std::nullopt;
    case CKK_GENERIC_SECRET:
      return object.value_length ? hmac_of(*object.value_length) : std::nullopt;
    case ckk_sha256_hmac:
      return KeyType::hmac_sha256;
    case ckk_sha384_hmac:
      return KeyType::hmac_sha384;
    case ckk_sha512_hmac:
      return KeyType::hmac_sha512;
    case CKK_RSA:
      return rsa_of(object.modulus);
    case CKK_EC:
    case ckk_edwards:
      return type_of_ec_params(object.ec_params);
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<KeyType> Object::type(Role role) const {
  const auto found = type_of(*this);
  if (!found) return std::nullopt;
  const auto& allowed = types_of(role);
  // A KEK's second object is its seal.
  const bool seal = role == Role::kek && found == KeyType::hmac_sha256;
  return seal || std::ranges::find(allowed, *found) != allowed.end() ? found : std::nullopt;
}

}  // namespace kmtool::pkcs11
