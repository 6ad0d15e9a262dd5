#include "kmtool/op/records.hpp"

#include <fmt/format.h>

#include "kmtool/core/encoding.hpp"
#include "kmtool/domain/name.hpp"

namespace kmtool::op {

namespace {

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}
Json time_or_null(const std::optional<UnixTime>& time) { return time ? Json(rfc3339(*time)) : Json(nullptr); }

JsonFail failing(const journal::Item& item) {
  return [where = "catalog row " + item.kind + " " + item.id](const std::string& what) {
    throw Error::tampered(where + ": " + what, "the database was damaged or changed; run kmtool doctor");
  };
}

UnixTime read_time(JsonReader& reader, const std::string& name) {
  const auto time = parse_rfc3339(reader.text(name));
  if (!time) reader.fail("\"" + name + "\" is not a time");
  return *time;
}
std::optional<UnixTime> read_optional_time(JsonReader& reader, const std::string& name) {
  const auto text = reader.optional_text(name);
  if (!text) return std::nullopt;
  const auto time = parse_rfc3339(*text);
  if (!time) reader.fail("\"" + name + "\" is not a time");
  return time;
}
Role read_role(JsonReader& reader) {
  const auto role = role_from(reader.text("role"));
  if (!role) reader.fail("unknown role");
  return *role;
}
KeyType read_type(JsonReader& reader) {
  const auto type = key_type_from(reader.text("type"));
  if (!type) reader.fail("unknown key type");
  return *type;
}

constexpr std::int64_t big = std::int64_t{1} << 52;
constexpr std::size_t keys_per_part = 500;

}  // namespace

journal::Change KeyRecord::change() const {
  Json json;
  json["role"] = to_text(role);
  json["type"] = to_text(type);
  json["active"] = or_null(active);
  json["latest"] = latest;
  json["owner"] = owner;
  json["application"] = application;
  json["cryptoperiod"] = or_null(cryptoperiod);
  json["created"] = rfc3339(created);
  return {"key", name, json};
}

KeyRecord KeyRecord::from(const journal::Item& item) {
  const Json json = item.json();
  JsonReader reader(json, failing(item));
  KeyRecord key;
  key.name = item.id;
  key.role = read_role(reader);
  key.type = read_type(reader);
  if (const auto active = reader.optional_integer("active", 1, 999999)) key.active = static_cast<int>(*active);
  key.latest = static_cast<int>(reader.integer("latest", 0, 999999));
  key.owner = reader.text("owner");
  key.application = reader.text("application");
  key.cryptoperiod = reader.optional_integer("cryptoperiod", 1, big);
  key.created = read_time(reader, "created");
  reader.finish();
  return key;
}

std::string VersionRecord::label() const { return label_of(name, version); }

policy::KeyFacts VersionRecord::facts() const {
  auto end = expires;
  if (deactivate_at && (!end || *deactivate_at < *end)) end = deactivate_at;
  return {label(), role, type, strength_of(type), state, extractable, end};
}

journal::Change VersionRecord::change() const {
  Json json;
  json["id"] = hex(id);
  json["role"] = to_text(role);
  json["type"] = to_text(type);
  json["state"] = to_text(state);
  json["extractable"] = extractable;
  json["origin"] = origin;
  json["backed_up"] = backed_up;
  json["created"] = rfc3339(created);
  json["activated"] = time_or_null(activated);
  json["activate_at"] = time_or_null(activate_at);
  json["deactivate_at"] = time_or_null(deactivate_at);
  json["expires"] = time_or_null(expires);
  json["changed"] = time_or_null(changed);
  json["reason"] = reason;
  json["token_serial"] = token_serial;
  json["token_label"] = token_label;
  json["flaws"] = flaws;
  json["public"] = public_spki ? Json(base64(*public_spki)) : Json(nullptr);
  json["waivers"] = Json::array();
  for (const auto& waiver : waivers) json["waivers"].push_back({{"rule", waiver.rule}, {"reason", waiver.reason}});
  if (!quorum.empty()) json["quorum"] = quorum;
  return {"version", label(), json};
}

VersionRecord VersionRecord::from(const journal::Item& item) {
  const Json json = item.json();
  JsonReader reader(json, failing(item));
  VersionRecord version;
  const auto ref = KeyRef::parse(item.id);
  version.name = ref.name;
  version.version = ref.version.value_or(0);
  version.id = reader.hex("id");
  version.role = read_role(reader);
  version.type = read_type(reader);
  const auto state = state_from(reader.text("state"));
  if (!state) reader.fail("unknown state");
  version.state = *state;
  version.extractable = reader.boolean("extractable");
  version.origin = reader.text("origin");
  version.backed_up = reader.boolean("backed_up");
  version.created = read_time(reader, "created");
  version.activated = read_optional_time(reader, "activated");
  version.activate_at = read_optional_time(reader, "activate_at");
  version.deactivate_at = read_optional_time(reader, "deactivate_at");
  version.expires = read_optional_time(reader, "expires");
  version.changed = read_optional_time(reader, "changed");
  version.reason = reader.text("reason");
  version.token_serial = reader.text("token_serial");
  version.token_label = reader.text("token_label");
  version.flaws = reader.texts("flaws");
  if (reader.optional_text("public")) version.public_spki = reader.base64("public");
  for (const auto& entry : reader.array("waivers")) {
    JsonReader waiver(entry, failing(item), "waivers");
    version.waivers.push_back({waiver.text("rule"), waiver.text("reason")});
    waiver.finish();
  }
  if (reader.has("quorum")) version.quorum = reader.text("quorum");
  version.seq = item.seq;
  reader.finish();
  return version;
}

