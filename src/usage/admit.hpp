#pragma once
#include <string>
#include <vector>

#include "kmtool/op/context.hpp"
#include "kmtool/policy/use.hpp"

namespace kmtool::usage {

/// The key version that a command may use, as policy sees it now; what the rulebook only reports is added to `warnings`. Throws missing
/// (66) for a name that is not there, refused (77) by rule.
op::VersionRecord admit(op::Context& context, const std::string& reference, policy::Use use, std::vector<std::string>& warnings);
/// The rulebook's word on one that is known already.
void judge(const op::Context& context, const op::VersionRecord& version, policy::Use use, std::vector<std::string>& warnings);
/// Its object on the token that does the work, held against the catalog.
pkcs11::Object object_for(op::Context& context, const op::VersionRecord& version);
/// Throws unavailable (69) where the token does not do AES-GCM.
void require_gcm(op::Context& context);

}  // namespace kmtool::usage
