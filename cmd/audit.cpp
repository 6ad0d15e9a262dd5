#include "audit.hpp"

#include <array>

namespace kmtool::cmd {

void add_audit(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("audit", "what is wrong with the keys, and proof of everything that was done");
  sub->require_subcommand(1);
  const std::array adders{add_audit_keys,  add_audit_log,         add_audit_verify,       add_audit_checkpoint, add_audit_export,   add_audit_prove,
                          add_audit_consistency, add_audit_verify_proof, add_audit_cosign,     add_audit_inventory, add_audit_guidance};
  for (const auto add : adders) add(*sub, globals, action);
}

}  // namespace kmtool::cmd
