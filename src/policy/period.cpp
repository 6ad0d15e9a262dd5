#include <fmt/format.h>

#include "kmtool/core/error.hpp"
#include "kmtool/policy/policy.hpp"
#include "policy/tools.hpp"

namespace kmtool::policy {
namespace {

constexpr std::int64_t year = std::int64_t{365} * 24 * 60 * 60;

/// SP 800-57 part 1 r5, 5.3.6, table 1: what no originator period should exceed.
std::int64_t limit_of(Role role) { return role == Role::sign ? 3 * year : 2 * year; }

}  // namespace

Policy default_policy() {
  Policy policy;
  policy.cryptoperiods = {{Role::kek, {year, 3 * year}},
                          {Role::data, {year, 3 * year}},
                          {Role::mac, {year, 3 * year}},
                          {Role::sign, {2 * year, 0}},
                          {Role::transport, {2 * year, 0}}};
  for (const Role role : all_roles()) policy.minimum_strength[role] = 128;
  return policy;
}

Cryptoperiod period_of(const Policy& policy, Role role) {
  const auto found = policy.cryptoperiods.find(role);
  return found != policy.cryptoperiods.end() ? found->second : default_policy().cryptoperiods.at(role);
}

UnixTime originator_end(const Policy& policy, Role role, UnixTime activated, std::optional<std::int64_t> requested) {
  const std::int64_t period = requested.value_or(period_of(policy, role).originator);
  UnixTime end = 0;
  if (period <= 0 || __builtin_add_overflow(activated, period, &end)) {
    throw Error::usage("a cryptoperiod is a positive duration", "give one such as 90d or 1y");
  }
  return end;
}

std::vector<Violation> judge_period(const Policy& policy, Role role, std::int64_t requested) {
  if (requested <= 0) {
    return {{.rule = "G-GEN",
             .severity = Severity::high,
             .what = "a cryptoperiod is a positive duration",
             .hint = "give one such as 90d or 1y"}};
  }
  const std::int64_t allowed = period_of(policy, role).originator, limit = limit_of(role);
  if (requested <= allowed) return {};
  std::string what = fmt::format("a cryptoperiod of {} is longer than policy's {} for role {}", duration_text(requested),
                                 duration_text(allowed), to_text(role));
  if (requested > limit) what += fmt::format(", and than the {} of SP 800-57 part 1", duration_text(limit));
  return {{.rule = "G-GEN",
           .severity = requested > limit ? Severity::high : Severity::medium,
           .what = what,
           .hint = fmt::format("ask for at most {}, or --waive G-GEN=REASON", duration_text(allowed)),
           .waivable = true}};
}

}  // namespace kmtool::policy
