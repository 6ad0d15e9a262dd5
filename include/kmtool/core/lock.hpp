#pragma once
#include <chrono>
#include <filesystem>

#include "kmtool/core/file.hpp"

namespace kmtool {

/// An advisory lock on a file (flock), exclusive, released on destruction and by the kernel when the process dies.
class FileLock {
 public:
  FileLock() = default;
  /// Waits up to `wait`; throws busy (75) naming the file when it was not free by then. The file is created 0600.
  static FileLock acquire(const std::filesystem::path& path, std::chrono::milliseconds wait);
  /// For those who only read, where nobody may write: takes the lock on a file that cannot be opened for writing too, and none (held() is
  /// false) where there is no file and none can be made: then nobody else works there either.
  static FileLock acquire_to_read(const std::filesystem::path& path, std::chrono::milliseconds wait);
  [[nodiscard]] bool held() const noexcept { return static_cast<bool>(fd_); }
  void release();

 private:
  static FileLock acquire(const std::filesystem::path& path, std::chrono::milliseconds wait, bool reading);
  Fd fd_;
};

}  // namespace kmtool
