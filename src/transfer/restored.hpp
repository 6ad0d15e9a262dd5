#pragma once
#include <vector>

#include "kmtool/op/context.hpp"

namespace kmtool::transfer {

/// A name that is taken is left alone (73), but for a key that came here from bundles alone: further versions of it join those. Refuses (77)
/// to activate a version that a newer one is known to have succeeded.
void require_free_names(op::Context& context, const std::vector<op::VersionRecord>& versions, bool activate);

/// Of several versions of a name the newest alone stays active.
void step_back(std::vector<op::VersionRecord>& versions);

/// The rows of restored versions and their keys; a version that was active steps back for one that now is.
std::vector<journal::Change> rows_of(const op::Context& context, const std::vector<op::VersionRecord>& versions);

}  // namespace kmtool::transfer
