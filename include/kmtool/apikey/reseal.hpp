#pragma once
#include "kmtool/apikey/store.hpp"

namespace kmtool::apikey {

/// After `kmtool rotate apikey-store`: what an older version sealed is opened in the token and sealed by the active one, in one step of
/// the record. Before that is done, the older version must not be destroyed. Returns the rows that were sealed anew.
std::vector<StoredRecord> reseal(op::Context& context);

}  // namespace kmtool::apikey
