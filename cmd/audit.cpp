#include "audit.hpp"

#include <array>

namespace kmtool::cmd {

void add_audit(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("audit", "what is wrong with the keys, and proof of everything that was done");
  sub->require_subcommand(1);
  const std::array adders{add_audit_keys, add_audit_guidance};
  for (const auto add : adders) add(*sub, globals, action);
}

}  // namespace kmtool::cmd
