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

}  // namespace

FileLock FileLock::acquire(const std::filesystem::path& path, std::chrono::milliseconds wait) {
  const auto until = std::chrono::steady_clock::now() + wait;
  auto pause = std::chrono::milliseconds{1};
  FileLock lock;
  for (;;) {
    if (!lock.fd_) {
      lock.fd_ = Fd(open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
      if (!lock.fd_) throw Error::from_errno("open", path.string(), errno);
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
