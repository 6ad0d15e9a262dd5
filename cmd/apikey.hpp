#pragma once
#include "cli.hpp"

namespace kmtool::cmd {

// The commands of the family, one file each.
void add_apikey_serve(CLI::App& apikey, Globals& globals, Action& action);

}  // namespace kmtool::cmd
