#pragma once
#include "common.hpp"

namespace kmtool::cmd {

// The commands under `kmtool audit`, one file each (audit_NAME.cpp); audit.cpp lists them in the order of the help.
using AddAudit = void(CLI::App& audit, Globals& globals, Action& action);
AddAudit add_audit_keys;
AddAudit add_audit_guidance;

}  // namespace kmtool::cmd
