#include "kmtool/audit/inventory.hpp"

#include <algorithm>
#include <map>

#include "kmtool/core/encoding.hpp"

namespace kmtool::audit {

namespace {

/// The token as the first entry found it: the configuration has only what the selector needs.
void add_token(op::Context& reader, Inventory& inventory) {
  const auto& config = reader.home.config;
  inventory.token_label = config.token.label;
  inventory.token_serial = config.token.serial;
  inventory.token_model = config.token.model;
  inventory.token_manufacturer = config.token.manufacturer;
  inventory.hardware = config.hardware.value_or(false);
  if (config.validation) inventory.validation = config.validation->text();
  const auto first = reader.journal().entry(0).json();
  const auto token = first.value("details", Json::object()).value("token", Json::object());
  if (inventory.token_model.empty() && token.is_object()) inventory.token_model = token.value("model", "");
}

Json time_json(const std::optional<UnixTime>& time) { return time ? Json(rfc3339(*time)) : Json(nullptr); }

}  // namespace

Inventory take_inventory(op::Context& reader) {
  op::prove_reader(reader);
  Inventory inventory;
  inventory.home_id = reader.home.config.home_id;
  add_token(reader, inventory);
  inventory.bundles = reader.bundles();
  std::map<std::string, std::vector<Copy>> copies;
  for (const auto& bundle : inventory.bundles) {
    auto recipients = bundle.keks;
    for (const auto& fingerprint : bundle.public_keys) recipients.push_back("public key " + fingerprint);
    for (const auto& label : reader.bundle_keys(bundle.id)) copies[label].push_back({bundle.id, bundle.path, bundle.host, recipients, bundle.created});
  }
  std::map<std::string, op::KeyRecord> keys;
  for (auto& key : reader.keys()) keys.emplace(key.name, std::move(key));
  for (auto& version : reader.versions()) {
    Placed placed;
    const auto key = keys.find(version.name);
    if (key != keys.end()) {
      placed.owner = key->second.owner;
      placed.application = key->second.application;
    }
    placed.on_token = version.state != State::destroyed;
    if (const auto found = copies.find(version.label()); found != copies.end()) placed.copies = found->second;
    placed.version = std::move(version);
    inventory.keys.push_back(std::move(placed));
  }
  std::sort(inventory.keys.begin(), inventory.keys.end(), [](const auto& a, const auto& b) {
    return std::tie(a.version.name, a.version.version) < std::tie(b.version.name, b.version.version);
  });
  return inventory;
}

Json inventory_json(const Inventory& inventory) {
  Json json;
  json["home"] = inventory.home_id;
  json["token"] = {{"label", inventory.token_label}, {"serial", inventory.token_serial}, {"model", inventory.token_model},
                   {"hardware", inventory.hardware}, {"validation", inventory.validation.empty() ? Json(nullptr) : Json(inventory.validation)}};
  json["keys"] = Json::array();
  for (const auto& placed : inventory.keys) {
    const auto& version = placed.version;
    Json key{{"name", version.name}, {"version", version.version}, {"label", version.label()}, {"id", hex(version.id)}, {"role", to_text(version.role)},
             {"type", to_text(version.type)}, {"strength", strength_of(version.type)}, {"state", to_text(version.state)}};
    key["origin"] = version.origin;
    key["created"] = rfc3339(version.created);
    key["activated"] = time_json(version.activated);
    key["expires"] = time_json(version.expires);
    key["owner"] = placed.owner;
    key["application"] = placed.application;
    key["extractable"] = version.extractable;
    key["on_token"] = placed.on_token;
    key["token_serial"] = version.token_serial;
    key["bundles"] = Json::array();
    for (const auto& copy : placed.copies) {
      key["bundles"].push_back({{"id", copy.bundle}, {"path", copy.path}, {"host", copy.host}, {"recipients", copy.recipients}, {"written", rfc3339(copy.written)}});
    }
    json["keys"].push_back(std::move(key));
  }
  return json;
}

}  // namespace kmtool::audit
