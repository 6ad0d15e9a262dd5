#pragma once
#include "common.hpp"
#include "kmtool/tlog/cosignature.hpp"

namespace kmtool::cmd {

// The commands under `kmtool audit`, one file each (audit_NAME.cpp); audit.cpp lists them in the order of the help.
using AddAudit = void(CLI::App& audit, Globals& globals, Action& action);
AddAudit add_audit_keys;
AddAudit add_audit_guidance;
AddAudit add_audit_log;
AddAudit add_audit_verify;
AddAudit add_audit_checkpoint;
AddAudit add_audit_export;
AddAudit add_audit_prove;
AddAudit add_audit_consistency;
AddAudit add_audit_verify_proof;
AddAudit add_audit_cosign;
AddAudit add_audit_inventory;

/// Verifier keys of witnesses, each a text or a file with one. Throws usage (64).
std::vector<tlog::VerifierKey> witness_keys(const std::vector<std::string>& texts);
/// What a command made: into the file `out`, or (empty or `-`) to standard output.
void put_product(Globals& globals, const std::string& out, const std::string& text);
bool names_file(const std::string& out);
/// `WHAT: FILE` where it went into a file; with --dry-run that nothing was written.
void say_product(Globals& globals, const std::string& out, const std::string& what);
/// Digits and nothing else: CLI11 takes -1 for a very large number.
const CLI::Validator& whole_number();

}  // namespace kmtool::cmd
