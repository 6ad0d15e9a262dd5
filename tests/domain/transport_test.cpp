#include "kmtool/domain/transport.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace kmtool;

TEST_CASE("every transport has one name, and nothing else is one") {
  std::set<std::string> names;
  for (const auto& transport : all_transports()) {
    const std::string name(to_text(transport));
    CHECK(names.insert(name).second);
    CHECK(transport_from(name) == transport);
    CHECK(fits(transport, KeyType::rsa4096) != fits(transport, KeyType::ec_p521));
    CHECK_FALSE(fits(transport, KeyType::aes256));
  }
  CHECK(names.size() == 11);
  CHECK(names.contains("RSA-OAEP-SHA1"));
  CHECK(names.contains("ECDH-X963-SHA256+AES-KWP"));
  CHECK_FALSE(transport_from("RSA-PKCS1"));
  CHECK_FALSE(transport_from(""));
}

TEST_CASE("the better hashes come first") {
  CHECK(to_text(all_transports().front()) == "RSA-OAEP-SHA256");
  std::size_t sha1 = 0, last_rsa = 0;
  for (std::size_t i = 0; i < all_transports().size(); ++i) {
    const auto& transport = all_transports()[i];
    if (transport.hash == "SHA-1" && sha1 == 0) sha1 = i;
    if (transport.kind != Transport::Kind::ecdh_kwp && transport.hash != "SHA-1") last_rsa = i;
  }
  CHECK(sha1 > last_rsa);
}

TEST_CASE("lengths are those of the formats") {
  using Kind = Transport::Kind;
  CHECK(transported_length({Kind::rsa_oaep, "SHA-1"}, KeyType::rsa4096, 32) == 512);
  CHECK(transported_length({Kind::rsa_oaep, "SHA-1"}, KeyType::rsa3072, 16) == 384);
  CHECK(transported_length({Kind::rsa_oaep_kwp, "SHA-256"}, KeyType::rsa3072, 32) == 384 + 40);
  CHECK(transported_length({Kind::ecdh_kwp, "SHA-256"}, KeyType::ec_p384, 16) == 97 + 24);
  CHECK(transported_length({Kind::ecdh_kwp, "SHA-256"}, KeyType::ec_p521, 32) == 133 + 40);
  CHECK(transport_head({Kind::rsa_oaep, "SHA-1"}, KeyType::rsa4096) == 0);
}
