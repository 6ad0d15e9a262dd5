#include <doctest/doctest.h>
#include <openssl/evp.h>

#include <map>

#include "fixture.hpp"
#include "kmtool/core/encoding.hpp"

using namespace kmtool;
using namespace kmtool::bundle;
using namespace kmtool::bundle::test;

namespace {

/// The exit code and message of a writer that is handed something wrong.
struct Outcome {
  ExitCode exit = ExitCode::done;
  std::string message;
};

Outcome outcome_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    return {error.exit(), error.message()};
  }
  return {};
}

Outcome write_one(const Header& header, const std::vector<Record>& records, const SealFunction& sealer, const SignFunction& sign,
                  const std::string& fingerprint) {
  const Folder folder;
  return outcome_of([&] {
    AtomicFile file(folder.file("x"), false);
    Writer writer(file, header);
    for (const auto& record : records) writer.add(record);
    writer.finish(sealer, sign, fingerprint);
  });
}

/// A fresh public key of the type; one a type, since RSA keys are slow to make.
Bytes spki_for(KeyType type) {
  static std::map<KeyType, Bytes> made;
  if (!made[type].empty()) return made[type];
  EVP_PKEY* key = is_rsa(type)               ? EVP_RSA_gen(modulus_bits(type))
                  : type == KeyType::ed25519 ? EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")
                  : type == KeyType::ec_p256 ? EVP_EC_gen("P-256")
                  : type == KeyType::ec_p384 ? EVP_EC_gen("P-384")
                                             : EVP_EC_gen("P-521");
  REQUIRE(key != nullptr);
  made[type] = spki_of(key);
  EVP_PKEY_free(key);
  return made[type];
}

}  // namespace

TEST_CASE("every line has the documented spelling") {
  CHECK(dump(header_of(2, 2)) ==
        R"({"kmbundle":1,"kind":"keys","id":"0f0e0d0c-0b0a-4908-8706-050403020100","created":"2026-11-23T20:00:00Z",)"
        R"("creator":"kmtool 0.1.0",)"
        R"("token":{"label":"vault","serial":"1234","manufacturer":"Émile & Söhne","model":"M1","hardware":true},)"
        R"("recipients":[{"kek":"root@1","id":"101112131415161718191a1b1c1d1e1f","type":"aes-256","strength":256,)"
        R"("algorithm":"AES-KWP","mechanism":"CKM_AES_KEY_WRAP_PAD"},)"
        R"({"kek":"spare@1","id":"202122232425262728292a2b2c2d2e2f","type":"aes-256","strength":256,)"
        R"("algorithm":"AES-KW","mechanism":"CKM_AES_KEY_WRAP"}],)"
        R"("records":2,"waivers":[{"rule":"G-KEK","reason":"ticket 7: \"old\" kek"}]})");

  Record record = secret_record("payments", 0, 1);
  record.wrapped = {pattern(40, 0)};
  CHECK(dump(record) ==
        R"({"key":{"name":"payments","version":3,"id":"000102030405060708090a0b0c0d0e0f","class":"secret","type":"aes-256",)"
        R"("role":"data","strength":256,"state":"active","created":"2026-11-23T20:00:00Z","expires":"2027-11-23T20:00:00Z",)"
        R"("attributes":{"extractable":true,"local":true,"always_sensitive":true,"never_extractable":false,)"
        R"("usage":["encrypt","decrypt"]},"public":null,"plaintext_length":32},)"
        R"("wrapped":["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJw=="]})");
  const Record pair = pair_record("s", 0, 2, {1, 2, 3});
  CHECK(dump(pair).find(R"("expires":null,)") != std::string::npos);
  CHECK(dump(pair).find(R"("usage":["sign"]},"public":"AQID","plaintext_length":null},"wrapped":["AAEC)") != std::string::npos);

  CHECK(dump(std::vector<Seal>{{.recipient = 0, .value = {1, 2, 3}}, {.recipient = 1, .value = {4, 5, 6}}}) ==
        R"({"seals":[{"recipient":0,"algorithm":"HMAC-SHA-256","value":"AQID"},)"
        R"({"recipient":1,"algorithm":"HMAC-SHA-256","value":"BAUG"}]})");
  CHECK(dump(Signature{.key = "ab", .value = {1, 2, 3}}) ==
        R"({"signature":{"algorithm":"ecdsa-p256-sha256","key":"ab","value":"AQID"}})");
}

