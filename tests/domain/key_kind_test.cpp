#include "kmtool/domain/key_kind.hpp"

#include <doctest/doctest.h>

namespace kmtool {

TEST_CASE("kinds of keys have names and strengths of SP 800-57's tables") {
  struct Row {
    KeyKind kind;
    const char* text;
    int strength;
  };
  const Row rows[] = {
      {{Family::aes, 256, ""}, "aes-256", 256},
      {{Family::aes, 0, ""}, "aes", -1},
      {{Family::generic, 512, ""}, "generic-512", 256},
      {{Family::generic, 64, ""}, "generic-64", 64},
      {{Family::des, 56, ""}, "des-56", 56},
      {{Family::des3, 112, ""}, "3des-112", 80},
      {{Family::des3, 168, ""}, "3des-168", 112},
      {{Family::rc4, 128, ""}, "rc4-128", 40},
      {{Family::rsa, 1024, ""}, "rsa-1024", 80},
      {{Family::rsa, 2048, ""}, "rsa-2048", 112},
      {{Family::rsa, 3072, ""}, "rsa-3072", 128},
      {{Family::ec, 256, "secp256k1"}, "ec-secp256k1", 128},
      {{Family::ec, 521, "p521"}, "ec-p521", 256},
      {{Family::ec, 0, ""}, "ec-unknown", -1},
      {{Family::edwards, 255, "ed25519"}, "ed25519", 128},
      {{Family::edwards, 448, "ed448"}, "ed448", 224},
      {{Family::unknown, 0, "key-type-0x80000001"}, "key-type-0x80000001", -1},
  };
  for (const auto& row : rows) {
    CHECK(row.kind.text() == row.text);
    CHECK_MESSAGE(row.kind.strength() == row.strength, row.text);
  }
}

}  // namespace kmtool
