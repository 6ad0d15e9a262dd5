#include "journal/ahead.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

namespace kmtool::journal {

namespace {

constexpr off_t lead = off_t{64} << 20, piece = off_t{4} << 20;

}  // namespace

/// The descriptor stays open until the process ends: closing any descriptor of a file drops the locks that SQLite holds on it in the same
/// process (fcntl(2)).
Ahead::Ahead(const std::filesystem::path& file) : fd_(open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) {
  struct stat info {};
  if (fd_ >= 0 && fstat(fd_, &info) == 0) size_ = info.st_size;
}

void Ahead::at(std::uint64_t done, std::uint64_t all) {
  const double part = all == 0 ? 1 : static_cast<double>(done) / static_cast<double>(all);
  const off_t wanted = std::min(size_, static_cast<off_t>(static_cast<double>(size_) * part) + lead);
  for (; asked_ < wanted; asked_ += piece) posix_fadvise(fd_, asked_, piece, POSIX_FADV_WILLNEED);
}

}  // namespace kmtool::journal
