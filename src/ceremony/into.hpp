#pragma once
#include "kmtool/ceremony/runbook.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/home/home.hpp"

namespace kmtool::ceremony {

/// `> FILE`: standard output into a new file. A failure counts as the command's.
inline void keep_output(const Command& command, const std::filesystem::path& folder, Ran& ran) {
  try {
    write_private_file(home::check_output(folder / *command.into, false), view(ran.out), false);
  } catch (const Error& error) {
    ran.exit = static_cast<int>(error.exit());
    ran.err += "error: " + error.message() + "\n";
  }
}

}  // namespace kmtool::ceremony
