#pragma once
#include <functional>
#include <string>
#include <vector>

#include "kmtool/apikey/usage_spool.hpp"
#include "kmtool/journal/usage_store.hpp"

namespace kmtool::apikey {

/// Counts as rows for the usage database, in the hour of `time`; ids that are not known are counted as unknown keys.
std::vector<journal::UsageStore::Delta> deltas_of(const UsageCounts& counts, UnixTime time, const std::function<bool(const std::string&)>& known);

}  // namespace kmtool::apikey
