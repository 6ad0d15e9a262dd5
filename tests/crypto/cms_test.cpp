#include "kmtool/crypto/cms.hpp"

#include <doctest/doctest.h>

#include <cstdlib>

#include "core/temp_dir.hpp"
#include "kmtool/core/error.hpp"
#include "kmtool/core/file.hpp"

namespace kmtool::crypto {

namespace {

bool run(const test::TempDir& dir, const std::string& command) {
  return std::system(("cd '" + dir.path().string() + "' && " + command + " >/dev/null 2>&1").c_str()) == 0;
}

/// A key and a certificate, made by the openssl command.
Certificate make(const test::TempDir& dir, const std::string& kind, const std::string& more = {}) {
  REQUIRE(run(dir, "openssl req -x509 -newkey " + kind +
                       " -nodes -keyout key.pem -out cert.pem -subj '/CN=Bob Custodian' -days 1 " + more));
  return Certificate::read_pem(dir / "cert.pem");
}

SecretBytes pool() {
  SecretBytes random(Certificate::random_needed);
  std::uint32_t state = 12345;
  for (auto& octet : random.reveal_mutable()) octet = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  return random;
}

}  // namespace

TEST_CASE("openssl cms -decrypt opens it with the custodian's key alone, whatever kind it is of") {
  install_secret_heap();
  for (const char* kind :
       {"rsa:2048", "rsa:3072", "ec -pkeyopt ec_paramgen_curve:P-256", "ec -pkeyopt ec_paramgen_curve:P-521"}) {
    const test::TempDir dir;
    const auto certificate = make(dir, kind);
    CHECK(certificate.subject() == "CN=Bob Custodian");
    const std::string text = "kmtool share 1\n\nnot\r\nconverted\n";
    const auto cms = certificate.encrypt(SecretBytes(view(text)), pool());
    CHECK(cms.find("kmtool share") == std::string::npos);
    const auto cms_file = dir.file("share.cms", "# a line above\n" + cms);
    REQUIRE_MESSAGE(run(dir, "openssl cms -decrypt -inform PEM -in share.cms -inkey key.pem -out share"), kind);
    CHECK(read_file(dir / "share") == text);
    CHECK(run(dir, "openssl cms -decrypt -inform PEM -in share.cms -inkey key.pem -recip cert.pem -out share"));
    // Authenticated: a changed byte, and another key, do not open it.
    REQUIRE(run(dir, "openssl cms -cmsout -inform PEM -outform DER -in share.cms -out share.der"));
    auto der = read_file(dir / "share.der");
    der[der.size() - 25] = static_cast<char>(der[der.size() - 25] ^ 1);
    const auto changed_file = dir.file("changed.der", der);
    CHECK_FALSE(run(dir, "openssl cms -decrypt -inform DER -in changed.der -inkey key.pem -out /dev/null"));
    REQUIRE(run(dir, "openssl genrsa -out other.pem 2048"));
    CHECK_FALSE(run(dir, "openssl cms -decrypt -inform PEM -in share.cms -inkey other.pem -out /dev/null"));
  }
}

TEST_CASE("every random octet is the one that was handed in") {
  install_secret_heap();
  for (const char* kind : {"rsa:2048", "ec -pkeyopt ec_paramgen_curve:P-256"}) {
    const test::TempDir dir;
    const auto certificate = make(dir, kind);
    const SecretBytes text(view("x"));
    CHECK(certificate.encrypt(text, pool()) == certificate.encrypt(text, pool()));
    SecretBytes little(16);
    CHECK_THROWS_AS((void)certificate.encrypt(text, little), Error);
    CHECK(certificate.encrypt(text, pool()).size() > 100);  // and it works again afterwards
  }
}

TEST_CASE("certificates that nothing can be encrypted to") {
  const test::TempDir dir;
  CHECK_THROWS_AS(make(dir, "ed25519"), Error);
  CHECK_THROWS_AS(make(dir, "rsa:1024"), Error);
  CHECK_THROWS_AS(make(dir, "rsa:2048", "-addext keyUsage=critical,digitalSignature"), Error);
  CHECK_NOTHROW(make(dir, "rsa:2048", "-addext keyUsage=critical,keyEncipherment"));
  CHECK_THROWS_AS(Certificate::from_pem("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "x"), Error);
  CHECK_THROWS_AS(Certificate::from_pem("", "x"), Error);
  const auto certificate = make(dir, "rsa:2048");
  CHECK_FALSE(certificate.expired(system_clock()()));
  CHECK(certificate.expired(system_clock()() + 3 * 86400));
}

}  // namespace kmtool::crypto
