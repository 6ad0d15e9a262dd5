#pragma once
#include <vector>

#include "kmtool/keys/succeed.hpp"
#include "kmtool/rotate/rotate.hpp"

namespace kmtool::rotate {

/// Rotates a KEK, or goes on with a rotation of it that is still open: new version, then its bundles. The catalog row of kind
/// `rotation` stands from the new version on until every bundle that was meant is re-wrapped or cannot be.
void rotate_kek(op::Context& context, const Request& request, const std::string& name, Report& report);

/// Makes the successor, with the hook that it owes, and says so in the report.
keys::Successor succeed(op::Context& context, const Request& request, keys::SuccessorRequest wanted, Report& report);

}  // namespace kmtool::rotate