TEST_CASE("what a token says of itself is written even where it is not text") {
  Header header = header_of(1, 1);
  header.token.label = "bad\xff\xfe";
  CHECK(dump(header).find(R"("label":"bad\\xff\\xfe")") != std::string::npos);
}

TEST_CASE("what is written is read back the same") {
  const Sample sample;
  CHECK(sample.digest == hex(crypto::sha256(view(sample.text))));
  const auto lines = lines_of(sample.text);
  REQUIRE(lines.size() == 5);
  CHECK(sample.text.back() == '\n');

  LineReader input(sample.path, max_line);
  std::vector<std::string> records;
  std::vector<std::size_t> numbers;
  const auto on_record = [&](const Record& record, std::size_t line) {
    records.push_back(dump(record));
    numbers.push_back(line);
  };
  const Summary summary = read(input, on_record);
  CHECK(dump(summary.header) == lines[0]);
  CHECK(records == std::vector<std::string>{lines[1], lines[2]});
  CHECK(numbers == std::vector<std::size_t>{2, 3});
  CHECK(dump(summary.seals) == lines[3]);
  CHECK(dump(summary.signature) == lines[4]);
  CHECK(summary.seals_line == 4);
  CHECK(summary.signature_line == 5);
  CHECK(summary.file_digest == sample.digest);

  const std::string above_seals = joined({lines[0], lines[1], lines[2]});
  CHECK(summary.seal_message.size() == 17 + 64);
  CHECK(to_text(ByteView(summary.seal_message)) == "kmbundle-seal-v1\n" + to_text(crypto::sha512(view(above_seals))));
  CHECK(equal(summary.signed_digest, crypto::sha256(view(above_seals + lines[3] + "\n"))));

  // A second pass, and the header alone, over the same reader.
  CHECK(read(input, {}).file_digest == sample.digest);
  CHECK(dump(read_header(input)) == lines[0]);
  CHECK(read(input, {}).file_digest == sample.digest);
}

TEST_CASE("signature and seals are proven, and only by the right keys") {
  const Sample sample;
  LineReader input(sample.path, max_line);
  const Summary summary = read(input, {});
  CHECK(signature_by(summary, sample.signer.public_key(), input.name()));
  CHECK_FALSE(signature_by(summary, Signer().public_key(), input.name()));
  require_seal(summary, 0, seal(0, summary.seal_message), input.name());
  require_seal(summary, 1, seal(1, summary.seal_message), input.name());

  const auto wrong = outcome_of([&] { require_seal(summary, 1, seal(0, summary.seal_message), "b"); });
  CHECK(wrong.exit == ExitCode::damaged);
  CHECK(wrong.message == "b: line 4: the seal of spare@1 is wrong: the file was changed after it was sealed");
  CHECK(outcome_of([&] { require_seal(summary, 0, Bytes(31), "b"); }).exit == ExitCode::damaged);
  CHECK(outcome_of([&] { require_seal(summary, 0, {}, "b"); }).exit == ExitCode::damaged);
  CHECK(outcome_of([&] { require_seal(summary, 2, Bytes(32), "b"); }).exit == ExitCode::internal);

  // A signature that names another key than its own, and one that names the key but is another's.
  Summary lying = summary;
  lying.signature.key = Signer().public_key().fingerprint();
  CHECK(outcome_of([&] { signature_by(lying, sample.signer.public_key(), "b"); }).message ==
        "b: line 5: the signature names another key than the one that made it");
  lying = summary;
  lying.signature.value = Signer().sign(summary.signed_digest);
  CHECK(outcome_of([&] { signature_by(lying, sample.signer.public_key(), "b"); }).message ==
        "b: line 5: the signature is wrong: the file was changed after it was signed");
}

TEST_CASE("the signature is checked without kmtool: ECDSA over every byte above its line") {
  const Sample sample;
  const auto lines = lines_of(sample.text);
  const std::string above = joined({lines[0], lines[1], lines[2], lines[3]});
  LineReader input(sample.path, max_line);
  const Bytes signature = read(input, {}).signature.value;
  const crypto::PublicKey key = sample.signer.public_key();
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  REQUIRE(EVP_DigestVerifyInit(context, nullptr, EVP_sha256(), nullptr, static_cast<EVP_PKEY*>(key.native())) == 1);
  CHECK(EVP_DigestVerify(context, signature.data(), signature.size(), view(above).data(), above.size()) == 1);
  EVP_MD_CTX_free(context);
}

