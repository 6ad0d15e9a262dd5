#pragma once
#include <cstdint>
#include <string>

#include "kmtool/core/file.hpp"

namespace kmtool {

/// One read(2) that does not give up when a signal arrives; 0 at the end. For the files of this room.
std::size_t read_some(int fd, std::uint8_t* to, std::size_t size, const std::string& name);
/// The rest of an open file.
std::string read_open_file(int fd, const fs::path& path, std::size_t limit);
/// A file without a name in TMPDIR, readable by nobody else, gone with its descriptor.
Fd unlinked_file();

}  // namespace kmtool
