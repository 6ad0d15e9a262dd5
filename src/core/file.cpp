#include "kmtool/core/file.hpp"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "kmtool/core/text.hpp"
#include "machine_link.hpp"
#include "read_all.hpp"

namespace kmtool {

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    Fd old(std::exchange(fd_, other.release()));
  }
  return *this;
}

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

int Fd::release() noexcept { return std::exchange(fd_, -1); }

std::size_t read_some(int fd, std::uint8_t* to, std::size_t size, const std::string& name) {
  for (;;) {
    const ssize_t got = read(fd, to, size);
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) throw Error::from_errno("read", name, errno);
  }
}

std::string read_open_file(int fd, const fs::path& path, std::size_t limit) {
  struct stat status {};
  if (fstat(fd, &status) != 0) throw Error::from_errno("stat", path.string(), errno);
  const auto expected = S_ISREG(status.st_mode) ? static_cast<std::size_t>(status.st_size) : std::size_t{0};
  const auto too_large = [&] {
    return Error(ExitCode::damaged, "too-large",
                 printable(path.string()) + " is larger than " + std::to_string(limit) + " bytes");
  };
  if (expected > limit) throw too_large();
  // One byte more than expected, so that the end is seen without growing.
  std::string text(expected + 1, '\0');
  std::size_t used = 0;
  for (;;) {
    const std::size_t got = read_some(fd, reinterpret_cast<std::uint8_t*>(text.data()) + used, text.size() - used, path.string());
    if (got == 0) break;
    used += got;
    if (used > limit) throw too_large();
    if (used == text.size()) text.resize(std::max<std::size_t>(text.size() * 2, 4096));
  }
  text.resize(used);
  return text;
}

std::string read_file(const fs::path& path, std::size_t limit) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) throw Error::from_errno("open", path.string(), errno);
  return read_open_file(fd.get(), path, limit);
}

void write_all(int fd, ByteView data, const fs::path& name_for_errors) {
  while (!data.empty()) {
    const ssize_t put = write(fd, data.data(), data.size());
    if (put < 0) {
      if (errno == EINTR) continue;
      throw Error::from_errno("write", name_for_errors.string(), errno);
    }
    // POSIX leaves 0 for a non-empty write open; without this it would be an endless loop.
    if (put == 0) throw Error::from_errno("write", name_for_errors.string(), ENOSPC);
    data = data.subspan(static_cast<std::size_t>(put));
  }
}

void copy_all(int from, int to, const fs::path& name_for_errors) {
  Bytes chunk(std::size_t{64} << 10);
  for (off_t at = 0;;) {
    const auto got = pread(from, chunk.data(), chunk.size(), at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error::from_errno("read", name_for_errors.string(), errno);
    if (got == 0) return;
    write_all(to, ByteView(chunk.data(), static_cast<std::size_t>(got)), name_for_errors);
    at += got;
  }
}

void make_private_dir(const fs::path& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) == 0) {
    if (!S_ISDIR(status.st_mode)) throw Error::exists(printable(path.string()) + " exists and is not a folder");
    return;
  }
  if (errno != ENOENT) {
    throw Error::exists(Error::from_errno("create", path.string(), errno).message());
  }
  const fs::path parent = path.has_filename() ? path.parent_path() : path.parent_path().parent_path();
  if (!parent.empty() && parent != path) make_private_dir(parent);
  if (mkdir(path.c_str(), 0700) != 0) {
    // Another process may have been faster.
    if (errno == EEXIST && stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return;
    const auto reason = Error::from_errno("create", path.string(), errno);
    throw errno == ENOSPC || errno == EIO || errno == EDQUOT ? reason : Error::exists(reason.message());
  }
  fsync_path(parent.empty() ? fs::path(".") : parent);
}

void fsync_path(const fs::path& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) throw Error::from_errno("sync", path.string(), errno);
  if (fsync(fd.get()) != 0) throw Error::from_errno("sync", path.string(), errno);
}

namespace {

void require_writable_folder(const fs::path& folder, const fs::path& path) {
  const std::string refusal = printable(path.string()) + " cannot be created: ";
  struct stat status {};
  if (stat(folder.c_str(), &status) != 0) {
    throw Error::exists(refusal + "the folder " + printable(folder.string()) + " does not exist", "create the folder first");
  }
  if (!S_ISDIR(status.st_mode)) throw Error::exists(refusal + printable(folder.string()) + " is not a folder");
  // Root passes access() even on a file system mounted read-only.
  struct statvfs system {};
  // Read too: what lands there is then told to the disk, which wants the folder open.
  if (access(folder.c_str(), R_OK | W_OK | X_OK) != 0 || (statvfs(folder.c_str(), &system) == 0 && (system.f_flag & ST_RDONLY) != 0)) {
    throw Error::exists(refusal + "the folder " + printable(folder.string()) + " may not be read and written");
  }
}

}  // namespace

fs::path check_output(const fs::path& path, bool overwrite) {
  if (path == "-") throw Error::usage("standard output cannot take this: it appears under its name when it is whole", "name a file; one that is called - is ./-");
  if (path.empty() || !path.has_filename() || path.filename() == "." || path.filename() == "..") {
    throw Error::exists("\"" + printable(path.string()) + "\" is not the name of a file", "give the output a file name");
  }
  std::error_code failed;
  const fs::path target = fs::absolute(path, failed);
  if (failed) throw Error::from_errno("find the folder of", path.string(), failed.value());
  require_writable_folder(target.parent_path(), target);
  struct stat status {};
  if (lstat(target.c_str(), &status) != 0) {
    if (errno == ENOENT) return target;
    throw Error::exists(Error::from_errno("create", target.string(), errno).message());
  }
  // A symbolic link is replaced, not followed: the rename never writes through it.
  if (!S_ISREG(status.st_mode) && !S_ISLNK(status.st_mode)) {
    throw Error::exists(printable(target.string()) + " exists and is not a file", "choose another name");
  }
  if (S_ISLNK(status.st_mode) && stat(target.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {  // /dev/stdout would be the machine's no more
    throw Error::exists(printable(target.string()) + " is a link to something that is not a file",
                        "name a file; for standard output say - where the command takes it");
  }
  refuse_machine_link(target);
  if (!overwrite)
    throw Error::exists(printable(target.string()) + " exists", "choose another name, or say --force to replace it");
  return target;
}

void write_private_file(const fs::path& path, ByteView data, bool overwrite) {
  AtomicFile file(path, overwrite);
  file.write(data);
  file.commit();
}

}  // namespace kmtool
