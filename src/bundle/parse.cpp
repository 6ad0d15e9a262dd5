#include "bundle/parse.hpp"

#include <fmt/format.h>

#include "bundle/check.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::bundle {
namespace {

constexpr std::size_t max_depth = 8;
constexpr std::int64_t int_max = 2'147'483'647;

/// What a line is, by the one field that only this kind of line has.
constexpr std::pair<const char*, const char*> kinds[] = {
    {"kmbundle", "the header"}, {"key", "a record"}, {"seals", "the seals"}, {"signature", "the signature"}};

/// Parses a line and refuses it when it is plainly another kind of line: a more useful answer than a missing field.
Json parse_line(std::string_view line, const std::string& field, const JsonFail& fail) {
  if (line.empty()) fail("empty line");
  if (line.size() > max_line) fail(fmt::format("longer than {} bytes", max_line));
  if (line.find('\r') != std::string_view::npos) fail("carriage return: lines end in LF alone");
  Json json = parse_json(line, fail, {.comments = false, .max_depth = max_depth});
  if (!json.is_object()) fail("expected an object");
  if (json.contains(field)) return json;
  std::string expected = "the header", found;
  for (const auto& [name, text] : kinds) {
    if (field == name) expected = text;
    if (found.empty() && json.contains(name)) found = text;
  }
  if (!found.empty()) fail(fmt::format("expected {}, found {}", expected, found));
  fail(fmt::format("expected {}: missing field \"{}\"", expected, field));
  return json;
}

void require_spelling(std::string_view line, const std::string& one, const JsonFail& fail) {
  if (line != one) fail("not in its one spelling");
}

std::string shown(const std::string& text) { return printable(text.substr(0, 64)); }

UnixTime time_of(const std::string& text, const char* field, const JsonReader& reader) {
  const auto time = parse_rfc3339(text);
  if (!time || rfc3339(*time) != text)
    reader.fail(fmt::format("field \"{}\": expected a time such as 2026-11-23T20:00:00Z", field));
  return *time;
}

template <typename Value>
Value known(std::optional<Value> value, const char* what, const std::string& text, const JsonReader& reader) {
  if (!value) reader.fail(fmt::format("unknown {} \"{}\"", what, shown(text)));
  return *value;
}

KeyType type_of(JsonReader& reader) {
  const std::string text = reader.text("type");
  return known(key_type_from(text), "type", text, reader);
}

Recipient recipient_of(const Json& json, std::size_t number, const JsonFail& fail) {
  JsonReader reader(json, fail, fmt::format("recipient {}", number));
  Recipient recipient;
  const bool is_public = reader.has("public_key");
  if (is_public) {
    recipient.public_key = reader.text("public_key");
    if (recipient.public_key.empty()) reader.fail("field \"public_key\": expected a sha-256 in hexadecimal");
  } else {
    recipient.kek = reader.text("kek");
    recipient.id = reader.hex("id");
  }
  recipient.type = type_of(reader);
  recipient.strength = static_cast<int>(reader.integer("strength", 0, int_max));
  const std::string algorithm = reader.text("algorithm");
  if (is_public) {
    recipient.transport = known(transport_from(algorithm), "algorithm", algorithm, reader);
  } else {
    recipient.algorithm = known(wrap_algorithm_from(algorithm), "algorithm", algorithm, reader);
  }
  recipient.mechanism = reader.text("mechanism");
  reader.finish();
  return recipient;
}

void read_usage(JsonReader& reader, Usage& usage) {
  const std::pair<const char*, bool*> names[] = {
      {"encrypt", &usage.encrypt}, {"decrypt", &usage.decrypt}, {"sign", &usage.sign},    {"verify", &usage.verify},
      {"wrap", &usage.wrap},       {"unwrap", &usage.unwrap},   {"derive", &usage.derive}};
  for (const auto& text : reader.texts("usage")) {
    bool* flag = nullptr;
    for (const auto& [name, member] : names) flag = text == name ? member : flag;
    if (flag == nullptr) reader.fail(fmt::format("unknown usage \"{}\"", shown(text)));
    if (*flag) reader.fail(fmt::format("usage \"{}\" twice", text));
    *flag = true;
  }
}

void read_attributes(const Json& json, Record& record, const JsonFail& fail) {
  JsonReader reader(json, fail, "attributes");
  record.extractable = reader.boolean("extractable");
  record.local = reader.boolean("local");
  record.always_sensitive = reader.boolean("always_sensitive");
  record.never_extractable = reader.boolean("never_extractable");
  read_usage(reader, record.usage);
  reader.finish();
}

std::optional<Bytes> optional_base64(JsonReader& reader, const std::string& name) {
  if (reader.any(name).is_null()) return std::nullopt;
  return reader.base64(name);
}

void read_key(const Json& json, Record& record, const JsonFail& fail) {
  JsonReader reader(json, fail, "key");
  record.name = reader.text("name");
  record.version = static_cast<int>(reader.integer("version", 1, int_max));
  record.id = reader.hex("id");
  const std::string key_class = reader.text("class");
  if (key_class != "secret" && key_class != "pair") reader.fail(fmt::format("unknown class \"{}\"", shown(key_class)));
  record.type = type_of(reader);
  if ((key_class == "pair") != (class_of(record.type) == KeyClass::pair)) {
    reader.fail(fmt::format("class {} contradicts type {}", key_class, to_text(record.type)));
  }
  const std::string role = reader.text("role");
  record.role = known(role_from(role), "role", role, reader);
  record.strength = static_cast<int>(reader.integer("strength", 0, int_max));
  const std::string state = reader.text("state");
  record.state = known(state_from(state), "state", state, reader);
  record.created = time_of(reader.text("created"), "created", reader);
  if (!reader.any("expires").is_null()) record.expires = time_of(reader.text("expires"), "expires", reader);
  read_attributes(reader.object("attributes"), record, fail);
  record.public_spki = optional_base64(reader, "public");
  if (!reader.any("plaintext_length").is_null()) {
    record.plaintext_length = static_cast<unsigned long>(reader.integer("plaintext_length", 1, int_max));
  }
  reader.finish();
}

}  // namespace

