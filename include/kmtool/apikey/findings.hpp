#pragma once
#include <vector>

#include "kmtool/op/context.hpp"
#include "kmtool/policy/objects.hpp"

namespace kmtool::apikey {

/// What audit finds about API keys that work or will (judge_api_key, as at the door). A waiver on record for its rule is noted.
std::vector<policy::Finding> findings(op::Context& context);

}  // namespace kmtool::apikey