TEST_CASE("the writer refuses what could not be read back") {
  const Signer signer;
  const auto sign = [&](ByteView digest) { return signer.sign(digest); };
  const std::string fingerprint = signer.public_key().fingerprint();
  const auto good = secret_record("a", 1, 1), other = secret_record("b", 2, 1);
  const auto written = [&](const Header& header, const std::vector<Record>& records) {
    return write_one(header, records, seal, sign, fingerprint);
  };
  CHECK(written(header_of(1, 1), {good}).exit == ExitCode::done);
  CHECK(written(header_of(1, 2), {good, other}).exit == ExitCode::done);
  CHECK(written(header_of(16, 1), {secret_record("a", 1, 16)}).exit == ExitCode::done);

  const auto refused = [&](const Header& header, const std::vector<Record>& records, const std::string& fragment) {
    const Outcome outcome = written(header, records);
    INFO(outcome.message);
    CHECK(outcome.exit == ExitCode::internal);
    CHECK(outcome.message.find(fragment) != std::string::npos);
  };
  refused(header_of(1, 1), {good, other}, "more than the 1 records");
  refused(header_of(1, 3), {good, other}, "2 of the 3 records");
  refused(header_of(2, 1), {good}, "1 values for 2 recipients");
  refused(header_of(0, 1), {good}, "1 to 16");
  refused(header_of(17, 1), {good}, "1 to 16");
  refused(header_of(1, 0), {}, "records");
  Record same = other;
  same.id = good.id;
  refused(header_of(1, 2), {good, same}, "lines 2 and 3 share");
  same = other;
  same.name = good.name;
  refused(header_of(1, 2), {good, same}, "lines 2 and 3 share");
  Record wrong = good;
  wrong.name = "a\"b";
  refused(header_of(1, 1), {wrong}, "name");
  wrong = good;
  wrong.wrapped[0].pop_back();
  refused(header_of(1, 1), {wrong}, "39 bytes contradict plaintext_length 32");
  wrong = good;
  wrong.usage.wrap = true;
  refused(header_of(1, 1), {wrong}, "usage");

  const auto short_seal = [](std::size_t, ByteView) { return Bytes(31); };
  CHECK(write_one(header_of(1, 1), {good}, short_seal, sign, fingerprint).exit == ExitCode::internal);
  const auto raw = [](ByteView) { return Bytes(64, 1); };
  CHECK(write_one(header_of(1, 1), {good}, seal, raw, fingerprint).exit == ExitCode::internal);
  CHECK(write_one(header_of(1, 1), {good}, seal, sign, "ab").exit == ExitCode::internal);
  CHECK(write_one(header_of(1, 1), {good}, seal, sign, std::string(64, 'A')).exit == ExitCode::internal);
}

TEST_CASE("every pair of role and type makes the round trip") {
  const Signer signer;
  const Folder folder;
  std::vector<Record> records;
  std::uint8_t seed = 0;
  for (const Role role : {Role::data, Role::mac, Role::sign, Role::transport}) {
    for (const KeyType type : types_of(role)) {
      Record record = secret_record(std::string(to_text(role)) + "-" + std::string(to_text(type)), ++seed, 1);
      record.type = type;
      record.role = role;
      record.strength = strength_of(type);
      const bool pair = class_of(type) == KeyClass::pair;
      record.usage = usage_of(role, type, pair ? Part::private_half : Part::value);
      record.plaintext_length = value_length(type);
      record.wrapped = {pattern((value_length(type) + 7) / 8 * 8 + 8, seed)};
      if (pair) {
        record.public_spki = spki_for(type);
        record.plaintext_length.reset();
        record.wrapped = {pattern(144, seed)};
      }
      records.push_back(record);
    }
  }
  for (const State state : all_states()) {
    records.push_back(secret_record("state-" + std::string(to_text(state)), ++seed, 1));
    records.back().state = state;
  }
  AtomicFile file(folder.file("all"), false);
  Writer writer(file, header_of(1, records.size()));
  for (const auto& record : records) writer.add(record);
  writer.finish(
      seal, [&](ByteView digest) { return signer.sign(digest); }, signer.public_key().fingerprint());
  file.commit();
  std::size_t next = 0;
  LineReader input(folder.file("all"), max_line);
  read(input, [&](const Record& record, std::size_t) { CHECK(dump(record) == dump(records.at(next++))); });
  CHECK(next == records.size());
}
