#include "kmtool/core/encoding.hpp"

#include <doctest/doctest.h>

#include "kmtool/core/error.hpp"

using namespace kmtool;

TEST_CASE("hex") {
  CHECK(hex({}).empty());
  CHECK(hex(Bytes{0x00, 0x0f, 0xf0, 0xff}) == "000ff0ff");
  CHECK(from_hex("") == Bytes{});
  CHECK(from_hex("00fF") == Bytes{0, 255});
  for (const char* bad : {"0", "0g", "g0", " 0", "0x", "00 ", "-1"}) CHECK_FALSE(from_hex(bad));
}

TEST_CASE("base64: the vectors of RFC 4648") {
  const std::vector<std::pair<const char*, const char*>> vectors{{"", ""},
                                                                 {"f", "Zg=="},
                                                                 {"fo", "Zm8="},
                                                                 {"foo", "Zm9v"},
                                                                 {"foob", "Zm9vYg=="},
                                                                 {"fooba", "Zm9vYmE="},
                                                                 {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, coded] : vectors) {
    CHECK(base64(view(plain)) == coded);
    CHECK(from_base64(coded) == to_bytes(plain));
  }
  CHECK(base64(Bytes{0xfb, 0xff, 0xfe}) == "+//+");
}

TEST_CASE("base64 accepts one spelling only") {
  // Trailing bits set, padding short, too long, inside or alone, white space, the URL alphabet, NUL.
  for (const std::string bad : {"Zh==", "Zm9=", "Zg=", "Zg", "Z", "Zg===", "Zg==Zg==", "=", "====", "Z===", "Zm9v\n", " Zm9v",
                                "Zm9v====", "-__-", "Z=g=", "Zg=a"}) {
    CAPTURE(bad);
    CHECK_FALSE(from_base64(bad));
  }
  CHECK_FALSE(from_base64(std::string_view("Zm\0v", 4)));
}

TEST_CASE("base64 is the inverse of itself for every short length, and nothing else decodes") {
  std::uint32_t state = 1;
  for (std::size_t size = 0; size < 70; ++size) {
    Bytes bytes(size);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>((state = state * 1664525U + 1013904223U) >> 24);
    CHECK(from_base64(base64(bytes)) == bytes);
    CHECK(from_hex(hex(bytes)) == bytes);
  }
  // Whatever two characters end a padded group: accepted exactly when encoding gives them back.
  for (int a = 0; a < 128; ++a) {
    for (int b = 0; b < 128; ++b) {
      const std::string text{static_cast<char>(a), static_cast<char>(b), '=', '='};
      const auto bytes = from_base64(text);
      if (bytes) CHECK(base64(*bytes) == text);
    }
  }
}

TEST_CASE("big endian") {
  CHECK(big_endian(0x010203, 3) == Bytes{1, 2, 3});
  CHECK(big_endian(1, 8) == Bytes{0, 0, 0, 0, 0, 0, 0, 1});
  CHECK(big_endian(1, 10) == Bytes{0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
  CHECK(big_endian(~std::uint64_t{0}, 8) == Bytes(8, 255));
  CHECK(big_endian(0, 0).empty());
  CHECK_THROWS_AS(big_endian(256, 1), Error);
}

TEST_CASE("uuid") {
  CHECK(uuid_text(Bytes(16, 0xff)) == "ffffffff-ffff-4fff-bfff-ffffffffffff");
  CHECK(uuid_text(Bytes(16, 0x00)) == "00000000-0000-4000-8000-000000000000");
  CHECK_THROWS_AS(uuid_text(Bytes(15)), Error);
  CHECK(is_uuid(uuid_text(Bytes(16, 0x5a))));
  CHECK_FALSE(is_uuid(""));
  CHECK_FALSE(is_uuid("FFFFFFFF-ffff-4fff-bfff-ffffffffffff"));
  CHECK_FALSE(is_uuid("ffffffffffff-4fff-bfff-ffffffffffff-"));
  CHECK_FALSE(is_uuid("ffffffff-ffff-4fff-bfff-ffffffffffff0"));
  CHECK_FALSE(is_uuid("ffffffff-ffff-4fff-bfff-fffffffffffg"));
}
