#include "kmtool/core/stream.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "read_all.hpp"

namespace kmtool {
namespace {

bool is_standard(const fs::path& path) { return path.empty() || path == "-"; }

off_t position_of(int fd, const std::string& name) {
  const off_t at = lseek(fd, 0, SEEK_CUR);
  if (at < 0) throw Error::from_errno("read", name, errno);
  return at;
}

}  // namespace

InStream::InStream(const fs::path& path) : name_(is_standard(path) ? "standard input" : path.string()) {
  if (!is_standard(path)) {
    fd_ = Fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd_) throw Error::from_errno("open", name_, errno);
  }
  from_ = fd_ ? fd_.get() : STDIN_FILENO;
  struct stat status {};
  if (fstat(from_, &status) != 0) throw Error::from_errno("stat", name_, errno);
  if (S_ISDIR(status.st_mode)) throw Error::from_errno("read", name_, EISDIR);
  regular_ = S_ISREG(status.st_mode);
  if (regular_) size_ = static_cast<std::uint64_t>(std::max<off_t>(0, status.st_size - position_of(from_, name_)));
}

std::size_t InStream::fill(std::size_t n) {
  n = std::min(n, most_ahead);
  if (end_ - begin_ >= n || ended_) return end_ - begin_;
  // Twice the most: what is left over is moved to the front once in a buffer's length, not at every step.
  buffer_.resize(2 * most_ahead);
  if (buffer_.size() - begin_ < most_ahead) {
    std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_), buffer_.begin() + static_cast<std::ptrdiff_t>(end_), buffer_.begin());
    end_ -= begin_;
    begin_ = 0;
  }
  while (end_ - begin_ < n) {
    const std::size_t got = read_some(from_, buffer_.data() + end_, most_ahead - (end_ - begin_), name_);
    if (got == 0) {
      ended_ = true;
      break;
    }
    if (copy_ && from_ != copy_.get()) write_all(copy_.get(), ByteView(buffer_).subspan(end_, got), "the temporary copy of " + name_);
    end_ += got;
  }
  return end_ - begin_;
}

ByteView InStream::take(std::size_t n) {
  n = std::min(n, fill(n));
  const ByteView taken = ByteView(buffer_).subspan(begin_, n);
  begin_ += n;
  return taken;
}

std::optional<std::string> InStream::line(std::size_t limit) {
  for (std::size_t looked = 0;;) {
    const std::size_t there = fill(std::min(looked + 1, limit));
    const auto ahead = ByteView(buffer_).subspan(begin_, std::min(there, limit));
    const auto lf = std::find(ahead.begin() + static_cast<std::ptrdiff_t>(looked), ahead.end(), std::uint8_t{'\n'});
    if (lf != ahead.end()) {
      std::string text(ahead.begin(), lf);
      begin_ += text.size() + 1;
      return text;
    }
    if (ended_ || ahead.size() == limit) return std::nullopt;
    looked = ahead.size();
  }
}

void InStream::mark() {
  if (regular_) {
    marked_ = static_cast<std::uint64_t>(position_of(from_, name_)) - (end_ - begin_);
    return;
  }
  copy_ = unlinked_file();
  write_all(copy_.get(), ByteView(buffer_).subspan(begin_, end_ - begin_), "the temporary copy of " + name_);
}

void InStream::rewind() {
  if (!regular_) from_ = copy_.get();
  if (lseek(from_, static_cast<off_t>(marked_), SEEK_SET) < 0) throw Error::from_errno("read", name_, errno);
  begin_ = end_ = 0;
  ended_ = false;
}

OutStream::OutStream(const fs::path& path, bool overwrite) {
  if (!is_standard(path)) file_.emplace(check_output(path, overwrite), overwrite, AtomicFile::Nameless{});
}

void OutStream::write(ByteView data) {
  if (file_) {
    file_->write(data);
  } else {
    write_all(STDOUT_FILENO, data, "standard output");
  }
}

void OutStream::finish() {
  if (file_) file_->commit();
}

bool OutStream::is_terminal() const { return !file_ && isatty(STDOUT_FILENO) != 0; }

}  // namespace kmtool
