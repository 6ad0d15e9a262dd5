#pragma once
#include <sys/types.h>

#include <cstdint>
#include <filesystem>

namespace kmtool::journal {

/// Has the kernel read a database file ahead of whoever reads its rows from the first to the last. SQLite reads page by page, which on a
/// disk takes many times as long as hashing them; the file is only ever appended to, so that its rows lie about in their order.
class Ahead {
 public:
  explicit Ahead(const std::filesystem::path& file);
  /// `done` rows of `all` are read. Only advice: what fails, fails silently, and the rows are read as slowly as ever.
  void at(std::uint64_t done, std::uint64_t all);

 private:
  int fd_ = -1;
  off_t size_ = 0, asked_ = 0;
};

}  // namespace kmtool::journal
