#include "fixture.hpp"

#include <doctest/doctest.h>
#include <openssl/hmac.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include <fstream>
#include <sstream>

namespace kmtool::bundle::test {

Folder::Folder() {
  std::string name = (std::filesystem::temp_directory_path() / "kmtool-bundle-XXXXXX").string();
  REQUIRE(mkdtemp(name.data()) != nullptr);
  path_ = name;
}

Folder::~Folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Signer::Signer() : key_(EVP_EC_gen("P-256"), EVP_PKEY_free) { REQUIRE(key_ != nullptr); }

Bytes Signer::sign(ByteView digest) const {
  const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(EVP_PKEY_CTX_new(key_.get(), nullptr),
                                                                            EVP_PKEY_CTX_free);
  REQUIRE(EVP_PKEY_sign_init(context.get()) == 1);
  std::size_t size = 0;
  REQUIRE(EVP_PKEY_sign(context.get(), nullptr, &size, digest.data(), digest.size()) == 1);
  Bytes signature(size);
  REQUIRE(EVP_PKEY_sign(context.get(), signature.data(), &size, digest.data(), digest.size()) == 1);
  signature.resize(size);
  return signature;
}

Bytes spki_of(EVP_PKEY* key) {
  const int size = i2d_PUBKEY(key, nullptr);
  REQUIRE(size > 0);
  Bytes der(static_cast<std::size_t>(size));
  unsigned char* at = der.data();
  REQUIRE(i2d_PUBKEY(key, &at) == size);
  return der;
}

Bytes Signer::spki() const { return spki_of(key_.get()); }

crypto::PublicKey Signer::public_key() const { return crypto::PublicKey::from_spki(spki()); }

Bytes seal(std::size_t recipient, ByteView message) {
  const Bytes key(32, static_cast<std::uint8_t>(0xa0 + recipient));
  Bytes value(32);
  unsigned int size = 0;
  REQUIRE(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), message.data(), message.size(), value.data(), &size) !=
          nullptr);
  REQUIRE(size == value.size());
  return value;
}

Bytes pattern(std::size_t size, std::uint8_t seed) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(seed + i);
  return bytes;
}

Header header_of(std::size_t recipients, std::uint64_t records) {
  Header header;
  header.id = "0f0e0d0c-0b0a-4908-8706-050403020100";
  header.created = 1795464000;  // 2026-11-23T20:00:00Z
  header.creator = "kmtool 0.1.0";
  header.token = {.label = "vault", .serial = "1234", .manufacturer = "Émile & Söhne", .model = "M1", .hardware = true};
  for (std::size_t i = 0; i < recipients; ++i) {
    header.recipients.push_back({.kek = i == 0 ? "root@1" : "spare@" + std::to_string(i),
                                 .id = pattern(16, static_cast<std::uint8_t>(0x10 * (i + 1))),
                                 .type = KeyType::aes256,
                                 .strength = 256,
                                 .algorithm = i == 1 ? WrapAlgorithm::aes_kw : WrapAlgorithm::aes_kwp,
                                 .mechanism = i == 1 ? "CKM_AES_KEY_WRAP" : "CKM_AES_KEY_WRAP_PAD"});
  }
  header.records = records;
  header.waivers = {{.rule = "G-KEK", .reason = "ticket 7: \"old\" kek"}};
  return header;
}

Record secret_record(const std::string& name, std::uint8_t seed, std::size_t recipients) {
  Record record;
  record.name = name;
  record.version = 3;
  record.id = pattern(16, seed);
  record.type = KeyType::aes256;
  record.role = Role::data;
  record.strength = 256;
  record.created = 1795464000;
  record.expires = 1827000000;
  record.extractable = true;
  record.local = true;
  record.always_sensitive = true;
  record.usage = usage_of(Role::data, KeyType::aes256, Part::value);
  record.plaintext_length = 32;
  for (std::size_t i = 0; i < recipients; ++i) record.wrapped.push_back(pattern(40, static_cast<std::uint8_t>(seed + 7 * i)));
  return record;
}

Record pair_record(const std::string& name, std::uint8_t seed, std::size_t recipients, const Bytes& spki) {
  Record record;
  record.name = name;
  record.id = pattern(16, seed);
  record.type = KeyType::ec_p256;
  record.role = Role::sign;
  record.strength = 128;
  record.state = State::deactivated;
  record.created = 1795464001;
  record.usage = usage_of(Role::sign, KeyType::ec_p256, Part::private_half);
  record.public_spki = spki;
  for (std::size_t i = 0; i < recipients; ++i) record.wrapped.push_back(pattern(144, static_cast<std::uint8_t>(seed + 9 * i)));
  return record;
}

std::string text_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void put(const std::filesystem::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  REQUIRE(out.good());
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

Sample::Sample() : path(folder.file("b.kmbundle")) {
  AtomicFile file(path, false);
  Writer writer(file, header_of(2, 2));
  writer.add(secret_record("payments", 0x40, 2));
  writer.add(pair_record("release-sign", 0x60, 2, Signer().spki()));
  digest = writer.finish(
      seal, [&](ByteView sha256) { return signer.sign(sha256); }, signer.public_key().fingerprint());
  file.commit();
  text = text_of(path);
}

namespace {

std::string refusal(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    if (error.exit() != ExitCode::damaged) FAIL("not damaged: " << error.message());
    return error.message();
  }
  return {};
}

}  // namespace

std::string refusal_of(const std::filesystem::path& path) {
  return refusal([&] {
    LineReader input(path, max_line);
    read(input, {});
  });
}

std::string refusal_with_proofs(const std::filesystem::path& path, const crypto::PublicKey& signer) {
  return refusal([&] {
    LineReader input(path, max_line);
    const Summary summary = read(input, {});
    for (std::size_t i = 0; i < summary.seals.size(); ++i) require_seal(summary, i, seal(i, summary.seal_message), input.name());
    if (!signature_by(summary, signer, input.name())) FAIL("a changed file counts as signed by somebody else");
  });
}

}  // namespace kmtool::bundle::test
