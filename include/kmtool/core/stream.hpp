#pragma once
#include <optional>
#include <string>

#include "kmtool/core/bytes.hpp"
#include "kmtool/core/file.hpp"

namespace kmtool {

/// Bytes that come in from a file or from standard input, read ahead into a buffer of fixed size: memory stays flat however long
/// the input is. Views that it hands out hold until the next call.
class InStream {
 public:
  /// Empty or "-": standard input. Throws missing (66) where there is no such file, io (74) for a folder.
  explicit InStream(const fs::path& path);

  /// The octets from where it was opened to the end; nullopt where nobody knows (a pipe). It is what the file system said then: the
  /// file may have grown or shrunk.
  [[nodiscard]] std::optional<std::uint64_t> size() const noexcept { return size_; }
  /// Reads ahead until `n` octets lie in the buffer (at most `most_ahead`) or the input has ended; how many there are.
  static constexpr std::size_t most_ahead = std::size_t{1} << 20;
  std::size_t fill(std::size_t n);
  /// True when what lies in the buffer is the rest.
  [[nodiscard]] bool ended() const noexcept { return ended_; }
  /// The next `n` octets, or what is left.
  ByteView take(std::size_t n);
  /// The next line without its LF; nullopt where no LF comes within `limit` octets.
  std::optional<std::string> line(std::size_t limit);

  /// From here on the input can be read again with rewind(). What is no regular file is copied meanwhile to a file without a name
  /// in TMPDIR that nobody else can open.
  void mark();
  void rewind();
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

 private:
  std::string name_;
  Fd fd_;
  int from_ = -1;
  bool regular_ = false, ended_ = false;
  std::optional<std::uint64_t> size_;
  Bytes buffer_;
  std::size_t begin_ = 0, end_ = 0;
  Fd copy_;
  std::uint64_t marked_ = 0;
};

/// Where a command's product goes: a file that appears when it is whole, or standard output, written as it comes.
class OutStream {
 public:
  /// Empty or "-": standard output. A file is checked as check_output() does; throws exists (73).
  OutStream(const fs::path& path, bool overwrite);
  void write(ByteView data);
  /// The file appears under its name, synced. Without it nothing is there.
  void finish();
  [[nodiscard]] bool is_file() const noexcept { return file_.has_value(); }
  /// Standard output, and it is a terminal.
  [[nodiscard]] bool is_terminal() const;
  /// The absolute path; empty for standard output.
  [[nodiscard]] std::string path() const { return file_ ? file_->target().string() : std::string(); }

 private:
  std::optional<AtomicFile> file_;
};

}  // namespace kmtool
