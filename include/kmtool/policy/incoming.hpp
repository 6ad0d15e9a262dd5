#pragma once
#include "kmtool/policy/policy.hpp"

namespace kmtool::policy {

/// May a key that comes from a bundle protect here (--activate)? As of one that is made here: the strength that policy asks of its role, and an
/// originator period that ends no later than that of a key made now would; two clocks may differ by a day. G-GEN, waivable.
std::vector<Violation> judge_activation(const Policy& policy, const KeyFacts& key, UnixTime now);

/// What was waived where a bundle was made, and policy here forbids to waive: G-KEK and so on, each rule once; not waivable. `bundle` names it.
std::vector<Violation> judge_waived(const Policy& policy, const std::string& bundle, const std::vector<Waiver>& waived, const std::string& hint);

}  // namespace kmtool::policy
