#pragma once
#include "kmtool/policy/policy.hpp"

namespace kmtool::policy {

/// Policy's for the role, or the default where it names none.
Cryptoperiod period_of(const Policy& policy, Role role);
/// Policy's for the role, never under 112.
int minimum_of(const Policy& policy, Role role);

}  // namespace kmtool::policy
