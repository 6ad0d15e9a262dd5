#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "read_all.hpp"

namespace kmtool {
namespace {

constexpr std::size_t chunk_size = std::size_t{64} << 10;

constexpr std::uint64_t most_copied = std::uint64_t{4} << 30;  // a bundle of five million keys

Error too_long(const std::string& name, std::size_t line, std::size_t max_line) {
  return Error::tampered(printable(name) + ": line " + std::to_string(line) + ": longer than " + std::to_string(max_line) + " bytes");
}

/// What is not a file may have no end: refused is what next() would refuse, and what fills a disk.
Fd copied(int from, const std::string& name, std::size_t max_line) {
  Fd copy = unlinked_file();
  std::array<std::uint8_t, chunk_size> chunk{};
  std::uint64_t all = 0;
  std::size_t line = 1, in_line = 0;
  for (;;) {
    const std::size_t got = read_some(from, chunk.data(), chunk.size(), name);
    if (got == 0) break;
    for (std::size_t i = 0; i < got; ++i) {
      if (chunk[i] == '\n') {
        ++line, in_line = 0;
      } else if (++in_line > max_line) {
        throw too_long(name, line, max_line);
      }
    }
    if ((all += got) > most_copied) {
      throw Error::usage(printable(name) + " is not a file and gives more than 4 GiB: no copy of it is kept", "write it to a file and name that");
    }
    write_all(copy.get(), ByteView(chunk.data(), got), "the temporary copy of " + name);
  }
  if (lseek(copy.get(), 0, SEEK_SET) != 0) throw Error::from_errno("read", name, errno);
  return copy;
}

}  // namespace

Fd unlinked_file() {
  const char* chosen = std::getenv("TMPDIR");
  const std::string folder = chosen != nullptr && *chosen != '\0' ? chosen : "/tmp";
  Fd fd(open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd) return fd;
  std::string name = folder + "/.kmtool.XXXXXX";  // the file system has no O_TMPFILE
  fd = Fd(mkostemp(name.data(), O_CLOEXEC));
  if (!fd) throw Error::io(Error::from_errno("create", "a temporary file in " + folder, errno).message());
  unlink(name.c_str());
  return fd;
}

LineReader::LineReader(const fs::path& path, std::size_t max_line) : name_(path.string()), max_line_(max_line) {
  if (path == "-") {
    // Copied even where it is a regular file: its position is shared with whoever started us.
    name_ = "standard input";
    fd_ = copied(STDIN_FILENO, name_, max_line_);
    return;
  }
  fd_ = Fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd_) throw Error::from_errno("open", name_, errno);
  struct stat status {};
  if (fstat(fd_.get(), &status) != 0) throw Error::from_errno("stat", name_, errno);
  if (S_ISDIR(status.st_mode)) throw Error::from_errno("read", name_, EISDIR);
  if (!S_ISREG(status.st_mode)) fd_ = copied(fd_.get(), name_, max_line_);
}

std::optional<std::string_view> LineReader::next() {
  const auto damaged = [&](const std::string& what) {
    return Error::tampered(printable(name_) + ": line " + std::to_string(line_) + ": " + what);
  };
  ++line_;
  for (std::size_t searched = begin_;;) {
    const std::size_t end = buffer_.find('\n', searched);
    if ((end == std::string::npos ? buffer_.size() : end) - begin_ > max_line_) {
      throw too_long(name_, line_, max_line_);
    }
    if (end != std::string::npos) {
      const std::string_view found(buffer_.data() + begin_, end - begin_);
      begin_ = end + 1;
      return found;
    }
    if (end_) break;
    buffer_.erase(0, begin_);
    begin_ = 0;
    searched = buffer_.size();
    buffer_.resize(searched + chunk_size);
    const std::size_t got = read_some(fd_.get(), reinterpret_cast<std::uint8_t*>(buffer_.data()) + searched, chunk_size, name_);
    buffer_.resize(searched + got);
    end_ = got == 0;
  }
  if (begin_ < buffer_.size()) throw damaged("no line end: the file is cut short");
  --line_;
  return std::nullopt;
}

void LineReader::rewind() {
  if (lseek(fd_.get(), 0, SEEK_SET) != 0) throw Error::from_errno("read", name_, errno);
  buffer_.clear();
  begin_ = line_ = 0;
  end_ = false;
}

}  // namespace kmtool
