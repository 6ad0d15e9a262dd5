#include "kmtool/core/lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "kmtool/core/text.hpp"

namespace kmtool {
namespace {

/// A lock on a file that has been removed or replaced since it was opened excludes nobody.
bool still_there(int fd, const std::filesystem::path& path) {
  struct stat opened {};
  struct stat named {};
  return fstat(fd, &opened) == 0 && lstat(path.c_str(), &named) == 0 && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino;
}

bool try_lock(int fd, const std::filesystem::path& path) {
  for (;;) {
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
    if (errno == EWOULDBLOCK) return false;
    if (errno != EINTR) throw Error::from_errno("lock", path.string(), errno);
  }
}

bool read_only(int error_number) { return error_number == EROFS || error_number == EACCES || error_number == EPERM; }

/// An empty one where a reader finds nothing to lock.
Fd open_lock(const std::filesystem::path& path, bool reading) {
  Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (fd) return fd;
  const int failure = errno;
  if (!reading && read_only(failure)) {
    throw Error::io("cannot open " + printable(path.string()) + " for writing: nothing can be recorded here, so nothing is done",
                    "where nobody may write, commands that only look still work; the others need write access to that folder");
  }
  if (!reading || !read_only(failure)) throw Error::from_errno("open", path.string(), failure);
  fd = Fd(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd && errno != ENOENT) throw Error::from_errno("open", path.string(), errno);
  return fd;
}

}  // namespace

FileLock FileLock::acquire(const std::filesystem::path& path, std::chrono::milliseconds wait) { return acquire(path, wait, false); }
FileLock FileLock::acquire_to_read(const std::filesystem::path& path, std::chrono::milliseconds wait) { return acquire(path, wait, true); }

FileLock FileLock::acquire(const std::filesystem::path& path, std::chrono::milliseconds wait, bool reading) {
  const auto until = std::chrono::steady_clock::now() + wait;
  auto pause = std::chrono::milliseconds{1};
  FileLock lock;
  for (;;) {
    if (!lock.fd_) {
      lock.fd_ = open_lock(path, reading);
      if (!lock.fd_) return lock;
    }
    if (try_lock(lock.fd_.get(), path)) {
      if (still_there(lock.fd_.get(), path)) return lock;
      lock.release();
    }
    const auto now = std::chrono::steady_clock::now();
    if (now >= until) break;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now);
    std::this_thread::sleep_for(std::min(pause, left));
    pause = std::min(pause * 2, std::chrono::milliseconds{20});
  }
  throw Error::busy(printable(path.string()) + " is held by another process", "try again when the other command has ended");
}

void FileLock::release() { fd_ = Fd(); }

}  // namespace kmtool
