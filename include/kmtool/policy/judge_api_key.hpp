#pragma once
#include "kmtool/policy/policy.hpp"

namespace kmtool::policy {

/// What the rules ask of an API key.
struct ApiKeyFacts {
  std::string id, app, environment;
  bool network = false;                ///< it is for named addresses only
  bool unrestricted = false;           ///< somebody said that it needs no such restriction
  UnixTime created = 0;
  std::optional<UnixTime> expires = {};
};

/// A-RESTRICT: no restriction of the client's address (what a client merely asserts of itself, a referrer or an app, is none). Refuses unless
/// somebody said --unrestricted and policy allows it; said so or not, audit finds it. A-RESTRICT too: it lives longer than policy's
/// longest_life.
std::vector<Violation> judge_api_key(const Policy& policy, const ApiKeyFacts& key);

}  // namespace kmtool::policy
