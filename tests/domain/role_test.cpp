#include "kmtool/domain/role.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "kmtool/core/error.hpp"

using namespace kmtool;

namespace {

const std::vector<KeyType>& all_types() {
  static const std::vector<KeyType> types{KeyType::aes128,      KeyType::aes192,      KeyType::aes256,  KeyType::hmac_sha256,
                                          KeyType::hmac_sha384, KeyType::hmac_sha512, KeyType::ec_p256, KeyType::ec_p384,
                                          KeyType::ec_p521,     KeyType::ed25519,     KeyType::rsa3072, KeyType::rsa4096};
  return types;
}

std::vector<std::string> names_of(Role role) {
  std::vector<std::string> names;
  for (const KeyType type : types_of(role)) names.emplace_back(to_text(type));
  return names;
}
using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("texts go there and back") {
  CHECK(all_roles().size() == 5);
  for (const Role role : all_roles()) CHECK(role_from(to_text(role)) == role);
  for (const KeyType type : all_types()) CHECK(key_type_from(to_text(type)) == type);
  for (const char* bad : {"", "KEK", "kek ", "aes", "aes256", "AES-256", "rsa-2048"}) {
    CHECK_FALSE(role_from(bad));
    CHECK_FALSE(key_type_from(bad));
  }
}

TEST_CASE("the table of roles and types, default first") {
  CHECK(names_of(Role::kek) == Names{"aes-256", "aes-192", "aes-128"});
  CHECK(names_of(Role::data) == Names{"aes-256", "aes-192", "aes-128"});
  CHECK(names_of(Role::mac) == Names{"hmac-sha256", "hmac-sha384", "hmac-sha512"});
  CHECK(names_of(Role::sign) == Names{"ec-p256", "ec-p384", "ec-p521", "ed25519", "rsa-3072", "rsa-4096"});
  CHECK(names_of(Role::transport) == Names{"rsa-4096", "rsa-3072", "ec-p384", "ec-p521"});
}

TEST_CASE("every pair outside the table is refused, naming the role's types") {
  for (const Role role : all_roles()) {
    CHECK(require_type(role, std::nullopt) == types_of(role).front());
    for (const KeyType type : all_types()) {
      const auto& types = types_of(role);
      if (std::find(types.begin(), types.end(), type) != types.end()) {
        CHECK(require_type(role, type) == type);
        continue;
      }
      try {
        require_type(role, type);
        FAIL("accepted");
      } catch (const Error& error) {
        CHECK(error.exit() == ExitCode::usage);
        for (const auto& name : names_of(role)) CHECK(error.hint().find(name) != std::string::npos);
      }
    }
  }
}

TEST_CASE("lengths and kinds") {
  CHECK(value_length(KeyType::aes128) == 16);
  CHECK(value_length(KeyType::aes192) == 24);
  CHECK(value_length(KeyType::aes256) == 32);
  CHECK(value_length(KeyType::hmac_sha256) == 32);
  CHECK(value_length(KeyType::hmac_sha384) == 48);
  CHECK(value_length(KeyType::hmac_sha512) == 64);
  CHECK(modulus_bits(KeyType::rsa3072) == 3072);
  CHECK(modulus_bits(KeyType::rsa4096) == 4096);
  for (const KeyType type : all_types()) {
    CHECK((class_of(type) == KeyClass::secret) == (value_length(type) != 0));
    CHECK(is_rsa(type) == (modulus_bits(type) != 0));
    CHECK_FALSE((is_rsa(type) && is_ec(type)));
  }
  CHECK(is_ec(KeyType::ec_p256));
  CHECK(is_ec(KeyType::ec_p521));
  CHECK_FALSE(is_ec(KeyType::ed25519));
}

TEST_CASE("strengths: SP 800-57 part 1, 5.6.1") {
  CHECK(strength_of(KeyType::aes128) == 128);
  CHECK(strength_of(KeyType::aes192) == 192);
  CHECK(strength_of(KeyType::aes256) == 256);
  CHECK(strength_of(KeyType::hmac_sha256) == 256);
  CHECK(strength_of(KeyType::hmac_sha384) == 256);
  CHECK(strength_of(KeyType::hmac_sha512) == 256);
  CHECK(strength_of(KeyType::ec_p256) == 128);
  CHECK(strength_of(KeyType::ec_p384) == 192);
  CHECK(strength_of(KeyType::ec_p521) == 256);
  CHECK(strength_of(KeyType::ed25519) == 128);
  CHECK(strength_of(KeyType::rsa3072) == 128);
  CHECK(strength_of(KeyType::rsa4096) == 128);  // between two rows: the lower
}

TEST_CASE("strengths of keys made elsewhere, at the rows' edges") {
  CHECK(rsa_strength(512) == 0);
  CHECK(rsa_strength(1024) == 80);
  CHECK(rsa_strength(2047) == 80);
  CHECK(rsa_strength(2048) == 112);
  CHECK(rsa_strength(3071) == 112);
  CHECK(rsa_strength(3072) == 128);
  CHECK(rsa_strength(7679) == 128);
  CHECK(rsa_strength(7680) == 192);
  CHECK(rsa_strength(15359) == 192);
  CHECK(rsa_strength(15360) == 256);
  CHECK(ec_strength(112) == 0);
  CHECK(ec_strength(192) == 80);
  CHECK(ec_strength(224) == 112);
  CHECK(ec_strength(255) == 112);
  CHECK(ec_strength(256) == 128);
  CHECK(ec_strength(383) == 128);
  CHECK(ec_strength(384) == 192);
  CHECK(ec_strength(521) == 256);
}
