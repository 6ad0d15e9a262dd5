#include <doctest/doctest.h>

#include <algorithm>
#include <ctime>

#include "crypto/test_key.hpp"
#include "kmtool/apikey/snapshot.hpp"
#include "kmtool/core/error.hpp"

using namespace kmtool;
using namespace kmtool::apikey;

namespace {

/// A signer on the host; the digest's signature is made from an EVP_PKEY_CTX as a token's would be.
struct Signer {
  test::TestKey key = test::TestKey::ec("P-256");
  [[nodiscard]] crypto::PublicKey public_key() const { return crypto::PublicKey::from_spki(key.spki()); }
  /// Over the text whose SHA-256 the snapshot asks for.
  [[nodiscard]] Bytes sign_digest(ByteView digest) const {
    EVP_PKEY_CTX* context = EVP_PKEY_CTX_new(key.native(), nullptr);
    std::size_t size = 128;
    Bytes signature(size);
    REQUIRE(EVP_PKEY_sign_init(context) == 1);
    REQUIRE(EVP_PKEY_sign(context, signature.data(), &size, digest.data(), digest.size()) == 1);
    signature.resize(size);
    EVP_PKEY_CTX_free(context);
    return signature;
  }
};

const std::string home = "0b5f9a50-1111-4222-8333-444455556666";

std::vector<KeyEntry> entries(std::size_t count, bool different = false) {
  std::vector<KeyEntry> keys;
  for (std::uint64_t i = 0; i < count; ++i) {
    KeyEntry key;
    key.id = id_text((i * 2654435761U) & ((std::uint64_t{1} << 50) - 1));
    key.app = "app-" + std::to_string(i % 97);
    key.environment = "default";
    key.digest = digest_of(key.id);
    key.created = 1700000000;
    if (i % 3 == 0) key.expires = 1900000000;
    if (i % 5 == 0) key.revoked = true;
    Restrictions restrictions;
    restrictions.ip = {Network::parse("10.0.0.0/8")};
    if (different) restrictions.ip.push_back(Network::parse("192.0." + std::to_string(i / 256 % 256) + "." + std::to_string(i % 256)));
    restrictions.rate = Rate::parse("60/min");
    key.restrictions = std::move(restrictions);
    keys.push_back(std::move(key));
  }
  return keys;
}

std::string written(const Signer& signer, std::vector<KeyEntry> keys, std::uint64_t sequence = 7) {
  return write_snapshot({home, sequence, 1800000000, 1800086400, "kmtool test", 0}, std::move(keys), signer.public_key(),
                        [&](ByteView digest) { return signer.sign_digest(digest); });
}

ExitCode exit_of(const std::string& text, const crypto::PublicKey& signer) {
  try {
    read_snapshot(text, "S", {signer});
    return ExitCode::done;
  } catch (const Error& error) {
    return error.exit();
  }
}

}  // namespace

TEST_CASE("a snapshot comes back as it was written") {
  const Signer signer;
  const auto keys = entries(100);
  const auto text = written(signer, keys);
  const auto snapshot = read_snapshot(text, "S", {signer.public_key()});
  CHECK(snapshot.header.sequence == 7);
  CHECK(snapshot.header.home == home);
  CHECK(snapshot.header.keys == 100);
  CHECK(snapshot.signer == signer.public_key().fingerprint());
  for (const auto& key : keys) {
    const auto found = snapshot.table.find(id_number(key.id).value());
    REQUIRE(found.known);
    CHECK(found.entry->app == key.app);
    CHECK(found.entry->digest == key.digest);
    CHECK(found.entry->revoked == key.revoked);
    CHECK(found.entry->expires == key.expires);
    CHECK(found.entry->restrictions == key.restrictions);
  }
  CHECK(read_snapshot(written(signer, {}), "S", {signer.public_key()}).table.size() == 0);
}

TEST_CASE("no byte of a snapshot can be changed, none left out, none added") {
  const Signer signer, other;
  const auto text = written(signer, entries(3));
  CHECK(exit_of(text, signer.public_key()) == ExitCode::done);
  CHECK(exit_of(text, other.public_key()) == ExitCode::damaged);
  for (std::size_t i = 0; i < text.size(); i += 3) {
    auto changed = text;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    CAPTURE(i);
    CHECK(exit_of(changed, signer.public_key()) == ExitCode::damaged);
  }
  for (std::size_t i = 0; i < text.size(); i += 7) CHECK(exit_of(text.substr(0, i), signer.public_key()) == ExitCode::damaged);
  CHECK(exit_of(text + "\n", signer.public_key()) == ExitCode::damaged);
  CHECK(exit_of(text + text, signer.public_key()) == ExitCode::damaged);
  CHECK(exit_of("\n" + text, signer.public_key()) == ExitCode::damaged);
}

TEST_CASE("another document that the signer signed is no snapshot") {
  const Signer signer;
  auto text = written(signer, entries(1));
  auto body = text.substr(0, text.rfind('\n', text.size() - 2) + 1);
  body.replace(body.find("kmapikeys"), 9, "kmbundle\"");
  const auto signature = signer.sign_digest(crypto::sha256(view(body)));
  CHECK(exit_of(body + text.substr(text.rfind('\n', text.size() - 2) + 1), signer.public_key()) == ExitCode::damaged);
  CHECK_FALSE(signature.empty());
}

TEST_CASE("time, sequence and home") {
  SnapshotHeader header{home, 7, 100, 200, "", 0};
  CHECK_NOTHROW(require_usable(header, 199, "", 0));
  CHECK_NOTHROW(require_usable(header, 150, home, 7));
  CHECK_THROWS_AS(require_usable(header, 200, home, 7), Error);
  CHECK_THROWS_AS(require_usable(header, 150, home, 8), Error);
  CHECK_THROWS_AS(require_usable(header, 150, "0b5f9a50-1111-4222-8333-444455556667", 1), Error);
}

TEST_CASE("100,000 keys are read in under a second of CPU") {
  const Signer signer;
  for (const bool different : {false, true}) {
    const auto text = written(signer, entries(100000, different));
    const auto begin = std::clock();
    const auto snapshot = read_snapshot(text, "S", {signer.public_key()});
    const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    CHECK(snapshot.table.size() == 100000);
    MESSAGE("100,000 keys, " << (different ? "each with restrictions of its own" : "with the same restrictions") << ": " << text.size() / 1000000 << " MB, " << seconds << " s of CPU");
    CHECK(seconds < (different ? 6 : 3));  // the test build is not optimized much; measured values are in the message
  }
}
