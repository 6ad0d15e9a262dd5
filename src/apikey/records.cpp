#include <algorithm>
#include <tuple>

#include "kmtool/apikey/registry.hpp"
#include "kmtool/apikey/store.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"

namespace kmtool::apikey {

namespace {

JsonFail failing(const journal::Item& item) {
  return [where = "catalog row " + item.kind + " " + item.id](const std::string& what) {
    throw Error::tampered(where + ": " + what, "the database was damaged or changed; run kmtool doctor");
  };
}

Json time_or_null(const std::optional<UnixTime>& time) { return time ? Json(rfc3339(*time)) : Json(nullptr); }

UnixTime time(JsonReader& reader, const char* name) {
  const auto value = parse_rfc3339(reader.text(name));
  if (!value) reader.fail("\"" + std::string(name) + "\" is not a time");
  return *value;
}
std::optional<UnixTime> optional_time(JsonReader& reader, const char* name) {
  return reader.optional_text(name) ? std::optional(time(reader, name)) : std::nullopt;
}

}  // namespace

journal::Change ApiKeyRecord::change() const {
  Json json;
  json["app"] = entry.app;
  json["environment"] = entry.environment;
  json["digest"] = hex(entry.digest);
  json["created"] = rfc3339(entry.created);
  json["not_before"] = time_or_null(entry.not_before);
  json["expires"] = time_or_null(entry.expires);
  json["until"] = time_or_null(entry.until);
  json["revoked"] = time_or_null(revoked);
  json["reason"] = reason;
  json["replaces"] = replaces;
  json["replaced_by"] = replaced_by;
  json["restrictions"] = entry.restrictions->to_json();
  json["waivers"] = Json::array();
  for (const auto& waiver : waivers) json["waivers"].push_back({{"rule", waiver.rule}, {"reason", waiver.reason}});
  return {"apikey", entry.id, json};
}

ApiKeyRecord ApiKeyRecord::from(const journal::Item& item) {
  const auto fail = failing(item);
  const Json json = item.json();
  JsonReader reader(json, fail);
  ApiKeyRecord record;
  auto& entry = record.entry;
  entry.id = item.id;
  entry.app = reader.text("app");
  entry.environment = reader.text("environment");
  const auto digest = reader.hex("digest");
  if (digest.size() != entry.digest.size()) reader.fail("\"digest\" is not one of SHA-256");
  std::copy(digest.begin(), digest.end(), entry.digest.begin());
  entry.created = time(reader, "created");
  entry.not_before = optional_time(reader, "not_before");
  entry.expires = optional_time(reader, "expires");
  entry.until = optional_time(reader, "until");
  record.revoked = optional_time(reader, "revoked");
  entry.revoked = record.revoked.has_value();
  record.reason = reader.text("reason");
  record.replaces = reader.text("replaces");
  record.replaced_by = reader.text("replaced_by");
  entry.restrictions = Restrictions::from_json(reader.object("restrictions"), fail);
  for (const auto& each : reader.array("waivers")) {
    JsonReader waiver(each, fail, "waivers");
    record.waivers.push_back({waiver.text("rule"), waiver.text("reason")});
    waiver.finish();
  }
  reader.finish();
  return record;
}

std::string ApiKeyRecord::state(UnixTime now) const {
  if (revoked) return "revoked";
  if (entry.until && *entry.until <= now) return "replaced";
  if (entry.expires && *entry.expires <= now) return "expired";
  if (entry.until) return "in overlap";
  if (entry.not_before && *entry.not_before > now) return "not yet valid";
  return "live";
}

bool ApiKeyRecord::alive(UnixTime now) const {
  return !revoked && (!entry.until || *entry.until > now) && (!entry.expires || *entry.expires > now);
}

ApiKeyRecord find_api_key(op::Context& context, const std::string& id) {
  if (const auto item = context.journal().proven("apikey", id)) return ApiKeyRecord::from(*item);
  if (const auto parts = parse_form(id); parts.form == KeyParts::Form::ok) {  // it must not stand in a log as well
    throw Error::usage("that is a whole api key, not its id", "its id is " + std::string(parts.id) + "; whoever reads this shell's history has the key: rotate it");
  }
  std::vector<std::string> ids;
  for (const auto& item : context.journal().proven_all("apikey")) ids.push_back(item.id);
  const auto near = nearest(id, ids);
  throw Error::missing("there is no api key " + printable(id), near.empty() ? "kmtool apikey list shows them" : "did you mean " + near + "?");
}

std::vector<ApiKeyRecord> api_keys(op::Context& context) {
  std::vector<ApiKeyRecord> records;
  for (const auto& item : context.journal().proven_all("apikey")) records.push_back(ApiKeyRecord::from(item));
  std::sort(records.begin(), records.end(), [](const auto& a, const auto& b) {
    return std::tie(a.entry.app, a.entry.environment, a.entry.created, a.entry.id) < std::tie(b.entry.app, b.entry.environment, b.entry.created, b.entry.id);
  });
  return records;
}

journal::Change StoredRecord::change() const {
  Json json;
  json["key"] = key;
  json["sealed"] = base64(sealed);
  json["mark"] = base64(mark);
  json["stored"] = rfc3339(stored);
  json["issued"] = issued;
  return {"apikey-store", id(), json};
}

StoredRecord StoredRecord::from(const journal::Item& item) {
  const Json json = item.json();
  JsonReader reader(json, failing(item));
  StoredRecord record;
  const auto slash = item.id.find('/');
  record.app = item.id.substr(0, slash);
  record.name = slash == std::string::npos ? "" : item.id.substr(slash + 1);
  record.key = reader.text("key");
  record.sealed = reader.base64("sealed");
  record.mark = reader.base64("mark");
  record.stored = time(reader, "stored");
  record.issued = reader.text("issued");
  reader.finish();
  return record;
}

std::vector<StoredRecord> stored_keys(op::Context& context) {
  std::vector<StoredRecord> records;
  for (const auto& item : context.journal().proven_all("apikey-store")) records.push_back(StoredRecord::from(item));
  std::sort(records.begin(), records.end(), [](const auto& a, const auto& b) { return a.id() < b.id(); });
  return records;
}

StoredRecord find_stored(op::Context& context, const std::string& app, const std::string& name) {
  if (const auto item = context.journal().proven("apikey-store", app + "/" + name)) return StoredRecord::from(*item);
  std::vector<std::string> names;
  for (const auto& record : stored_keys(context)) {
    if (record.app == app) names.push_back(record.name);
  }
  throw Error::missing("no key is kept as " + printable(name) + " for " + printable(app),
                       names.empty() ? "keep one first: kmtool apikey store NAME --app " + printable(app) : "it has " + join(names, ", "));
}

}  // namespace kmtool::apikey
