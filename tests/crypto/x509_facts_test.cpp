#include "kmtool/crypto/x509_facts.hpp"

#include <doctest/doctest.h>

#include "kmtool/core/encoding.hpp"

namespace kmtool::crypto {
namespace {

/// openssl req -x509 -newkey ec, P-256, /O=Ex, Ample/CN=kmtool test, 3650 days; its private key is lost.
constexpr const char* certificate =
    "308201a83082014fa00302010202147a7e4e95d4437e330104b8df423a47566356205b300a06082a8648ce3d040302302a311230100603"
    "55040a0c0945782c20416d706c653114301206035504030c0b6b6d746f6f6c2074657374301e170d3236313132353032313733335a170d"
    "3336313132323032313733335a302a31123010060355040a0c0945782c20416d706c653114301206035504030c0b6b6d746f6f6c207465"
    "73743059301306072a8648ce3d020106082a8648ce3d03010703420004bbc9d3393f8cf511a07a9a76e9de8b65232cde990c3fd9b7b198"
    "00256ffb184ece9538c612f68deac02448d81eaf9204c74abd468115d1ed6baf49b0135cdd52a3533051301d0603551d0e0416041403ba"
    "d32c89e9f68b5d594e9a71734d8ad5beebe3301f0603551d2304183016801403bad32c89e9f68b5d594e9a71734d8ad5beebe3300f0603"
    "551d130101ff040530030101ff300a06082a8648ce3d040302034700304402202345a103c3bfcdeb780ef5eb6d091a78d68c1baf611ec9"
    "171316bf9cbb41ac5202201076c4b6347daeba4ba0c926521840edd5e871912151569502fac45fa651f6f4";
constexpr const char* public_id = "f664d1aead0018e669d44f92c52cec6c1d0c8472c368fd671254cb888fd80aae";

}  // namespace

TEST_CASE("what a certificate says of itself") {
  const auto der = from_hex(certificate).value();
  const auto facts = read_certificate(der);
  REQUIRE(facts.has_value());
  CHECK(facts->subject == "CN=kmtool test,O=Ex\\, Ample");
  CHECK(facts->self_signed);
  CHECK(facts->authority);
  CHECK(facts->signature == "ecdsa-with-SHA256");
  CHECK_FALSE(facts->weak_signature);
  CHECK(facts->key == "ec-p256");
  CHECK(facts->strength == 128);
  CHECK(facts->not_after - facts->not_before == std::int64_t{3650} * 86400);
  CHECK(facts->public_id == public_id);

  SUBCASE("what is none") {
    CHECK_FALSE(read_certificate({}).has_value());
    auto longer = der;
    longer.push_back(0);
    CHECK_FALSE(read_certificate(longer).has_value());
    for (std::size_t n = 0; n < der.size(); n += 7) CHECK_FALSE(read_certificate(ByteView(der).first(n)).has_value());
  }
}

}  // namespace kmtool::crypto
