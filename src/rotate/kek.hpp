#pragma once
#include <vector>

#include "kmtool/keys/succeed.hpp"
#include "kmtool/rotate/rotate.hpp"

namespace kmtool::rotate {

/// Rotates a KEK, or goes on with a rotation of it that is still open: new version, then its bundles. The catalog row of kind
/// `rotation` stands from the new version on until no bundle needs an old one.
void rotate_kek(op::Context& context, const Request& request, const std::string& name, Report& report);

/// True where rotating this KEK goes on and makes no new version: its newest version may still wrap, and either the rotation was interrupted
/// or failed in part, or bundles are asked for that it left.
bool goes_on(op::Context& context, const Request& request, const std::string& name);

/// Makes the successor, with the hook that it owes, and says so in the report.
keys::Successor succeed(op::Context& context, const Request& request, keys::SuccessorRequest wanted, Report& report);

}  // namespace kmtool::rotate
