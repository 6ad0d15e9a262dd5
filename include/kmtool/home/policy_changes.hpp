#pragma once
#include <string>
#include <vector>

#include "kmtool/core/json.hpp"

namespace kmtool::home {

/// A field of policy.json by its path (`api_keys.overlap`), its value before and after; null where the field has none.
struct PolicyChange {
  std::string field;
  Json before, after;
};
/// What differs between two texts of policy.json, defaults filled in: writing a default down is no change, comments are none.
/// Both texts have been understood by parse_policy().
std::vector<PolicyChange> policy_changes(const std::string& before, const std::string& after);

/// The fields that stand in a text of policy.json, without its comments. Throws config (78).
Json policy_fields(const std::string& text);

}  // namespace kmtool::home
