#include "transfer/restored.hpp"

#include <algorithm>
#include <map>

#include "kmtool/domain/name.hpp"

namespace kmtool::transfer {

void require_free_names(op::Context& context, const std::vector<op::VersionRecord>& versions, bool activate) {
  std::multimap<std::string, op::VersionRecord> here;
  for (auto& version : context.versions()) {
    auto name = version.name;
    here.emplace(std::move(name), std::move(version));
  }
  for (const auto& version : versions) {
    const auto [begin, end] = here.equal_range(version.name);
    if (begin == end) continue;
    const bool joins = std::all_of(begin, end, [&](const auto& other) { return other.second.origin == "unwrapped" && other.second.role == version.role; });
    const bool known = std::any_of(begin, end, [&](const auto& other) { return other.second.version == version.version; });
    if (!joins || known) {
      throw Error::exists("there is already a key " + (joins ? version.label() : version.name), "restore it beside that one: --as NEWNAME");
    }
    const auto newer = std::find_if(begin, end, [&](const auto& other) { return other.second.version > version.version; });
    if (!activate || newer == end) continue;
    throw Error::refused("G-WORK", version.label() + " cannot be activated: " + newer->second.label() + ", which succeeded it, is here",
                         "restore it without --activate: it then decrypts and verifies only");
  }
}

void step_back(std::vector<op::VersionRecord>& versions) {
  std::map<std::string, int> newest;
  for (const auto& version : versions) newest[version.name] = std::max(newest[version.name], version.version);
  for (auto& version : versions) {
    const int number = newest.at(version.name);
    if (version.state != State::active || version.version == number) continue;
    version.state = State::deactivated;
    version.activated.reset();
    version.reason = "succeeded by " + label_of(version.name, number);
  }
}

std::vector<journal::Change> rows_of(const op::Context& context, const std::vector<op::VersionRecord>& versions) {
  std::map<std::string, op::KeyRecord> keys;
  std::vector<journal::Change> changes;
  for (const auto& version : versions) {
    auto& key = keys[version.name];
    if (key.name.empty()) key = context.find_key(version.name).value_or(op::KeyRecord{});
    if (key.name.empty()) key.created = context.now();
    key.name = version.name;
    key.role = version.role;
    if (version.version > key.latest) key.type = version.type;
    key.latest = std::max(key.latest, version.version);
    if (version.state != State::active) continue;
    if (auto before = key.active ? context.find_version(key.name, *key.active) : std::nullopt) {
      before->state = State::deactivated;
      before->changed = context.now();
      before->reason = "succeeded by " + version.label();
      before->deactivate_at.reset();
      changes.push_back(before->change());
    }
    key.active = version.version;
  }
  for (const auto& [name, key] : keys) changes.push_back(key.change());
  for (const auto& version : versions) changes.push_back(version.change());
  return changes;
}

}  // namespace kmtool::transfer
