#pragma once
#include "kmtool/op/context.hpp"

namespace kmtool::apikey {

/// Totals of usage for the journal: at most once a day, unless `now_anyway`. Empty where nothing has been counted since the last ones.
/// The row `apikey-usage`/`totals` has the sums by application and the digest of the counts by key, as usage.db had them.
struct Totals {
  std::vector<journal::Change> changes;
  Json details = Json::object();
};
Totals record_totals(op::Context& context, bool now_anyway);

}  // namespace kmtool::apikey
