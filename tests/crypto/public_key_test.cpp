#include "kmtool/crypto/public_key.hpp"

#include <doctest/doctest.h>
#include <openssl/pem.h>

#include "core/temp_dir.hpp"
#include "crypto/test_key.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/crypto/digest.hpp"

using namespace kmtool;
using namespace kmtool::crypto;
using kmtool::test::TempDir;
using kmtool::test::TestKey;

namespace {

Bytes from(std::string_view digits) { return from_hex(digits).value(); }

bool refused(ByteView spki) {
  try {
    PublicKey::from_spki(spki);
  } catch (const Error& error) {
    return error.exit() == ExitCode::damaged;
  }
  return false;
}

bool pem_refused(std::string_view pem) {
  return test::exit_of([&] { PublicKey::from_pem(pem, "signer.pem"); }) == ExitCode::damaged;
}

/// RFC 8032, 7.1, test 2.
const Bytes ed_public = from("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
const Bytes ed_signature = from(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb"
    "0c00");
const Bytes ed_params = from("06032b6570");

Bytes octet_string(const Bytes& inner) {
  Bytes outer{0x04};
  if (inner.size() >= 0x80) outer.push_back(0x81);
  outer.push_back(static_cast<std::uint8_t>(inner.size()));
  append(outer, inner);
  return outer;
}

std::string certificate_pem(const TestKey& key) {
  X509* certificate = X509_new();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, key.native());
  REQUIRE(X509_sign(certificate, key.native(), EVP_sha256()) > 0);
  BIO* out = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(out, certificate);
  char* data = nullptr;
  const long size = BIO_get_mem_data(out, &data);
  std::string pem(data, static_cast<std::size_t>(size));
  BIO_free(out);
  X509_free(certificate);
  return pem;
}

}  // namespace

TEST_CASE("what every kind of key says of itself") {
  struct Expected {
    TestKey key;
    std::optional<KeyType> type;
    const char* description;
    int strength;
  };
  const Expected all[] = {
      {TestKey::ec("P-256"), KeyType::ec_p256, "ec-p256", 128}, {TestKey::ec("P-384"), KeyType::ec_p384, "ec-p384", 192},
      {TestKey::ec("P-521"), KeyType::ec_p521, "ec-p521", 256}, {TestKey::of_kind("ED25519"), KeyType::ed25519, "ed25519", 128},
      {TestKey::rsa(2048), std::nullopt, "rsa-2048", 112},      {TestKey::rsa(3072), KeyType::rsa3072, "rsa-3072", 128}};
  for (const auto& [pair, type, what, strength] : all) {
    const std::string description = what;  // CAPTURE cannot have the binding itself
    CAPTURE(description);
    const PublicKey key = PublicKey::from_spki(pair.spki());
    CHECK(key.type() == type);
    CHECK(key.description() == description);
    CHECK(key.strength() == strength);
    CHECK(key.is_ed25519() == (type == KeyType::ed25519));
    CHECK(key.spki() == pair.spki());
    CHECK(key.fingerprint() == hex(sha256(pair.spki())));
    CHECK(EVP_PKEY_eq(static_cast<EVP_PKEY*>(key.native()), pair.native()) == 1);
    CHECK(PublicKey::from_pem(key.pem(), "x").spki() == pair.spki());
    if (type != KeyType::ed25519) CHECK_THROWS_AS((void)key.ed25519_raw(), Error);
  }
}

TEST_CASE("copies stand on their own") {
  const Bytes spki = TestKey::ec("P-256").spki();
  std::optional<PublicKey> first = PublicKey::from_spki(spki);
  PublicKey copy(*first);
  PublicKey assigned = PublicKey::from_spki(TestKey::of_kind("ED25519").spki());
  assigned = copy;
  const PublicKey& self = assigned;
  assigned = self;
  first.reset();
  CHECK(copy.description() == "ec-p256");
  CHECK(assigned.spki() == spki);
  const PublicKey moved(std::move(copy));
  CHECK(moved.fingerprint() == assigned.fingerprint());
}

TEST_CASE("the PEM is the one openssl writes") {
  const TestKey pair = TestKey::rsa(3072);
  BIO* out = BIO_new(BIO_s_mem());
  PEM_write_bio_PUBKEY(out, pair.native());
  char* data = nullptr;
  const long size = BIO_get_mem_data(out, &data);
  CHECK(PublicKey::from_spki(pair.spki()).pem() == std::string(data, static_cast<std::size_t>(size)));
  BIO_free(out);
}

