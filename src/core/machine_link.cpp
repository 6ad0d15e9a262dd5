#include "machine_link.hpp"

#include <algorithm>

#include "kmtool/core/text.hpp"

namespace kmtool {
namespace {

bool is_below(const fs::path& path, const fs::path& folder) { return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end(); }

/// /dev/shm is a file system like others.
bool is_machines(const fs::path& path) {
  if (is_below(path, "/dev")) return !is_below(path, "/dev/shm");
  return is_below(path, "/proc") && std::find(path.begin(), path.end(), "fd") != path.end();
}

}  // namespace

void refuse_machine_link(const fs::path& target) {
  constexpr int most_links = 40;  // as the system follows
  std::error_code failed;
  fs::path at = fs::absolute(target, failed);
  for (int i = 0; i < most_links && !failed && fs::is_symlink(fs::symlink_status(at, failed)); ++i) {
    at = fs::canonical(at.parent_path(), failed) / at.filename();
    if (failed) return;  // whoever writes there will find out
    if (is_machines(at)) {
      throw Error::exists(printable(target.string()) + " leads to " + printable(at.string()) + ", which is the machine's: nothing takes its place",
                          "name a file; a command that can write to standard output does so where --out is left away");
    }
    at = at.parent_path() / fs::read_symlink(at, failed);
  }
}

}  // namespace kmtool
