#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <set>
#include <string>

#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/home/home.hpp"

namespace kmtool::home {
namespace {

/// What kmtool keeps in a home's folder, by name. (What it writes there for its user, such as bundles/, is the user's.)
std::set<std::string, std::less<>> own_names() {
  const Paths paths;
  std::set<std::string, std::less<>> names{"pin.refused", "checkpoint.sent", "ceremony.lock", "hooks.lock"};
  for (const auto& path : {paths.config(), paths.policy(), paths.signers(), paths.mutate_lock(), paths.token_lock(), paths.softhsm_conf(), paths.token_dir(),
                           paths.token_pin(), paths.token_copy(), paths.unfinished_init(), paths.restore_begun(), paths.restore_decided()}) {
    names.insert(path.string());
  }
  for (const std::string& database : {paths.journal().string(), std::string("usage.db")}) {
    for (const char* tail : {"", "-wal", "-shm", "-journal"}) names.insert(database + tail);
  }
  return names;
}

/// A folder with configuration and journal is a home.
bool belongs_to_home(const std::filesystem::path& target) {
  static const auto own = own_names();
  std::error_code ignored;
  auto folder = std::filesystem::weakly_canonical(target.parent_path(), ignored);
  if (ignored) return false;  // whoever writes there will find out
  for (std::string name = target.filename().string(); folder.has_relative_path(); name = folder.filename().string(), folder = folder.parent_path()) {
    const Paths paths{folder};
    if (own.contains(name) && std::filesystem::exists(paths.config(), ignored) && std::filesystem::exists(paths.journal(), ignored)) return true;
  }
  return false;
}

/// As far as its first bytes tell; a link is not looked behind, it is what would be replaced.
bool is_bundle(const std::filesystem::path& path) {
  constexpr std::string_view beginning = R"({"kmbundle":)";
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  std::array<char, beginning.size()> found{};
  return fd && read(fd.get(), found.data(), found.size()) == static_cast<ssize_t>(found.size()) && std::string_view(found.data(), found.size()) == beginning;
}

std::filesystem::path check_place(const std::filesystem::path& path, bool overwrite) {
  std::error_code failed;
  const auto place = std::filesystem::absolute(path, failed);
  if (!failed && belongs_to_home(place)) {  // before anything that advises --force
    throw Error::exists(printable(place.string()) + " belongs to a kmtool home: no output takes its place, with --force neither", "name a file outside the home");
  }
  return kmtool::check_output(path, overwrite);
}

}  // namespace

void check_folder(const std::filesystem::path& folder) {
  std::error_code failed;
  const auto place = std::filesystem::absolute(folder, failed).lexically_normal();
  if (failed) throw Error::from_errno("find", folder.string(), failed.value());
  const Paths as_home{place};
  const bool is_home = std::filesystem::exists(as_home.config(), failed) && std::filesystem::exists(as_home.journal(), failed);
  if (is_home || belongs_to_home(place / "file")) {
    throw Error::exists(printable(place.string()) + (is_home ? " is a kmtool home" : " belongs to a kmtool home") + ": nothing else is put there",
                        "name a folder outside the home");
  }
}

std::filesystem::path check_output(const std::filesystem::path& path, bool overwrite) {
  auto target = check_place(path, overwrite);
  if (overwrite && is_bundle(target)) {
    throw Error::exists(printable(target.string()) + " is a bundle: it may be the only copy of a key, and only another bundle takes its place",
                        "choose another name, or move the bundle away first");
  }
  return target;
}

std::filesystem::path check_bundle_output(const std::filesystem::path& path, bool overwrite) {
  auto target = check_place(path, overwrite);
  if (is_utf8(target.string())) return target;
  throw Error::usage(printable(target.string()) + " is not UTF-8: a bundle by that name cannot be put on record", "choose a name in UTF-8, in a folder that has one");
}

}  // namespace kmtool::home
