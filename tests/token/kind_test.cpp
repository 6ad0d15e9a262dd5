#include <doctest/doctest.h>

#include "kmtool/pkcs11/survey.hpp"

namespace kmtool::pkcs11 {

namespace {

KeyKind kind_of_type(unsigned long type) {
  Object object;
  object.object_class = ObjectClass::secret_key;
  object.key_type = type;
  object.value_length = 32;
  return kind_of(object);
}

}  // namespace

TEST_CASE("keys for HMAC are told from the ciphers whose numbers stand between them") {
  // PKCS#11 3.1: MD5, SHA-1, SHA-256, SHA-224; SHA3-224, SHA3-512, BLAKE2B-512; SHA-512/224, SHA-512/t
  for (const unsigned long type : {0x27, 0x28, 0x2b, 0x2e, 0x36, 0x39, 0x3d, 0x43, 0x45}) {
    CHECK_MESSAGE(kind_of_type(type).text() == "generic-256", type);
  }
  CHECK(kind_of_type(0x2f).text() == "seed");
  CHECK(kind_of_type(0x32).text() == "gost28147");
  CHECK(kind_of_type(0x33).text() == "chacha20");
  CHECK(kind_of_type(0x26).family == Family::cipher);
  for (const unsigned long type : {0x30, 0x31, 0x34, 0x35, 0x3e, 0x3f, 0x42}) {
    CHECK_MESSAGE(kind_of_type(type).family == Family::unknown, type);
  }
}

}  // namespace kmtool::pkcs11
