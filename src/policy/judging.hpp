#pragma once
#include <string>
#include <vector>

#include "kmtool/policy/policy.hpp"

/// What the judges of keys share.
namespace kmtool::policy {

/// `payments@1 (aes-256, 256 bits)`
std::string described(const KeyFacts& key);
/// Without its version.
std::string name_of(const KeyFacts& key);
/// A violation that cannot be waived.
Violation never(const char* rule, std::string what, std::string hint, Severity severity = Severity::high);
/// One that is only reported.
Violation reported(const char* rule, std::string what, std::string hint);
/// The floor below every policy. `what` names the key: `kek root@1 (…)`.
void judge_floor(const char* rule, const std::string& what, int strength, UnixTime now, std::vector<Violation>& found);
/// A KEK that is not active, or whose originator period is over, wraps nothing new (5.3.6, item 7).
void judge_kek_state(const KeyFacts& kek, UnixTime now, std::vector<Violation>& found);

}  // namespace kmtool::policy
