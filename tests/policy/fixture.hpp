#pragma once
#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "kmtool/core/error.hpp"
#include "kmtool/policy/policy.hpp"

namespace kmtool::policy::test {

inline constexpr std::int64_t year = std::int64_t{365} * 86400;
inline constexpr UnixTime now = 1795464000;  // 2026-11-23T20:00:00Z

inline KeyFacts kek_facts(KeyType type = KeyType::aes256) {
  return {.label = "root@1", .role = Role::kek, .type = type, .strength = strength_of(type), .originator_end = now + year};
}
inline KeyFacts key_facts(Role role = Role::data, KeyType type = KeyType::aes256) {
  return {.label = "payments@1", .role = role, .type = type, .strength = strength_of(type), .exportable = true};
}

inline const Violation* find(const std::vector<Violation>& violations, const std::string& rule) {
  const auto found = std::find_if(violations.begin(), violations.end(), [&](const Violation& v) { return v.rule == rule; });
  return found == violations.end() ? nullptr : &*found;
}

inline bool refuses(const std::vector<Violation>& violations) {
  return std::any_of(violations.begin(), violations.end(), [](const Violation& v) { return v.refuses; });
}

struct Outcome {
  ExitCode exit = ExitCode::done;
  std::string code, message, hint;
};

inline Outcome outcome_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    return {error.exit(), error.code(), error.message(), error.hint()};
  }
  return {};
}

}  // namespace kmtool::policy::test
