#pragma once
#include <vector>

#include "kmtool/rotate/rotate.hpp"

namespace kmtool::rotate {

/// Rotates a KEK, or goes on with a rotation of it that is still open: new version, then its bundles. The catalog row of kind
/// `rotation` stands from the new version on until every bundle that was meant is re-wrapped or cannot be.
void rotate_kek(op::Context& context, const Request& request, const std::string& name, Report& report);

std::vector<journal::Change> hook_rows(op::Context& context, const Request& request, const op::VersionRecord& from, const op::VersionRecord& to);
void owe_hook(op::Context& context, const Request& request, const op::VersionRecord& from, const op::VersionRecord& to, Report& report);

}  // namespace kmtool::rotate
