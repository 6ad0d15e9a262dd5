#include <doctest/doctest.h>

#include <algorithm>
#include <functional>

#include "fixture.hpp"
#include "kmtool/bundle/request.hpp"
#include "kmtool/core/encoding.hpp"

using namespace kmtool;
using namespace kmtool::bundle;
using namespace kmtool::bundle::test;

namespace {

Header kek_header() {
  Header header = header_of(1, 2);
  header.kind = "kek";
  Recipient transport;
  transport.type = KeyType::rsa4096;
  transport.strength = 128;
  transport.mechanism = "CKM_RSA_PKCS_OAEP";
  transport.public_key = std::string(64, 'a');
  transport.transport = {Transport::Kind::rsa_oaep, "SHA-1"};
  header.recipients.push_back(transport);
  transport.type = KeyType::ec_p521;
  transport.strength = 256;
  transport.mechanism = "CKM_ECDH1_DERIVE";
  transport.public_key = std::string(64, 'b');
  transport.transport = {Transport::Kind::ecdh_kwp, "SHA-256"};
  header.recipients.push_back(transport);
  return header;
}

Record kek_record(bool seal) {
  Record record = secret_record("root", 0x40, 0);
  record.role = Role::kek;
  record.type = seal ? KeyType::hmac_sha256 : KeyType::aes128;
  record.strength = strength_of(record.type);
  record.plaintext_length = value_length(record.type);
  record.usage = usage_of(Role::kek, KeyType::aes128, seal ? Part::kek_seal : Part::kek_wrap);
  record.wrapped = {pattern(seal ? 40 : 24, 1), pattern(512, 2), pattern(133 + (seal ? 40 : 24), 3)};
  return record;
}

Bytes any_seal(std::size_t recipient, ByteView message) { return seal(recipient == Seal::own ? 9 : recipient, message); }

struct KekSample {
  explicit KekSample(const std::function<void(Header&, Record&, Record&)>& change = {}) : path(folder.file("k.kmb")) {
    Header header = kek_header();
    Record wrap = kek_record(false), sealing = kek_record(true);
    if (change) change(header, wrap, sealing);
    AtomicFile file(path, false);
    Writer writer(file, header);
    writer.add(wrap);
    writer.add(sealing);
    writer.finish(
        any_seal, [&](ByteView digest) { return signer.sign(digest); }, signer.public_key().fingerprint(), {WrapAlgorithm::aes_kwp, pattern(40, 7)});
    file.commit();
    text = text_of(path);
  }
  Folder folder;
  Signer signer;
  std::filesystem::path path;
  std::string text;
};

std::string refusal_of_kek(const std::filesystem::path& path, const crypto::PublicKey& signer) {
  try {
    LineReader input(path, max_line);
    const Summary summary = read(input, {});
    if (!signature_by(summary, signer, input.name())) return "by someone unknown";
    for (const auto& each : summary.seals) require_seal(summary, each.recipient, any_seal(each.recipient, summary.seal_message), input.name());
  } catch (const Error& error) {
    CHECK(error.exit() == ExitCode::damaged);
    return error.message();
  }
  return {};
}

/// What the writer says of a bundle that it will not write.
std::string refused(const std::function<void(Header&, Record&, Record&)>& change) {
  try {
    const KekSample sample(change);
  } catch (const Error& error) {
    return error.message();
  }
  return {};
}

}  // namespace

