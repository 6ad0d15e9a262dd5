#pragma once
#include "kmtool/policy/policy.hpp"

namespace kmtool::policy {

/// Policy's for the role, or the default where it names none.
Cryptoperiod period_of(const Policy& policy, Role role);
/// Policy's for the role, never under 112.
int minimum_of(const Policy& policy, Role role);

/// The floor below every policy (SP 800-131A): nothing under 112 bits, 112 until the end of 2030. `what` names the key.
std::vector<Violation> judge_strength_floor(const char* rule, const std::string& what, int strength, UnixTime now);
/// A KEK protects what is no stronger than itself.
bool carries(int kek_strength, int key_strength);

/// Where a key stands in its life: `code` is a check's id.
struct Standing {
  const char* code;
  Severity severity;
  std::string what;
};
std::vector<Standing> judge_standing(const Policy& policy, const KeyFacts& key, UnixTime now);

/// What gets a version that does nothing (pre-activation, suspended) to process again. A suspended one that another version has succeeded
/// cannot be resumed beside it.
inline std::string how_to_process(const std::string& label, State state) {
  if (state != State::suspended) return "kmtool state " + label + " activate --reason TEXT";
  return "kmtool state " + label + " resume --reason TEXT, or deactivate where another version is active: it then processes what it protected";
}

}  // namespace kmtool::policy
