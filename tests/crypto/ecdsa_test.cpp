#include <doctest/doctest.h>

#include "core/temp_dir.hpp"
#include "crypto/test_key.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/crypto/digest.hpp"
#include "kmtool/crypto/public_key.hpp"

using namespace kmtool;
using namespace kmtool::crypto;
using kmtool::test::TestKey;

namespace {

Bytes from(std::string_view digits) { return from_hex(digits).value(); }

// RFC 6979, A.2.5: P-256, SHA-256, "sample".
const Bytes rfc_point = from(
    "0460FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB67903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4"
    "462299");
const Bytes rfc_signature = from(
    "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843A"
    "CDA8");
const Bytes p256_params = from("06082a8648ce3d030107");

PublicKey rfc_key() { return PublicKey::from_ec(p256_params, rfc_point); }

}  // namespace

TEST_CASE("ecdsa: the vector of RFC 6979") {
  const Bytes der = ecdsa_raw_to_der(rfc_signature);
  CHECK(ecdsa_der_to_raw(der, 32) == rfc_signature);
  const auto digest = sha256(view("sample"));
  CHECK(rfc_key().verify_ecdsa_digest(digest, der));
  CHECK_FALSE(rfc_key().verify_ecdsa_digest(sha256(view("Sample")), der));
  CHECK_FALSE(rfc_key().verify_ecdsa_digest(digest, rfc_signature));  // raw where DER is wanted
  CHECK_FALSE(rfc_key().verify_ecdsa_digest(digest, {}));
  CHECK_FALSE(rfc_key().verify_ecdsa_digest({}, der));
}

TEST_CASE("ecdsa: a signature has one encoding, and no bit of it may change") {
  const auto digest = sha256(view("sample"));
  const Bytes der = ecdsa_raw_to_der(rfc_signature);
  for (std::size_t bit = 0; bit < der.size() * 8; ++bit) {
    Bytes changed = der;
    changed[bit / 8] = static_cast<std::uint8_t>(changed[bit / 8] ^ (1U << (bit % 8)));
    CHECK_FALSE(rfc_key().verify_ecdsa_digest(digest, changed));
  }
  for (std::size_t size = 0; size < der.size(); ++size) {
    CHECK_FALSE(rfc_key().verify_ecdsa_digest(digest, ByteView(der).first(size)));
  }
}

TEST_CASE("ecdsa: raw and DER") {
  CHECK(hex(ecdsa_raw_to_der(from("0102"))) == "3006020101020102");
  CHECK(hex(ecdsa_raw_to_der(from("80ff"))) == "300802020080020200ff");
  CHECK(hex(ecdsa_raw_to_der(from("00010000"))) == "3006020101020100");
  CHECK(ecdsa_der_to_raw(from("3006020101020102"), 2) == from("00010002"));
  CHECK_THROWS_AS(ecdsa_raw_to_der({}), Error);
  CHECK_THROWS_AS(ecdsa_raw_to_der(Bytes(63)), Error);
  // P-521 is the one whose sequence needs a length of two octets.
  const Bytes long_raw(132, 0xff);
  CHECK(ecdsa_raw_to_der(long_raw)[1] == 0x81);
  CHECK(ecdsa_der_to_raw(ecdsa_raw_to_der(long_raw), 66) == long_raw);
}

TEST_CASE("ecdsa: second spellings and damage are refused") {
  for (const char* bad : {"",
                          "30",
                          "3000",
                          "3003020101",
                          "3006020101020102"
                          "00",                  // missing, trailing
                          "300702010102010200",  // something left inside
                          "30070202000102"
                          "0102",                  // zero padded r
                          "308106020101020102",    // long form of a short length
                          "30800201010201020000",  // indefinite length
                          "3006020181020102",      // negative r
                          "30050200020102",        // an integer of no octets
                          "3106020101020102",
                          "3006030101020102",  // other tags
                          "3005020101020102",
                          "3007020101020102",  // lengths that do not fit
                          "30820006020101020102",
                          "3084000000060201010201"
                          "02",
                          "3085ffffffffff",
                          "30847fffffff0201",
                          "300602ff01020102"}) {
    CAPTURE(bad);
    CHECK_FALSE(ecdsa_der_to_raw(from(bad), 32));
  }
  CHECK_FALSE(ecdsa_der_to_raw(from("300702020101020102"), 1));  // r too large for the field
}

TEST_CASE("ecdsa on every curve") {
  for (const char* group : {"P-256", "P-384", "P-521"}) {
    const TestKey pair = TestKey::ec(group);
    const PublicKey key = PublicKey::from_spki(pair.spki());
    for (int i = 0; i < 20; ++i) {
      const std::string message = "message " + std::to_string(i);
      const Bytes signature = pair.sign(view(message), EVP_sha256());
      CHECK(key.verify_ecdsa_digest(sha256(view(message)), signature));
      CHECK_FALSE(key.verify_ecdsa_digest(sha256(view("other")), signature));
      CHECK_FALSE(rfc_key().verify_ecdsa_digest(sha256(view(message)), signature));
    }
  }
  const PublicKey rsa = PublicKey::from_spki(TestKey::rsa(2048).spki());
  CHECK_FALSE(rsa.verify_ecdsa_digest(sha256({}), ecdsa_raw_to_der(rfc_signature)));
}
