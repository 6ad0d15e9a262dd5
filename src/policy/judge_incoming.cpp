#include <fmt/format.h>

#include "kmtool/core/text.hpp"
#include "kmtool/policy/incoming.hpp"
#include "policy/judging.hpp"
#include "policy/tools.hpp"

namespace kmtool::policy {

std::vector<Violation> judge_activation(const Policy& policy, const KeyFacts& key, UnixTime now) {
  constexpr std::int64_t clocks_differ = 86400;
  const std::string hint = "leave --activate out: it then only processes what was protected; or --waive G-GEN=REASON";
  std::vector<Violation> found;
  for (auto& violation : judge_key(policy, key.role, key.type, false, false)) {
    violation.what = printable(key.label) + " cannot be activated: " + violation.what;
    if (violation.waivable) violation.hint = hint;
    found.push_back(std::move(violation));
  }
  const std::int64_t allowed = period_of(policy, key.role).originator;
  if (key.originator_end && *key.originator_end - now > allowed + clocks_differ) {
    found.push_back({.rule = "G-GEN",
                     .severity = Severity::medium,
                     .what = fmt::format("{} cannot be activated: its originator period ends on {}, and policy gives role {} no longer than {} from now",
                                         printable(key.label), rfc3339(*key.originator_end), to_text(key.role), duration_text(allowed)),
                     .hint = hint,
                     .waivable = true});
  }
  return found;
}

std::vector<Violation> judge_waived(const Policy& policy, const std::string& bundle, const std::vector<Waiver>& waived, const std::string& hint) {
  std::vector<Violation> found;
  std::set<std::string> named;
  for (const auto& waiver : waived) {
    if (!policy.forbidden_waivers.contains(waiver.rule) || !named.insert(waiver.rule).second) continue;
    found.push_back(never(waiver.rule.c_str(),
                          fmt::format("{} was made under a waiver of {} ({}), which policy forbids here", printable(bundle), printable(waiver.rule), printable(waiver.reason)),
                          hint));
  }
  return found;
}

}  // namespace kmtool::policy
