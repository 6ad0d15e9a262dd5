#pragma once
#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "kmtool/core/bytes.hpp"
#include "kmtool/core/error.hpp"

namespace kmtool {

namespace fs = std::filesystem;

/// A file descriptor that closes itself.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept;
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd();
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
  int release() noexcept;

 private:
  int fd_ = -1;
};

/// Whole file as text. Throws missing (66) when it is not there, io (74) otherwise, damaged (65) beyond `limit` bytes.
std::string read_file(const fs::path& path, std::size_t limit = std::size_t{64} << 20);

/// Writes everything or throws io (74).
void write_all(int fd, ByteView data, const fs::path& name_for_errors);
/// All of one file, from its beginning, to where the other stands; or throws io (74).
void copy_all(int from, int to, const fs::path& name_for_errors);

/// What is asked of a file or folder that kmtool trusts.
struct Trust {
  bool private_file = false;    ///< neither readable nor writable by group and others (PIN file, database)
  bool follow_symlink = false;  ///< private files are never reached through a symbolic link
};
/// Throws config (78) when `path` (or, for a file, the folder it lies in) can be written by anyone but its owner and root,
/// or when its owner is neither the user nor root, or — private_file — when group or others can read it. The hint gives
/// the chmod that mends it. A sticky folder such as /tmp counts as safe for the files in it.
void check_trusted(const fs::path& path, Trust trust = {});
/// The same for a file that is already open, and reads it: no window between check and use. O_NOFOLLOW, O_CLOEXEC.
std::string read_trusted(const fs::path& path, Trust trust = {}, std::size_t limit = std::size_t{16} << 20);

/// Creates a folder 0700 (parents too) or checks that it is one.
void make_private_dir(const fs::path& path);
void fsync_path(const fs::path& path);  ///< file or folder; throws io (74)

/// A file that appears under its final name only when it is whole: written to a temporary name in the same folder
/// (mode 0600), fsynced, renamed, folder fsynced. Destroying it uncommitted removes the temporary.
class AtomicFile {
 public:
  /// `temporary` fixes the temporary's name (so that an intent can record it); empty: `.NAME.XXXXXX.kmtmp` is made up.
  /// Throws exists (73) when the target exists and not `overwrite`, or when the folder cannot be written.
  AtomicFile(fs::path target, bool overwrite, fs::path temporary = {});
  /// Without a name until commit(), where the file system can (O_TMPFILE): a kill leaves nothing of it, such as half a decrypted file. (One
  /// that replaces another has a moment before its renaming when a kill leaves it, whole, under its temporary name.)
  struct Nameless {};
  AtomicFile(fs::path target, bool overwrite, Nameless);
  AtomicFile(AtomicFile&&) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  void write(ByteView data);
  void write(std::string_view text) { write(view(text)); }
  /// Past the buffer, which nobody cleanses: for secrets.
  void write_unbuffered(ByteView data);
  /// Flushes and fsyncs the temporary. commit() does it too where it was not done.
  void sync();
  /// Renames into place (RENAME_NOREPLACE without overwrite: a file that appeared meanwhile is not lost) and fsyncs the folder.
  void commit();
  [[nodiscard]] const fs::path& target() const noexcept { return target_; }
  [[nodiscard]] const fs::path& temporary() const noexcept { return temporary_; }

 private:
  fs::path target_, temporary_;
  bool overwrite_ = false, synced_ = false, committed_ = false, nameless_ = false;
  Fd fd_;
  Bytes buffer_;
  void flush();
  void require_target() const;
  void open_named();
  void give_name();
};

/// Where an output will go, checked before anything is done: absolute path, folder exists and is writable, target does not
/// exist (73) unless `overwrite`; a folder or device under that name, or a link to one, is refused. `-` is no file (64).
fs::path check_output(const fs::path& path, bool overwrite);

/// Writes a small private file atomically in one go.
void write_private_file(const fs::path& path, ByteView data, bool overwrite);

/// Reads a file line by line in flat memory. Lines end in LF.
class LineReader {
 public:
  /// Opens a regular file, or copies anything else (pipe, "-" for standard input) to an unlinked private file first, so
  /// that it can be read twice.
  LineReader(const fs::path& path, std::size_t max_line);
  /// The next line without its LF; nullopt at the end. `line` numbers start at 1. Throws damaged (65) with the line's
  /// number for a line beyond max_line or a last line without LF.
  std::optional<std::string_view> next();
  [[nodiscard]] std::size_t line() const noexcept { return line_; }
  void rewind();
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

 private:
  std::string name_;
  Fd fd_;
  std::size_t max_line_;
  std::string buffer_;
  std::size_t begin_ = 0, line_ = 0;
  bool end_ = false;
};

}  // namespace kmtool