TEST_CASE("spki: one encoding only") {
  const Bytes good = TestKey::ec("P-256").spki();
  CHECK_FALSE(refused(good));
  CHECK(refused({}));
  Bytes longer = good;
  longer.push_back(0);
  CHECK(refused(longer));
  for (std::size_t size = 0; size < good.size(); ++size) CHECK(refused(ByteView(good).first(size)));
  // The outer length in long form.
  Bytes long_form = good;
  long_form.insert(long_form.begin() + 1, 0x81);
  CHECK(refused(long_form));
  // A point that is not on the curve, and the point at infinity.
  Bytes off_curve = good;
  off_curve.back() = static_cast<std::uint8_t>(off_curve.back() ^ 1);
  CHECK(refused(off_curve));
  CHECK(
      refused(from("301906072a8648ce3d020106082a8648ce3d030107030200"
                   "00")));
  CHECK(refused(Bytes(100000, 0x30)));
  // An RSA key whose algorithm has no NULL parameter.
  Bytes rsa = TestKey::rsa(2048).spki();
  REQUIRE(hex(ByteView(rsa).subspan(4, 15)) == "300d06092a864886f70d0101010500");
  rsa.erase(rsa.begin() + 17, rsa.begin() + 19);
  rsa[5] = 0x0b;
  rsa[3] = static_cast<std::uint8_t>(rsa[3] - 2);
  CHECK(refused(rsa));
}

TEST_CASE("spki: compressed points and spelled-out curves would be a second fingerprint of one key") {
  TestKey pair = TestKey::ec("P-256");
  EVP_PKEY_set_utf8_string_param(pair.native(), "point-format", "compressed");
  const Bytes compressed = pair.spki();
  REQUIRE(compressed.size() == 59);
  CHECK(refused(compressed));
  TestKey spelled = TestKey::ec("P-256");
  EVP_PKEY_set_utf8_string_param(spelled.native(), "encoding", "explicit");
  REQUIRE(spelled.spki().size() > 200);
  CHECK(refused(spelled.spki()));
}

TEST_CASE("spki: other kinds of key") {
  CHECK(refused(TestKey::ec("secp256k1").spki()));
  CHECK(refused(TestKey::ec("P-224").spki()));
  CHECK(refused(TestKey::of_kind("ED448").spki()));
  CHECK(refused(TestKey::of_kind("X25519").spki()));
}

TEST_CASE("every single-bit change of an SPKI is refused or is another key") {
  const Bytes good = PublicKey::from_ec(ed_params, ed_public).spki();
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    Bytes changed = good;
    changed[bit / 8] = static_cast<std::uint8_t>(changed[bit / 8] ^ (1U << (bit % 8)));
    if (refused(changed)) continue;
    CHECK(PublicKey::from_spki(changed).spki() == changed);
  }
}

TEST_CASE("pem: files that hold a key") {
  const TempDir dir;
  const TestKey pair = TestKey::ec("P-384");
  const std::string pem = PublicKey::from_spki(pair.spki()).pem();
  CHECK(PublicKey::read_pem(dir.file("a.pem", pem)).spki() == pair.spki());
  CHECK(PublicKey::from_pem("a text before\n" + pem + "\nand after\n", "x").spki() == pair.spki());
  CHECK(PublicKey::from_pem(certificate_pem(pair), "x").spki() == pair.spki());
  CHECK(test::exit_of([&] { PublicKey::read_pem(dir / "none.pem"); }) == ExitCode::missing);
}

TEST_CASE("pem: files that do not") {
  const TestKey pair = TestKey::ec("P-256");
  const std::string pem = PublicKey::from_spki(pair.spki()).pem();
  CHECK(pem_refused(""));
  CHECK(pem_refused("not PEM"));
  CHECK(pem_refused(pem + pem));  // which of the two?
  CHECK(pem_refused(pem + certificate_pem(pair)));
  CHECK(pem_refused(pem.substr(0, pem.size() - 10)));
  CHECK(pem_refused(pem.substr(0, 40)));
  std::string other = pem;
  for (auto at = other.find("PUBLIC KEY"); at != std::string::npos; at = other.find("PUBLIC KEY")) other.replace(at, 10, "THING");
  CHECK(pem_refused(other));
  BIO* out = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(out, pair.native(), nullptr, nullptr, 0, nullptr, nullptr);
  char* data = nullptr;
  const long size = BIO_get_mem_data(out, &data);
  CHECK(pem_refused(std::string_view(data, static_cast<std::size_t>(size))));
  BIO_free(out);
  const Error error = test::error_of([] { PublicKey::from_pem("", "sig\x1bner.pem"); });
  CHECK(error.message() == "sig\\x1bner.pem: not a public key: no PEM block in it");
  CHECK(error.hint().find("PUBLIC KEY") != std::string::npos);
}

