#include "kmtool/domain/attributes.hpp"

#include <doctest/doctest.h>

#include "kmtool/core/error.hpp"

using namespace kmtool;

namespace {
const std::vector<Part> every_part{Part::value,        Part::kek_wrap,    Part::kek_seal,
                                   Part::private_half, Part::public_half, Part::anchor};
}

TEST_CASE("texts of parts") {
  for (const Part part : every_part) CHECK(part_from(to_text(part)) == part);
  CHECK_FALSE(part_from(""));
  CHECK_FALSE(part_from("Value"));
}

TEST_CASE("parts of a key, private ones first") {
  CHECK(parts_of(Role::kek) == std::vector<Part>{Part::kek_wrap, Part::kek_seal});
  CHECK(parts_of(Role::data) == std::vector<Part>{Part::value});
  CHECK(parts_of(Role::mac) == std::vector<Part>{Part::value});
  CHECK(parts_of(Role::sign) == std::vector<Part>{Part::private_half, Part::public_half});
  CHECK(parts_of(Role::transport) == std::vector<Part>{Part::private_half, Part::public_half});
}

TEST_CASE("usages") {
  const auto text = [](Role role, KeyType type, Part part) { return to_text(usage_of(role, type, part)); };
  CHECK(text(Role::kek, KeyType::aes256, Part::kek_wrap) == "wrap,unwrap");
  CHECK(text(Role::kek, KeyType::aes256, Part::kek_seal) == "sign,verify");
  CHECK(text(Role::data, KeyType::aes256, Part::value) == "encrypt,decrypt");
  CHECK(text(Role::mac, KeyType::hmac_sha256, Part::value) == "sign,verify");
  CHECK(text(Role::sign, KeyType::ec_p256, Part::private_half) == "sign");
  CHECK(text(Role::sign, KeyType::ec_p256, Part::public_half) == "verify");
  CHECK(text(Role::transport, KeyType::rsa4096, Part::private_half) == "unwrap");
  CHECK(text(Role::transport, KeyType::rsa4096, Part::public_half) == "wrap");
  CHECK(text(Role::transport, KeyType::ec_p384, Part::private_half) == "derive");
  CHECK(text(Role::transport, KeyType::ec_p384, Part::public_half) == "none");
  CHECK(text(Role::data, KeyType::aes256, Part::anchor) == "none");
}

TEST_CASE("no object ever both wraps and decrypts, or mixes other families") {
  for (const Role role : all_roles()) {
    for (const KeyType type : types_of(role)) {
      for (const Part part : parts_of(role)) {
        const Usage usage = usage_of(role, type, part);
        const int families = int{usage.encrypt || usage.decrypt} + int{usage.sign || usage.verify} +
                             int{usage.wrap || usage.unwrap} + int{usage.derive};
        CHECK(families <= 1);
      }
    }
  }
}

TEST_CASE("a part that the role does not have is a fault") {
  CHECK_THROWS_AS(usage_of(Role::data, KeyType::aes256, Part::kek_wrap), Error);
  CHECK_THROWS_AS(usage_of(Role::kek, KeyType::aes256, Part::value), Error);
  CHECK_THROWS_AS(usage_of(Role::sign, KeyType::ec_p256, Part::value), Error);
}
