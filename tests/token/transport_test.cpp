#include <algorithm>

#include "soft_token.hpp"

using namespace kmtool;
using namespace kmtool::test;
using namespace kmtool::pkcs11;

namespace {

bool has(const std::vector<std::string>& list, const std::string& what) { return std::find(list.begin(), list.end(), what) != list.end(); }

/// Both objects of a KEK to a transport key and back, by everything that the token does for keys of this type.
void moves(Token& token, KeyType type) {
  const auto pair = token.generate(Role::transport, type, "in@1", new_id(token), false);
  const auto half = token.read(pair[0].handle);
  const auto recipient = token.public_key(token.read(pair[1].handle));
  const auto kek = token.generate(Role::kek, KeyType::aes256, "root@1", new_id(token), true);
  std::size_t tried = 0;
  for (const auto& transport : all_transports()) {
    if (!fits(transport, type) || !has(token.profile().transports_out, std::string(to_text(transport)))) continue;
    INFO(to_text(transport));
    ++tried;
    for (const auto& part : kek) {
      const auto wrapped = token.wrap_to(recipient, part.handle, transport);
      CHECK(wrapped.size() == transported_length(transport, type, 32));
      const auto back = token.unwrap_from(half, type, transport, wrapped, part.spec, false);
      const auto object = token.read(back.handle);
      CHECK(object.extractable == false);
      CHECK(object.sensitive == true);
      CHECK(token.same_key(token.read(part.handle), object, Role::kek, part.spec.part));
      for (const std::size_t at : {std::size_t{0}, wrapped.size() / 2, wrapped.size() - 1}) {
        Bytes damaged = wrapped;
        damaged[at] ^= 1;
        try {
          const auto opened = token.unwrap_from(half, type, transport, damaged, part.spec, false);
          token.destroy(opened.handle);
          FAIL("a damaged value opened");
        } catch (const Error& error) {
          INFO(error.message());
          CHECK(error.exit() == ExitCode::damaged);
        }
      }
      Bytes above = wrapped;
      std::fill_n(above.begin(), 8, std::uint8_t{0xff});  // above any modulus, or no point of any curve
      CHECK(exit_of([&] { (void)token.unwrap_from(half, type, transport, above, part.spec, false); }) == ExitCode::damaged);
      Bytes shorter(wrapped.begin(), wrapped.end() - 1);
      CHECK_THROWS_AS((void)token.unwrap_from(half, type, transport, shorter, part.spec, false), Error);
    }
  }
  CHECK(tried > 0);
}

}  // namespace

TEST_CASE("SoftHSM moves keks by OAEP with SHA-1, in one step and in two") {
  const SoftToken soft;
  auto token = soft.ready();
  CHECK(token.profile().transports_out == std::vector<std::string>{"RSA-OAEP-SHA1", "RSA-OAEP-SHA1+AES-KWP"});
  CHECK(token.profile().transports_in == token.profile().transports_out);
  const auto before = token.scan().size();
  moves(token, KeyType::rsa3072);
  CHECK(token.scan().size() == before);
}

TEST_CASE("NSS moves keks by OAEP and by agreement with a real kdf") {
  const NssToken nss;
  auto token = nss.ready();
  for (const char* name : {"RSA-OAEP-SHA256", "RSA-OAEP-SHA1", "RSA-OAEP-SHA256+AES-KWP", "ECDH-X963-SHA256+AES-KWP"}) {
    CHECK(has(token.profile().transports_out, name));
    CHECK(has(token.profile().transports_in, name));
  }
  moves(token, KeyType::rsa3072);
  moves(token, KeyType::ec_p384);
  moves(token, KeyType::ec_p521);
}

TEST_CASE("what the token does not do is refused before it is tried") {
  const SoftToken soft;
  auto token = soft.ready();
  const auto pair = token.generate(Role::transport, KeyType::rsa3072, "in@1", new_id(token), false);
  const auto recipient = token.public_key(token.read(pair[1].handle));
  const auto kek = token.generate(Role::kek, KeyType::aes128, "root@1", new_id(token), true);
  const Transport sha256{Transport::Kind::rsa_oaep, "SHA-256"};
  try {
    (void)token.wrap_to(recipient, kek[0].handle, sha256);
    FAIL("wrapped");
  } catch (const Error& error) {
    CHECK(error.exit() == ExitCode::unavailable);
    CHECK(error.hint().find("RSA-OAEP-SHA1") != std::string::npos);
  }
  CHECK_THROWS_AS((void)token.unwrap_from(token.read(pair[0].handle), KeyType::rsa3072, sha256, Bytes(384), kek[0].spec, false), Error);
  const auto fixed = token.generate(Role::kek, KeyType::aes128, "fixed@1", new_id(token), false);
  CHECK_THROWS_AS((void)token.wrap_to(recipient, fixed[0].handle, {Transport::Kind::rsa_oaep, "SHA-1"}), Error);
}