TEST_CASE("from a token: RSA") {
  const TestKey pair = TestKey::rsa(3072);
  BIGNUM* modulus = nullptr;
  REQUIRE(EVP_PKEY_get_bn_param(pair.native(), "n", &modulus) == 1);
  Bytes n(384);
  BN_bn2binpad(modulus, n.data(), 384);
  BN_free(modulus);
  CHECK(PublicKey::from_rsa(n, from("010001")).spki() == pair.spki());
  Bytes padded = n;
  padded.insert(padded.begin(), 0);
  CHECK(PublicKey::from_rsa(padded, from("00010001")).spki() == pair.spki());
  CHECK_THROWS_AS(PublicKey::from_rsa({}, from("010001")), Error);
  CHECK_THROWS_AS(PublicKey::from_rsa(n, {}), Error);
  CHECK_THROWS_AS(PublicKey::from_rsa(n, from("010000")), Error);  // an even exponent
  Bytes enormous(2049, 0xff);
  CHECK_THROWS_AS(PublicKey::from_rsa(enormous, from("010001")), Error);
}

TEST_CASE("from a token: NIST curves, with the point in both forms") {
  for (const auto& [group, params, size] :
       {std::tuple{"P-256", "06082a8648ce3d030107", 65}, std::tuple{"P-384", "06052b81040022", 97},
        std::tuple{"P-521", "06052b81040023", 133}}) {
    const Bytes spki = TestKey::ec(group).spki();
    const Bytes point(spki.end() - size, spki.end());
    CHECK(PublicKey::from_ec(from(params), octet_string(point)).spki() == spki);
    CHECK(PublicKey::from_ec(from(params), point).spki() == spki);
    Bytes cut = octet_string(point);
    cut.pop_back();
    CHECK_THROWS_AS(PublicKey::from_ec(from(params), cut), Error);
    Bytes trailing = octet_string(point);
    trailing.push_back(0);
    CHECK_THROWS_AS(PublicKey::from_ec(from(params), trailing), Error);
    CHECK_THROWS_AS(PublicKey::from_ec(ed_params, octet_string(point)), Error);
  }
  CHECK_THROWS_AS(PublicKey::from_ec(from("06052b8104000a"), Bytes(65, 4)), Error);  // secp256k1
  CHECK_THROWS_AS(PublicKey::from_ec({}, {}), Error);
}

TEST_CASE("from a token: Ed25519, curve by OID and by name, point in both forms") {
  const Bytes name = from("130c656477617264733235353139");
  for (const Bytes& params : {ed_params, name}) {
    for (const Bytes& point : {ed_public, octet_string(ed_public)}) {
      const PublicKey key = PublicKey::from_ec(params, point);
      CHECK(key.type() == KeyType::ed25519);
      CHECK(key.ed25519_raw() == ed_public);
      CHECK(hex(key.spki()) == "302a300506032b6570032100" + hex(ed_public));
    }
  }
  CHECK_THROWS_AS(PublicKey::from_ec(name, Bytes(31)), Error);
  CHECK_THROWS_AS(PublicKey::from_ec(from("130a63757276653235353139"), ed_public), Error);  // curve25519
}

TEST_CASE("ed25519: the vector of RFC 8032") {
  const PublicKey key = PublicKey::from_ec(ed_params, ed_public);
  const Bytes message{0x72};
  CHECK(key.verify_ed25519(message, ed_signature));
  CHECK_FALSE(key.verify_ed25519(Bytes{0x73}, ed_signature));
  CHECK_FALSE(key.verify_ed25519({}, ed_signature));
  CHECK_FALSE(key.verify_ed25519(message, {}));
  CHECK_FALSE(key.verify_ed25519(message, ByteView(ed_signature).first(63)));
  Bytes longer = ed_signature;
  longer.push_back(0);
  CHECK_FALSE(key.verify_ed25519(message, longer));
  for (std::size_t bit = 0; bit < ed_signature.size() * 8; ++bit) {
    Bytes changed = ed_signature;
    changed[bit / 8] = static_cast<std::uint8_t>(changed[bit / 8] ^ (1U << (bit % 8)));
    CHECK_FALSE(key.verify_ed25519(message, changed));
  }
  CHECK_FALSE(PublicKey::from_spki(TestKey::ec("P-256").spki()).verify_ed25519(message, ed_signature));
}