TEST_CASE("a bundle of a kek is written, read back and proven") {
  const KekSample sample;
  CHECK(refusal_of_kek(sample.path, sample.signer.public_key()).empty());
  LineReader input(sample.path, max_line);
  std::vector<Record> records;
  const auto summary = read(input, [&](const Record& record, std::size_t) { records.push_back(record); });
  CHECK(summary.header.of_kek());
  REQUIRE(summary.header.recipients.size() == 3);
  CHECK(summary.header.recipients[1].name() == "public key " + std::string(64, 'a'));
  CHECK(summary.header.recipients[1].algorithm_text() == "RSA-OAEP-SHA1");
  REQUIRE(records.size() == 2);
  CHECK(records[1].type == KeyType::hmac_sha256);
  REQUIRE(summary.seals.size() == 2);  // public keys do not seal
  CHECK(summary.seals[1].recipient == Seal::own);
  CHECK(seal_of(summary, 1) == nullptr);
  CHECK(seal_of(summary, Seal::own)->pair == pattern(40, 7));
  const auto lines = lines_of(sample.text);
  CHECK(lines[0].find(R"({"public_key":"aaaa)") != std::string::npos);
  CHECK(lines[3].find(R"({"recipient":null,"algorithm":"HMAC-SHA-256","value":")") != std::string::npos);
  CHECK(lines[3].find(R"("pair":{"algorithm":"AES-KWP","value":")") != std::string::npos);
}

TEST_CASE("a change of any one byte of a kek's bundle is refused") {
  const KekSample sample;
  const auto key = sample.signer.public_key();
  const auto path = sample.folder.file("changed");
  std::size_t accepted = 0;
  for (std::size_t i = 0; i < sample.text.size(); ++i) {
    std::string text = sample.text;
    text[i] = static_cast<char>(static_cast<unsigned char>(text[i]) ^ 0x01U);
    put(path, text);
    if (refusal_of_kek(path, key).empty()) ++accepted;
  }
  CHECK(accepted == 0);
}

TEST_CASE("what is no kek is not written as one") {
  CHECK(refused([](Header& header, Record&, Record&) { header.records = 1; }).find("2 records") != std::string::npos);
  CHECK(refused([](Header&, Record& wrap, Record&) { wrap = kek_record(true); }).find("an aes key and, after it") != std::string::npos);
  CHECK(refused([](Header&, Record&, Record& sealing) { sealing.id = pattern(16, 0x70); }).find("one name, version and id") != std::string::npos);
  CHECK(refused([](Header&, Record&, Record& sealing) { sealing.version = 4; }).find("one name, version and id") != std::string::npos);
  CHECK(refused([](Header&, Record&, Record& sealing) { sealing.state = State::suspended; }).find("one state") != std::string::npos);
  CHECK(refused([](Header&, Record& wrap, Record&) { wrap.role = Role::data; }).find("holds a kek alone") != std::string::npos);
  CHECK(refused([](Header&, Record& wrap, Record&) { wrap.wrapped[1].pop_back(); }).find("511 bytes") != std::string::npos);
  CHECK(refused([](Header&, Record& wrap, Record&) { wrap.wrapped[2].push_back(0); }).find("ECDH-X963-SHA256+AES-KWP") != std::string::npos);
  CHECK(refused([](Header& header, Record&, Record&) { header.recipients[2].transport = {Transport::Kind::rsa_oaep, "SHA-1"}; }).find("does not go with") !=
        std::string::npos);
  CHECK(refused([](Header& header, Record&, Record&) { header.recipients[2].public_key = std::string(64, 'a'); }).find("the same public key") !=
        std::string::npos);
  CHECK(refused([](Header& header, Record&, Record&) { header.recipients[1].public_key = "AA"; }).find("sha-256 in hexadecimal") != std::string::npos);
  CHECK(refused([](Header& header, Record&, Record&) { header.recipients[1].strength = 256; }).find("contradicts type") != std::string::npos);
  CHECK(refused([](Header& header, Record&, Record&) { header.kind = "keys"; }).find("only a bundle of kind") != std::string::npos);
}

TEST_CASE("other spellings of a kek's seals are refused") {
  const KekSample sample;
  const auto key = sample.signer.public_key();
  const auto changed = [&](const std::string& from, const std::string& to) {
    auto text = sample.text;
    const auto at = text.find(from);
    REQUIRE(at != std::string::npos);
    text.replace(at, from.size(), to);
    put(sample.folder.file("c"), text);
    return refusal_of_kek(sample.folder.file("c"), key);
  };
  CHECK(changed(R"({"recipient":null)", R"({"recipient":1)").find("unknown field") != std::string::npos);
  CHECK(changed(R"("algorithm":"AES-KWP","value":)", R"("algorithm":"AES-KW","value":)").find("line 5") != std::string::npos);
  CHECK_FALSE(changed(R"("kind":"kek")", R"("kind":"keys")").empty());
}

TEST_CASE("a transport request is two lines, signed") {
  const Signer site, key;
  TransportRequest request;
  request.created = 1795464000;
  request.creator = "kmtool 0.1.0";
  request.home = "0f0e0d0c-0b0a-4908-8706-050403020100";
  request.token = {"vault", "1234", "maker", "M1", true};
  request.name = "incoming";
  request.type = KeyType::ec_p384;
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> pair(EVP_EC_gen("P-384"), EVP_PKEY_free);
  request.public_spki = spki_of(pair.get());
  request.algorithms = {{Transport::Kind::ecdh_kwp, "SHA-256"}};
  const auto text = write_request(request, [&](ByteView digest) { return site.sign(digest); }, site.public_key().fingerprint());
  CHECK(looks_like_request(text));
  CHECK_FALSE(looks_like_request("-----BEGIN PUBLIC KEY-----\n"));
  const auto back = read_request(text, "r");
  CHECK(back.request.name == "incoming");
  CHECK(back.request.public_spki == request.public_spki);
  CHECK(back.request.algorithms == request.algorithms);
  CHECK(signature_by(back, site.public_key(), "r"));
  CHECK_FALSE(signature_by(back, key.public_key(), "r"));
  std::size_t accepted = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto changed = text;
    changed[i] = static_cast<char>(changed[i] ^ 0x01);
    try {
      if (signature_by(read_request(changed, "r"), site.public_key(), "r")) ++accepted;
    } catch (const Error& error) {
      CHECK(error.exit() == ExitCode::damaged);
    }
  }
  CHECK(accepted == 0);
  for (const std::string& wrong : {std::string(), text.substr(0, text.size() - 1), text + "x\n", text.substr(text.find('\n') + 1)}) {
    CHECK_THROWS_AS((void)read_request(wrong, "r"), Error);
  }
  request.algorithms = {{Transport::Kind::rsa_oaep, "SHA-1"}};
  CHECK_THROWS_AS((void)write_request(request, [&](ByteView digest) { return site.sign(digest); }, site.public_key().fingerprint()), Error);
}
