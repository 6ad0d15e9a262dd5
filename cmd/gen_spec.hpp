#pragma once
#include "common.hpp"

namespace kmtool::cmd {

/// `gen --spec FILE`. 0: everything is as listed now; 1: something that exists differs.
int gen_from_spec(Globals& globals, const std::string& file);

}  // namespace kmtool::cmd