void BundleRecord::take_recipients(const std::vector<bundle::Recipient>& recipients) {
  for (const auto& recipient : recipients) (recipient.is_public() ? public_keys : keks).push_back(recipient.is_public() ? recipient.public_key : recipient.kek);
}

void BundleRecord::take(const bundle::Header& header) {
  id = header.id;
  kind = header.kind;
  created = header.created;
  records = header.records;
  take_recipients(header.recipients);
  if (header.of_kek()) quorum = header.quorum ? fmt::format("{}/{}", header.quorum->needed, header.quorum->shares) : "";
}

std::vector<journal::Change> BundleRecord::changes() const {
  Json json;
  json["kind"] = kind;
  json["path"] = path;
  json["host"] = host;
  json["digest"] = digest;
  json["keks"] = keks;
  if (!public_keys.empty()) json["public_keys"] = public_keys;
  json["records"] = records;
  json["created"] = rfc3339(created);
  json["verified"] = time_or_null(verified);
  json["restored"] = time_or_null(restored);
  json["kept_for"] = kept_for;
  if (!offline.empty()) json["offline"] = offline;
  if (!bad.empty()) json["bad"] = bad;
  if (quorum) json["quorum"] = *quorum;
  std::vector<journal::Change> result{{"bundle", id, json}};
  for (std::size_t i = 0; i < keys.size(); i += keys_per_part) {
    Json part = Json::array();
    for (std::size_t k = i; k < std::min(i + keys_per_part, keys.size()); ++k) part.push_back(keys[k]);
    result.push_back({"bundle-part", fmt::format("{}/{:06}", id, i / keys_per_part), part});
  }
  return result;
}

std::vector<journal::Change> BundleRecord::removal() const {
  std::vector<journal::Change> result{{"bundle", id, std::nullopt}};
  for (std::size_t i = 0; i < records; i += keys_per_part) result.push_back({"bundle-part", fmt::format("{}/{:06}", id, i / keys_per_part), std::nullopt});
  return result;
}

BundleRecord BundleRecord::from(const journal::Item& item) {
  const Json json = item.json();
  JsonReader reader(json, failing(item));
  BundleRecord bundle;
  bundle.id = item.id;
  bundle.kind = reader.text("kind");
  bundle.path = reader.text("path");
  bundle.host = reader.text("host");
  bundle.digest = reader.text("digest");
  bundle.keks = reader.texts("keks");
  if (reader.has("public_keys")) bundle.public_keys = reader.texts("public_keys");
  bundle.records = static_cast<std::uint64_t>(reader.integer("records", 0, big));
  bundle.created = read_time(reader, "created");
  bundle.verified = read_optional_time(reader, "verified");
  bundle.restored = read_optional_time(reader, "restored");
  bundle.kept_for = reader.text("kept_for");
  if (reader.has("offline")) bundle.offline = reader.text("offline");
  if (reader.has("bad")) bundle.bad = reader.text("bad");
  if (reader.has("quorum")) bundle.quorum = reader.text("quorum");
  bundle.seq = item.seq;
  reader.finish();
  return bundle;
}

std::string SignerRecord::label(const std::string& home_id) const {
  return "kmtool-" + use + "-signer-" + home_id.substr(0, 8) + "@" + std::to_string(version);
}

journal::Change SignerRecord::change() const {
  Json json;
  json["id"] = hex(id);
  json["type"] = to_text(type);
  json["public"] = base64(spki);
  json["state"] = state;
  json["compromised_after"] = or_null(compromised_after);
  return {"signer", use + "@" + std::to_string(version), json};
}

SignerRecord SignerRecord::from(const journal::Item& item) {
  const Json json = item.json();
  JsonReader reader(json, failing(item));
  SignerRecord signer;
  const auto ref = KeyRef::parse(item.id);
  signer.use = ref.name;
  signer.version = ref.version.value_or(0);
  signer.id = reader.hex("id");
  signer.type = read_type(reader);
  signer.spki = reader.base64("public");
  signer.state = reader.text("state");
  if (const auto after = reader.optional_integer("compromised_after", 0, big)) {
    signer.compromised_after = static_cast<std::uint64_t>(*after);
  }
  reader.finish();
  return signer;
}

journal::Change TrustRecord::change() const {
  Json json;
  json["public"] = base64(spki);
  json["since"] = rfc3339(since);
  return {"trust", name, json};
}

TrustRecord TrustRecord::from(const journal::Item& item) {
  const Json json = item.json();
  JsonReader reader(json, failing(item));
  TrustRecord trust;
  trust.name = item.id;
  trust.spki = reader.base64("public");
  trust.since = read_time(reader, "since");
  reader.finish();
  return trust;
}

}  // namespace kmtool::op
