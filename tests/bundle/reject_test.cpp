#include <doctest/doctest.h>

#include "fixture.hpp"
#include "kmtool/core/encoding.hpp"

using namespace kmtool;
using namespace kmtool::bundle;
using namespace kmtool::bundle::test;

namespace {

/// One edit of one line: the text `from` becomes `to`, and the refusal says `says`.
struct Edit {
  std::string from, to, says;
};

void check_edits(const Sample& sample, std::size_t line, const std::vector<Edit>& edits) {
  const auto path = sample.folder.file("edited");
  for (const auto& edit : edits) {
    auto lines = lines_of(sample.text);
    const auto at = lines[line - 1].find(edit.from);
    CAPTURE(edit.from);
    CAPTURE(edit.to);
    REQUIRE(at != std::string::npos);
    lines[line - 1].replace(at, edit.from.size(), edit.to);
    put(path, joined(lines));
    const std::string message = refusal_of(path);
    CAPTURE(message);
    CHECK(message.starts_with(path.string() + ": line " + std::to_string(line) + ": "));
    CHECK(message.find(edit.says) != std::string::npos);
  }
}

/// A file whose line `number` is `line`.
std::string refusal_with_line(const Sample& sample, std::size_t number, const std::string& line) {
  auto lines = lines_of(sample.text);
  lines[number - 1] = line;
  put(sample.folder.file("edited"), joined(lines));
  return refusal_of(sample.folder.file("edited"));
}

const std::string spelling = "not in its one spelling";

}  // namespace

