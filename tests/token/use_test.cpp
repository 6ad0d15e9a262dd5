#include "kmtool/crypto/digest.hpp"
#include "soft_token.hpp"

using namespace kmtool;
using namespace kmtool::test;
using namespace kmtool::pkcs11;

namespace {

/// Pieces of a text, as a file would be read.
Feed pieces(const Bytes& text, std::size_t size) {
  return [&text, size, at = std::size_t{0}]() mutable {
    const auto part = ByteView(text).subspan(at, std::min(size, text.size() - at));
    at += part.size();
    return part;
  };
}

void check_gcm(Token& token) {
  const auto key = token.generate(Role::data, KeyType::aes256, "d@1", new_id(token), false).front();
  const auto other = token.generate(Role::data, KeyType::aes256, "d@2", new_id(token), false).front();
  const Bytes associated = to_bytes("what it belongs to");
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{16}, std::size_t{65535}, std::size_t{65536}}) {
    INFO(size);
    const Bytes plain = token.random(size);
    Bytes sealed(size + gcm_overhead), again(size + gcm_overhead), opened(size + gcm_overhead, 7);
    CHECK(token.gcm_seal(key.handle, associated, plain, sealed) == sealed.size());
    CHECK(token.gcm_seal(key.handle, associated, plain, again) == sealed.size());
    CHECK_FALSE(std::equal(sealed.begin(), sealed.begin() + 12, again.begin()));
    REQUIRE(token.gcm_open(key.handle, associated, sealed, opened) == size);
    CHECK(equal(ByteView(opened).first(size), plain));
    const auto refused = [&](Handle with, ByteView about, const Bytes& value) {
      std::ranges::fill(opened, 7);
      CHECK(exit_of([&] { (void)token.gcm_open(with, about, value, opened); }) == ExitCode::damaged);
      if (value.size() >= gcm_overhead) CHECK(std::ranges::count(opened, 0) == static_cast<std::ptrdiff_t>(opened.size()));
    };
    for (const std::size_t at : {std::size_t{0}, std::size_t{11}, sealed.size() / 2, sealed.size() - 1}) {
      Bytes damaged = sealed;
      damaged[at] ^= 1;
      refused(key.handle, associated, damaged);
    }
    refused(key.handle, view("something else"), sealed);
    refused(other.handle, associated, sealed);
    refused(key.handle, associated, Bytes(sealed.begin(), sealed.end() - 1));
    refused(key.handle, associated, Bytes(sealed.begin(), sealed.begin() + 12));
  }
  Bytes small(27);
  CHECK(exit_of([&] { (void)token.gcm_seal(key.handle, {}, {}, small); }) == ExitCode::internal);
  // A key that is not the right kind is no damage.
  const auto mac = token.generate(Role::mac, KeyType::hmac_sha256, "m@1", new_id(token), false).front();
  Bytes sealed(28), opened(28);
  (void)token.gcm_seal(key.handle, {}, {}, sealed);
  CHECK(exit_of([&] { (void)token.gcm_open(mac.handle, {}, sealed, opened); }) != ExitCode::damaged);
}

void check_hmac(Token& token) {
  for (const KeyType type : types_of(Role::mac)) {
    INFO(to_text(type));
    const auto key = token.generate(Role::mac, type, "m@1", new_id(token), false).front();
    const Bytes text = token.random(100000);
    const Bytes tag = token.hmac(key.handle, type, pieces(text, 4096));
    CHECK(tag.size() == value_length(type));
    CHECK(token.hmac(key.handle, type, pieces(text, 77777)) == tag);
    if (type == KeyType::hmac_sha256) CHECK(token.hmac_sha256(key.handle, text) == tag);
    CHECK(token.hmac_verify(key.handle, type, pieces(text, 1000), tag));
    Bytes wrong = tag;
    wrong.back() ^= 1;
    CHECK_FALSE(token.hmac_verify(key.handle, type, pieces(text, 1000), wrong));
    CHECK_FALSE(token.hmac_verify(key.handle, type, pieces(text, 1000), ByteView(tag).first(16)));
    CHECK_FALSE(token.hmac_verify(key.handle, type, pieces(text, 1000), {}));
    const Bytes nothing;
    CHECK(token.hmac_verify(key.handle, type, pieces(nothing, 1), token.hmac(key.handle, type, pieces(nothing, 1))));
    // What the input throws comes through, and the session is free again.
    const Feed broken = []() -> ByteView { throw Error::io("cannot read"); };
    CHECK(exit_of([&] { (void)token.hmac(key.handle, type, broken); }) == ExitCode::io);
    CHECK(exit_of([&] { (void)token.hmac_verify(key.handle, type, broken, tag); }) == ExitCode::io);
    CHECK(token.hmac(key.handle, type, pieces(text, 4096)) == tag);
  }
}

}  // namespace

TEST_CASE("SoftHSM: AES-GCM by the buffer, HMAC in parts") {
  const SoftToken soft;
  auto token = soft.ready();
  check_gcm(token);
  check_hmac(token);
}

TEST_CASE("NSS: AES-GCM by the buffer, HMAC in parts") {
  const NssToken nss;
  auto token = nss.ready();
  check_gcm(token);
  check_hmac(token);
}

TEST_CASE("RSA-PSS takes digests and nothing else") {
  const SoftToken soft;
  auto token = soft.ready();
  const auto pair = token.generate(Role::sign, KeyType::rsa3072, "s@1", new_id(token), false);
  for (const std::size_t size : {32U, 48U, 64U}) {
    CHECK(token.sign_rsa_pss(pair[0].handle, token.random(size)).size() == 384);
  }
  CHECK(exit_of([&] { (void)token.sign_rsa_pss(pair[0].handle, token.random(20)); }) == ExitCode::internal);
}
