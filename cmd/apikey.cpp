#include "apikey.hpp"

#include <array>

namespace kmtool::cmd {

void add_apikey(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("apikey", "API keys: issued, restricted, checked, monitored");
  sub->require_subcommand(1);
  const std::array adders{add_apikey_serve};
  for (const auto add : adders) add(*sub, globals, action);
}

}  // namespace kmtool::cmd