namespace {

const std::vector<Edit> header_edits = {
    {R"("kmbundle":1)", R"("kmbundle":2)", "version 2 of the format is unknown"},
    {R"("kmbundle":1)", R"("kmbundle":0)", "version 0 of the format is unknown"},
    {R"("kmbundle":1)", R"("kmbundle":"1")", "field \"kmbundle\": expected an integer"},
    {R"("kmbundle":1)", R"("kmbundle":1.0)", "field \"kmbundle\": expected an integer"},
    {R"("kmbundle":1)", R"("kmbundle":1,"kmbundle":1)", "duplicate field \"kmbundle\""},
    {R"("kmbundle":1,)", "", "expected the header: missing field \"kmbundle\""},
    {R"("kind":"keys")", R"("kind":"Keys")", "unknown kind \"Keys\""},
    {R"("kind":"keys")", R"("kind":"\u001b[2J")", "unknown kind \"\\x1b[2J\""},
    {R"("kind":"keys")", R"("kind":null)", "field \"kind\": expected a string"},
    {R"("kind":"keys",)", "", "missing field \"kind\""},
    {R"("id":"0f0e0d0c)", R"("id":"0F0E0D0C)", "field \"id\": expected a uuid"},
    {R"("id":"0f0e0d0c-)", R"("id":"0f0e0d0c)", "field \"id\": expected a uuid"},
    {R"("created":"2026-11-23T20:00:00Z")", R"("created":"2026-11-23 20:00:00Z")", "field \"created\": expected a time"},
    {R"("created":"2026-11-23T20:00:00Z")", R"("created":"2026-11-23T20:00:00.0Z")", "field \"created\": expected a time"},
    {R"("created":"2026-11-23T20:00:00Z")", R"("created":"2026-11-23T20:00:00+00:00")", "field \"created\": expected a time"},
    {R"("created":"2026-11-23T20:00:00Z")", R"("created":"2026-02-30T20:00:00Z")", "field \"created\": expected a time"},
    {R"("created":"2026-11-23T20:00:00Z")", R"("created":"1926-11-23T20:00:00Z")", "field \"created\""},
    {R"("created":"2026-11-23T20:00:00Z")", R"("created":1795464000)", "field \"created\": expected a string"},
    {R"("creator":"kmtool 0.1.0")", R"("creator":"")", "field \"creator\""},
    {R"("creator":"kmtool 0.1.0")", R"("creator":"\u006bmtool 0.1.0")", spelling},
    {R"("token":{)", R"("token":{"extra":1,)", "token: unknown field \"extra\""},
    {R"("serial":"1234",)", "", "token: missing field \"serial\""},
    {R"("hardware":true)", R"("hardware":1)", "token: field \"hardware\": expected true or false"},
    {R"("label":"vault","serial":"1234")", R"("serial":"1234","label":"vault")", spelling},
    {R"("recipients":[)", R"("recipients":[[],)", "expected an object"},
    {R"("kek":"root@1")", R"("kek":"root")", "recipient 0: field \"kek\": expected a name and a version"},
    {R"("kek":"root@1")", R"("kek":"root@01")", "recipient 0: field \"kek\""},
    {R"("kek":"root@1")", R"("kek":"root@0")", "recipient 0: field \"kek\""},
    {R"("kek":"root@1")", R"("kek":"root@1000000")", "recipient 0: field \"kek\""},
    {R"("kek":"root@1")", R"("kek":"root@1@2")", "recipient 0: field \"kek\""},
    {R"("kek":"root@1")", R"("kek":"-root@1")", "recipient 0: field \"kek\""},
    {R"("kek":"root@1")", R"("kek":"spare@1")", "recipient 1: the same kek as recipient 0"},
    {"101112131415161718191a1b1c1d1e1f", "202122232425262728292a2b2c2d2e2f", "recipient 1: the same kek as recipient 0"},
    {"101112131415161718191a1b1c1d1e1f", "101112131415161718191A1b1c1d1e1f", "expected lower-case hexadecimal"},
    {"101112131415161718191a1b1c1d1e1f", "101112131415161718191a1b1c1d1e", "recipient 0: field \"id\": expected 16 bytes"},
    {R"("type":"aes-256")", R"("type":"aes-512")", "recipient 0: unknown type \"aes-512\""},
    {R"("type":"aes-256")", R"("type":"hmac-sha256")", "type hmac-sha256 is not one of a kek"},
    {R"("type":"aes-256")", R"("type":"aes-128")", "strength 256 contradicts type aes-128"},
    {R"("strength":256)", R"("strength":128)", "strength 128 contradicts type aes-256"},
    {R"("strength":256)", R"("strength":-1)", "field \"strength\": expected an integer"},
    {R"("algorithm":"AES-KWP")", R"("algorithm":"AES-CBC")", "recipient 0: unknown algorithm \"AES-CBC\""},
    {R"("mechanism":"CKM_AES_KEY_WRAP_PAD")", R"("mechanism":"CKM AES")", "field \"mechanism\": expected a mechanism name"},
    {R"("mechanism":"CKM_AES_KEY_WRAP_PAD")", R"("mechanism":"")", "field \"mechanism\": expected a mechanism name"},
    {R"("records":2)", R"("records":0)", "field \"records\": expected an integer from 1 to 10000000"},
    {R"("records":2)", R"("records":10000001)", "field \"records\": expected an integer from 1 to 10000000"},
    {R"("records":2)", R"("records":18446744073709551617)", "field \"records\""},
    {R"("records":2)", R"("records":2e0)", "field \"records\": expected an integer"},
    {R"("records":2)", R"("records": 2)", spelling},
    {R"("rule":"G-KEK")", R"("rule":"g-kek")", "waivers: expected the id of a rule"},
    {R"("reason":"ticket)", R"("reason":"\nticket)", "waivers: expected a reason"},
    {R"("rule":"G-KEK")", R"("rule":"G-KEK","by":"me")", "waivers: unknown field \"by\""},
    {R"("waivers":[)", R"("extra":null,"waivers":[)", "unknown field \"extra\""},
    {"{", " {", spelling},
    {"{", "\xef\xbb\xbf{", "byte order mark"},
    {"vault", "v\xff", "UTF-8"},
    {"{", "", "not valid JSON"},
    {"{", "[{", "not valid JSON"}};

}  // namespace

TEST_CASE("headers that are refused") { check_edits(Sample(), 1, header_edits); }

TEST_CASE("lists of recipients that are refused") {
  const Sample sample;
  const std::string line = lines_of(sample.text)[0];
  const auto begin = line.find(R"("recipients":[)"), end = line.find(R"(,"records")");
  const std::string none = line.substr(0, begin) + R"("recipients":[])" + line.substr(end);
  CHECK(refusal_with_line(sample, 1, none).find("line 1: field \"recipients\": expected 1 to 16 entries") != std::string::npos);
  const std::string many = dump(header_of(17, 2));
  CHECK(refusal_with_line(sample, 1, many).find("line 1: field \"recipients\": expected 1 to 16 entries") != std::string::npos);
}

namespace {

const std::vector<Edit> secret_edits = {
    {R"("name":"payments")", R"("name":"")", "field \"name\": not a key name"},
    {R"("name":"payments")", R"("name":"-p")", "field \"name\": not a key name"},
    {R"("name":"payments")", R"("name":"pay ments")", "field \"name\": not a key name"},
    {R"("name":"payments")", R"("name":"../x")", "field \"name\": not a key name"},
    {R"("name":"payments")", R"("name":")" + std::string(65, 'a') + "\"", "field \"name\": not a key name"},
    {R"("name":"payments")", R"("name":7)", "key: field \"name\": expected a string"},
    {R"("name":"payments",)", "", "key: missing field \"name\""},
    {R"("name":"payments",)", R"("name":"payments","name":"payments",)", "duplicate field \"name\""},
    {R"("name":"payments",)", R"("value":"x","name":"payments",)", "key: unknown field \"value\""},
    {R"("version":3)", R"("version":0)", "key: field \"version\": expected an integer"},
    {R"("version":3)", R"("version":1000000)", "field \"version\": expected 1 to 999999"},
    {R"("version":3)", R"("version":03)", "not valid JSON"},
    {R"("version":3)", R"("version":"3")", "key: field \"version\": expected an integer"},
    {"404142434445464748494a4b4c4d4e4f", "40414243444546474849404142434445464748494041424344454647484940414243444546474849404142434445464748494041424344454647484940414243444546474849", "field \"id\": expected 1 to 64 bytes"},
    {"404142434445464748494a4b4c4d4e4f", "404142434445464748494a4b4c4d4e4g", "expected lower-case hexadecimal"},
    {R"("class":"secret")", R"("class":"pair")", "class pair contradicts type aes-256"},
    {R"("class":"secret")", R"("class":"public")", "unknown class \"public\""},
    {R"("type":"aes-256")", R"("type":"des")", "unknown type \"des\""},
    {R"("type":"aes-256")", R"("type":"ec-p256")", "class secret contradicts type ec-p256"},
    {R"("type":"aes-256")", R"("type":"hmac-sha256")", "type hmac-sha256 is not one of role data"},
    {R"("type":"aes-256")", R"("type":"aes-192")", "strength 256 contradicts type aes-192, which has 192 bits"},
    {R"("role":"data")", R"("role":"kek")", "a bundle of kind \"keys\" holds no keks"},
    {R"("role":"data")", R"("role":"mac")", "type aes-256 is not one of role mac"},
    {R"("role":"data")", R"("role":"root")", "unknown role \"root\""},
    {R"("strength":256)", R"("strength":255)", "strength 255 contradicts type aes-256, which has 256 bits"},
    {R"("state":"active")", R"("state":"Active")", "unknown state \"Active\""},
    {R"("created":"2026-11-23T20:00:00Z")", R"("created":null)", "key: field \"created\": expected a string"},
    {R"("created":"2026-11-23T20:00:00Z")", R"("created":"2026-11-23T21:00:00+01:00")", "field \"created\": expected a time"},
    {R"("expires":"2027-11-23T20:00:00Z")", R"("expires":"never")", "field \"expires\": expected a time"},
    {R"("expires":"2027-11-23T20:00:00Z",)", "", "key: missing field \"expires\""},
    {R"("extractable":true)", R"("extractable":"true")", "attributes: field \"extractable\": expected true or false"},
    {R"("local":true,)", "", "attributes: missing field \"local\""},
    {R"("local":true,)", R"("local":true,"modifiable":false,)", "attributes: unknown field \"modifiable\""},
    {R"("usage":["encrypt","decrypt"])", R"("usage":["decrypt","encrypt"])", spelling},
    {R"("usage":["encrypt","decrypt"])", R"("usage":["encrypt"])", "usage encrypt is not that of role data"},
    {R"("usage":["encrypt","decrypt"])", R"("usage":["encrypt","decrypt","wrap"])", "is not that of role data"},
    {R"("usage":["encrypt","decrypt"])", R"("usage":["encrypt","encrypt","decrypt"])", "usage \"encrypt\" twice"},
    {R"("usage":["encrypt","decrypt"])", R"("usage":["encrypt","export"])", "unknown usage \"export\""},
    {R"("usage":["encrypt","decrypt"])", R"("usage":[true])", "expected an array of strings"},
    {R"("usage":["encrypt","decrypt"])", R"("usage":"encrypt")", "field \"usage\": expected an array"},
    {R"("public":null)", R"("public":"AAAA")", "field \"public\": a secret key has none"},
    {R"("public":null,)", "", "key: missing field \"public\""},
    {R"("plaintext_length":32)", R"("plaintext_length":31)", "field \"plaintext_length\": aes-256 is 32 bytes long"},
    {R"("plaintext_length":32)", R"("plaintext_length":null)", "field \"plaintext_length\": aes-256 is 32 bytes long"},
    {R"("plaintext_length":32)", R"("plaintext_length":0)", "key: field \"plaintext_length\": expected an integer"},
    {R"("plaintext_length":32)", R"("plaintext_length":"32")", "key: field \"plaintext_length\": expected an integer"},
    {R"("wrapped":[)", R"("wrapped":["AAAA",)", "3 values for 2 recipients"},
    {R"("wrapped":[)", R"("wrapped":[null,)", "field \"wrapped\": expected an array of strings"},
    {R"("wrapped":["QEFC)", R"("wrapped":["QEF)", "field \"wrapped\": expected base64"},
    {R"("wrapped":["QEFC)", R"("wrapped":["QEF C)", "field \"wrapped\": expected base64"},
    {R"("wrapped":["QEFC)", R"("wrapped":["QEFCQEFC)", "wrapped value 0: 43 bytes contradict plaintext_length 32"},
    {R"("wrapped":["QEFC)", R"("wrapped":[")", "wrapped value 0: 37 bytes contradict plaintext_length 32"},
    {R"({"key":)", R"({"note":1,"key":)", "unknown field \"note\""},
    {R"({"key":)", R"({"Key":)", "expected a record: missing field \"key\""},
    {R"({"key":)", R"({"key": )", spelling},
    {R"("wrapped":)", R"("\u0077rapped":)", spelling}};

}  // namespace

TEST_CASE("records of secret keys that are refused") { check_edits(Sample(), 2, secret_edits); }

TEST_CASE("records of pairs that are refused") {
  const Sample sample;
  const std::string spki = base64([&] {
    LineReader input(sample.path, max_line);
    Bytes found;
    read(input, [&](const Record& record, std::size_t) { found = record.public_spki.value_or(found); });
    return found;
  }());
  const std::string p384 = [] {
    EVP_PKEY* key = EVP_EC_gen("P-384");
    std::string text = base64(spki_of(key));
    EVP_PKEY_free(key);
    return text;
  }();
  const std::string wrapped = base64(pattern(144, 0x60));
  check_edits(sample, 3,
              {{"\"" + spki + "\"", "null", "field \"public\": missing for a pair"},
               {"\"" + spki + "\"", "\"\"", "field \"public\": "},
               {"\"" + spki + "\"", "\"AAAA\"", "field \"public\": "},
               {"\"" + spki + "\"", "\"" + p384 + "\"", "field \"public\": ec-p384, but the type is ec-p256"},
               {"\"" + spki + "\"", "\"" + base64(pattern(91, 1)) + "\"", "field \"public\": "},
               {R"("plaintext_length":null)", R"("plaintext_length":32)", "field \"plaintext_length\": a pair has none"},
               {R"("class":"pair")", R"("class":"secret")", "class secret contradicts type ec-p256"},
               {R"("type":"ec-p256")", R"("type":"ed25519")", "ec-p256, but the type is ed25519"},
               {R"("role":"sign")", R"("role":"transport")", "type ec-p256 is not one of role transport"},
               {R"("usage":["sign"])", R"("usage":["sign","unwrap"])", "usage sign,unwrap is not that of role sign"},
               {R"("usage":["sign"])", R"("usage":[])", "usage none is not that of role sign"},
               {wrapped, base64(pattern(143, 0)), "wrapped value 0: 143 bytes cannot be AES-KWP"},
               {wrapped, base64(pattern(16, 0)), "wrapped value 0: 16 bytes cannot be AES-KWP"},
               {wrapped, "", "wrapped value 0: 0 bytes cannot be AES-KWP"}});
}

TEST_CASE("seals and signatures that are refused") {
  const Sample sample;
  const std::string value = base64(Bytes(32, 1));
  const Seal zero{.recipient = 0, .value = Bytes(32, 1)}, one{.recipient = 1, .value = Bytes(32, 1)};
  const auto seals = [&](const std::vector<Seal>& list) { return refusal_with_line(sample, 4, dump(list)); };
  CHECK(seals({zero, one}) == "");
  CHECK(seals({zero}).find("line 4: 1 seals for 2 recipients") != std::string::npos);
  CHECK(seals({zero, one, one}).find("line 4: 3 seals for 2 recipients") != std::string::npos);
  CHECK(seals({one, zero}).find("line 4: seal 0: expected that of recipient 0") != std::string::npos);
  CHECK(seals({zero, zero}).find("line 4: seal 1: expected that of recipient 1") != std::string::npos);
  CHECK(seals({zero, {.recipient = 1, .value = Bytes(31, 1)}}).find("line 4: seal 1: expected 32 bytes") != std::string::npos);
  check_edits(sample, 4,
              {{R"("recipient":0)", R"("recipient":-1)", "seal 0: field \"recipient\": expected an integer"},
               {R"("algorithm":"HMAC-SHA-256")", R"("algorithm":"HMAC-SHA-1")", "seal 0: unknown algorithm \"HMAC-SHA-1\""},
               {R"("value":")", R"("value":" )", "seal 0: field \"value\": expected base64"},
               {R"("value":")", R"("extra":1,"value":")", "seal 0: unknown field \"extra\""},
               {R"({"seals":)", R"({"extra":1,"seals":)", "unknown field \"extra\""},
               {R"({"seals":)", R"({ "seals":)", spelling}});
  check_edits(sample, 5,
              {{"ecdsa-p256-sha256", "ecdsa-p256-sha1", "signature: unknown algorithm \"ecdsa-p256-sha1\""},
               {R"("key":")", R"("key":"00)", "field \"key\": expected a sha-256"},
               {R"("key":")", R"("key":"A)", "field \"key\": expected a sha-256"},
               {R"("value":")", R"("value":"AAAA)", "field \"value\": not an ecdsa signature"},
               {R"("value":"M)", R"("value":"N)", "field \"value\": not an ecdsa signature"},
               {R"("value":")", R"("extra":1,"value":")", "signature: unknown field \"extra\""},
               {R"({"signature":)", R"({"signature":null,"signature":)", "duplicate field \"signature\""},
               {R"({"signature":)", R"({"extra":1,"signature":)", "unknown field \"extra\""},
               {R"({"signature":)", R"({"signature": )", spelling}});
}

TEST_CASE("lines that are no lines of the format") {
  const Sample sample;
  for (std::size_t number = 1; number <= 5; ++number) {
    const auto refused = [&](const std::string& line, const std::string& says) {
      const std::string message = refusal_with_line(sample, number, line);
      CAPTURE(line.substr(0, 40));
      CAPTURE(message);
      CHECK(message.find(": line " + std::to_string(number) + ": ") != std::string::npos);
      CHECK(message.find(says) != std::string::npos);
    };
    const std::string whole = lines_of(sample.text)[number - 1];
    refused("", "empty line");
    refused(whole + "\r", "carriage return");
    refused(whole + " ", spelling);
    refused(whole + whole, "not valid JSON");
    refused(whole + "#", "not valid JSON");
    refused("// comment", "not valid JSON");
    refused("null", "expected an object");
    refused("[]", "expected an object");
    refused("{}", "missing field");
    refused(R"({"":{}})", "missing field");
    refused(std::string(200000, '['), "nested deeper than 8 levels");
    refused(R"({"key":)" + std::string(100, '['), "nested deeper than 8 levels");
    std::string deep = R"({"a":)";
    for (int i = 0; i < 50000; ++i) deep += R"({"a":)";
    refused(deep, "nested deeper than 8 levels");
    refused(std::string(max_line + 1, ' '), "longer than 1048576 bytes");
    refused(std::string(max_line * 3, 'x'), "longer than 1048576 bytes");
    refused(std::string(max_line, ' '), "not valid JSON");
    refused(whole.substr(0, 20) + std::string(1, '\0') + whole.substr(20), "not valid JSON");
  }
}

TEST_CASE("two records of one name and version, or of one id, are refused") {
  const Sample sample;
  const auto twin = [&](const Record& record) { return refusal_with_line(sample, 3, dump(record)); };
  Record record = secret_record("other", 0x70, 2);
  CHECK(twin(record) == "");
  record.name = "payments";
  CHECK(twin(record).find("line 3: the same key name and version, or the same id, as line 2") != std::string::npos);
  record.version = 4;
  CHECK(twin(record) == "");
  record.id = pattern(16, 0x40);
  CHECK(twin(record).find("line 3: the same key name and version, or the same id, as line 2") != std::string::npos);
}

TEST_CASE("the name of a hostile file is made harmless in messages") {
  const Folder folder;
  put(folder.file("a\x1b[31m"), "x\n");
  CHECK(refusal_of(folder.file("a\x1b[31m")).find("a\\x1b[31m: line 1: not valid JSON") != std::string::npos);
}
