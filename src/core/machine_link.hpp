#pragma once
#include "kmtool/core/file.hpp"

namespace kmtool {

/// Throws exists (73) where a symbolic link at `target`, or one that it leads to, is the machine's: /dev/stdout, /dev/fd/3, /proc/self/fd/3.
/// Whatever lies behind it, a regular file too, it is the link that a rename would replace, for everybody.
void refuse_machine_link(const fs::path& target);

}  // namespace kmtool
