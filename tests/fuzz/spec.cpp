// The list of keys of gen --spec. What is accepted is written here as plain JSON, which is read as the same list.
#include "kmtool/keys/spec.hpp"

#include <set>

#include "kmtool/core/json.hpp"
#include "kmtool/domain/name.hpp"
#include "target.hpp"

using namespace kmtool;

namespace {

keys::Spec parsed(const std::string& text) { return keys::parse_spec(text, "keys.json", "/lists"); }

Json json_of(const keys::GenRequest& key) {
  Json json;
  json["name"] = key.name;
  json["role"] = to_text(key.role);
  json["type"] = to_text(key.type);
  json["exportable"] = key.exportable;
  if (key.backup) {
    json["backup"] = key.backup->string();
    json["kek"] = key.keks;
  }
  if (key.cryptoperiod) json["cryptoperiod"] = duration_text(*key.cryptoperiod);
  json["owner"] = key.owner;
  json["application"] = key.application;
  if (key.activate_at) json["activate_at"] = rfc3339(*key.activate_at);
  json["count"] = key.count;
  return json;
}

std::string text_of(const keys::Spec& spec) {
  Json json;
  json["kmspec"] = 1;
  json["keys"] = Json::array();
  for (const auto& key : spec.keys) json["keys"].push_back(json_of(key));
  return dump_json(json);
}

void sound(const keys::GenRequest& key) {
  const auto& types = types_of(key.role);
  fuzz::require(is_name(key.name) && std::find(types.begin(), types.end(), key.type) != types.end());
  fuzz::require(key.count >= 1 && key.count <= 100000 && !(key.exportable && key.backup));
  fuzz::require(key.backup.has_value() == !key.keks.empty() && (key.role != Role::kek || !key.backup));
  fuzz::require(!key.backup || key.backup->is_absolute());
  fuzz::require(!key.cryptoperiod || *key.cryptoperiod >= 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  fuzz::expect_refusal([&] {
    const auto spec = parsed(std::string(fuzz::text_of(data, size)));
    std::set<std::string> names;
    for (const auto& key : spec.keys) {
      sound(key);
      fuzz::require(names.insert(key.name).second || key.count > 1);
    }
    const auto written = text_of(spec);
    try {
      fuzz::require(text_of(parsed(written)) == written);
    } catch (const Error&) {
      fuzz::require(false);
    }
  });
  return 0;
}