TokenNote parse_token(const Json& json, const JsonFail& fail) {
  JsonReader reader(json, fail, "token");
  TokenNote token{.label = reader.text("label"),
                  .serial = reader.text("serial"),
                  .manufacturer = reader.text("manufacturer"),
                  .model = reader.text("model"),
                  .hardware = reader.boolean("hardware")};
  reader.finish();
  return token;
}

namespace {

Quorum quorum_of(const Json& json, const JsonFail& fail) {
  JsonReader reader(json, fail, "quorum");
  Quorum quorum;
  quorum.needed = static_cast<unsigned>(reader.integer("needed", 2, 255));
  quorum.shares = static_cast<unsigned>(reader.integer("shares", 2, 255));
  if (const auto algorithm = reader.text("algorithm"); algorithm != "HKDF-SHA256+AES-256-GCM") {
    reader.fail(fmt::format("unknown algorithm \"{}\"", shown(algorithm)));
  }
  quorum.commitments = reader.texts("commitments");
  reader.finish();
  return quorum;
}

}  // namespace

Header parse_header(std::string_view line, const JsonFail& fail) {
  const Json json = parse_line(line, "kmbundle", fail);
  JsonReader reader(json, fail);
  const auto version = reader.integer("kmbundle", 0, INT64_MAX);
  if (version != 1) reader.fail(fmt::format("version {} of the format is unknown: this kmtool reads version 1", version));
  Header header;
  header.kind = reader.text("kind");
  if (header.kind != "keys" && header.kind != "kek") reader.fail(fmt::format("unknown kind \"{}\"", shown(header.kind)));
  header.id = reader.text("id");
  header.created = time_of(reader.text("created"), "created", reader);
  header.creator = reader.text("creator");
  header.token = parse_token(reader.object("token"), fail);
  for (const Json& recipient : reader.array("recipients")) {
    header.recipients.push_back(recipient_of(recipient, header.recipients.size(), fail));
  }
  header.records = static_cast<std::uint64_t>(reader.integer("records", 1, 10'000'000));
  for (const Json& waiver : reader.array("waivers")) {
    JsonReader note(waiver, fail, "waivers");
    header.waivers.push_back({.rule = note.text("rule"), .reason = note.text("reason")});
    note.finish();
  }
  if (const Json* quorum = reader.optional_any("quorum")) header.quorum = quorum_of(*quorum, fail);
  reader.finish();
  check_header(header, fail);
  require_spelling(line, dump(header), fail);
  return header;
}

Record parse_record(std::string_view line, const Header& header, const JsonFail& fail) {
  const Json json = parse_line(line, "key", fail);
  JsonReader reader(json, fail);
  Record record;
  read_key(reader.object("key"), record, fail);
  for (const auto& text : reader.texts("wrapped")) {
    auto value = from_base64(text);
    if (!value) reader.fail("field \"wrapped\": expected base64");
    record.wrapped.push_back(*std::move(value));
  }
  reader.finish();
  check_record(record, header, fail);
  require_spelling(line, dump(record), fail);
  check_public(record, fail);
  return record;
}

namespace {

void read_pair(const Json& json, Seal& seal, const JsonFail& fail) {
  JsonReader reader(json, fail, "pair");
  const std::string algorithm = reader.text("algorithm");
  seal.pair_algorithm = known(wrap_algorithm_from(algorithm), "algorithm", algorithm, reader);
  seal.pair = reader.base64("value");
  reader.finish();
}

}  // namespace

std::vector<Seal> parse_seals(std::string_view line, const Header& header, const JsonFail& fail) {
  const Json json = parse_line(line, "seals", fail);
  JsonReader reader(json, fail);
  std::vector<Seal> seals;
  for (const Json& entry : reader.array("seals")) {
    JsonReader one(entry, fail, fmt::format("seal {}", seals.size()));
    Seal seal;
    const bool own = one.any("recipient").is_null();
    seal.recipient = own ? Seal::own : static_cast<std::size_t>(one.integer("recipient", 0, int_max));
    if (const auto algorithm = one.text("algorithm"); algorithm != "HMAC-SHA-256") {
      one.fail(fmt::format("unknown algorithm \"{}\"", shown(algorithm)));
    }
    seal.value = one.base64("value");
    if (own) read_pair(one.object("pair"), seal, fail);
    one.finish();
    seals.push_back(std::move(seal));
  }
  reader.finish();
  check_seals(seals, header, fail);
  require_spelling(line, dump(seals), fail);
  return seals;
}

Signature parse_signature(std::string_view line, const JsonFail& fail) {
  const Json json = parse_line(line, "signature", fail);
  JsonReader reader(json, fail);
  JsonReader inner(reader.object("signature"), fail, "signature");
  if (const auto algorithm = inner.text("algorithm"); algorithm != "ecdsa-p256-sha256") {
    inner.fail(fmt::format("unknown algorithm \"{}\"", shown(algorithm)));
  }
  Signature signature{.key = inner.text("key"), .value = inner.base64("value")};
  inner.finish();
  reader.finish();
  check_signature(signature, fail);
  require_spelling(line, dump(signature), fail);
  return signature;
}

}  // namespace kmtool::bundle
