#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "read_all.hpp"

namespace kmtool {
namespace {

constexpr mode_t others_write = S_IWGRP | S_IWOTH;
constexpr mode_t others_read_or_write = others_write | S_IRGRP | S_IROTH;

/// A path as a word for a shell: hints are there to be copied.
std::string shell_word(const fs::path& path) {
  std::string word = "'";
  for (const char c : path.string()) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return printable(word + "'");
}

bool is_ours(const struct stat& status) { return status.st_uid == 0 || status.st_uid == geteuid(); }

void require_owner(const fs::path& path, const struct stat& status) {
  if (is_ours(status)) return;
  throw Error::config(fmt::format("{} belongs to another user (uid {})", printable(path.string()), status.st_uid),
                      fmt::format("chown {} {}", geteuid(), shell_word(path)));
}

void require_mode(const fs::path& path, const struct stat& status, bool private_file) {
  const mode_t open_bits = status.st_mode & (private_file ? others_read_or_write : others_write);
  if (open_bits == 0) return;
  const bool writable = (open_bits & others_write) != 0;
  throw Error::config(fmt::format("{} can be {} by other users (mode {:04o})", printable(path.string()),
                                  writable ? "written" : "read", static_cast<unsigned>(status.st_mode & 07777U)),
                      fmt::format("chmod {} {}", private_file ? "go-rw" : "go-w", shell_word(path)));
}

fs::path folder_of(const fs::path& path) {
  const fs::path parent = path.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

/// Who can write the folder can put another file under the name; in a sticky folder only with a name that is free.
void require_safe_folder(const fs::path& folder, const struct stat& status) {
  require_owner(folder, status);
  if ((status.st_mode & S_ISVTX) == 0) require_mode(folder, status, false);
}

void require_safe_folder(const fs::path& folder) {
  struct stat status {};
  if (stat(folder.c_str(), &status) != 0) throw Error::from_errno("stat", folder.string(), errno);
  require_safe_folder(folder, status);
}

Error is_a_link(const fs::path& path) {
  return Error::config(printable(path.string()) + " is a symbolic link", "give the path of the file itself");
}

bool may_follow(const Trust& trust) { return trust.follow_symlink && !trust.private_file; }

/// Where a followed link ends, the folder there is as much part of the trust as the one the link lies in.
void check_link_target(const fs::path& path) {
  std::error_code failure;
  const fs::path target = fs::canonical(path, failure);
  if (failure) throw Error::from_errno("open", path.string(), failure.value());
  require_safe_folder(folder_of(target));
}

}  // namespace

void check_trusted(const fs::path& path, Trust trust) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) throw Error::from_errno("open", path.string(), errno);
  const bool link = S_ISLNK(status.st_mode);
  if (link) {
    if (!may_follow(trust)) throw is_a_link(path);
    if (stat(path.c_str(), &status) != 0) throw Error::from_errno("open", path.string(), errno);
  }
  require_owner(path, status);
  require_mode(path, status, trust.private_file);
  if (link) check_link_target(path);
  if (!S_ISDIR(status.st_mode) || link) require_safe_folder(folder_of(path));
}

std::string read_trusted(const fs::path& path, Trust trust, std::size_t limit) {
  const fs::path folder = folder_of(path);
  const Fd folder_fd(open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder_fd) throw Error::from_errno("open", path.string(), errno);
  const bool follow = may_follow(trust);
  // O_NONBLOCK: a named pipe put in the file's place must not hang us; it has no effect on regular files.
  const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (follow ? 0 : O_NOFOLLOW);
  const Fd fd(openat(folder_fd.get(), path.filename().c_str(), flags));
  if (!fd) {
    if (errno == ELOOP && !follow) throw is_a_link(path);
    throw Error::from_errno("open", path.string(), errno);
  }
  struct stat status {};
  struct stat folder_status {};
  if (fstat(fd.get(), &status) != 0) throw Error::from_errno("stat", path.string(), errno);
  if (fstat(folder_fd.get(), &folder_status) != 0) throw Error::from_errno("stat", folder.string(), errno);
  if (!S_ISREG(status.st_mode)) throw Error::config(printable(path.string()) + " is not a regular file");
  require_owner(path, status);
  require_mode(path, status, trust.private_file);
  require_safe_folder(folder, folder_status);
  if (follow && fs::is_symlink(path)) check_link_target(path);
  return read_open_file(fd.get(), path, limit);
}

}  // namespace kmtool
