#include "kmtool/home/policy_changes.hpp"

#include <fmt/format.h>

#include <map>

#include "kmtool/home/home.hpp"

namespace kmtool::home {

namespace {

/// Values that are no objects, by path. A null says what leaving it out says.
void flatten(const Json& value, const std::string& path, std::map<std::string, Json>& to) {
  if (!value.is_object()) {
    if (!value.is_null()) to[path] = value;
    return;
  }
  for (const auto& [name, inner] : value.items()) flatten(inner, path.empty() ? name : fmt::format("{}.{}", path, name), to);
}

std::map<std::string, Json> with_defaults(const std::string& text) {
  std::map<std::string, Json> values;
  flatten(policy_fields(default_policy_text()), "", values);
  flatten(policy_fields(text), "", values);
  return values;
}

}  // namespace

Json policy_fields(const std::string& text) {
  if (text.empty()) return Json::object();
  return parse_json(text, [](const std::string& what) { throw Error::config("policy.json: " + what, "mend the file, then kmtool policy accept"); }, {.comments = true});
}

std::vector<PolicyChange> policy_changes(const std::string& before, const std::string& after) {
  const auto old_values = with_defaults(before), new_values = with_defaults(after);
  std::vector<PolicyChange> changes;
  for (const auto& [field, value] : old_values) {
    const auto found = new_values.find(field);
    if (found == new_values.end()) changes.push_back({field, value, nullptr});
    else if (found->second != value) changes.push_back({field, value, found->second});
  }
  for (const auto& [field, value] : new_values) {
    if (!old_values.contains(field)) changes.push_back({field, nullptr, value});
  }
  return changes;
}

}  // namespace kmtool::home
