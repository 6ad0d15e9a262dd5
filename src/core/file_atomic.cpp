#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "machine_link.hpp"

namespace kmtool {
namespace {

constexpr std::size_t buffer_size = std::size_t{64} << 10;
constexpr int creation_flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;

fs::path folder_of(const fs::path& path) {
  const fs::path parent = path.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

Error already_there(const fs::path& path) {
  return Error::exists(printable(path.string()) + " exists", "choose another name, or say --force to replace it");
}

/// The folder's fault is "cannot be created" (73); a full disk or no more descriptors is I/O (74).
Error cannot_create(const fs::path& target, int error_number) {
  const Error io = Error::from_errno("create", target.string(), error_number);
  switch (error_number) {
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG:
      return Error::exists(printable(target.string()) +
                           " cannot be created: " + io.message().substr(io.message().rfind(": ") + 2));
    default:
      return io;
  }
}

/// Names only have to differ, nobody is kept from guessing them: O_EXCL is what protects.
std::string random_suffix() {
  std::array<std::uint8_t, 6> bytes{};
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    throw Error::internal("the system gives no random bytes");
  }
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz234567";
  std::string suffix;
  for (const std::uint8_t byte : bytes) suffix += letters[byte % letters.size()];
  return suffix;
}

std::string path_of(const Fd& fd) { return fmt::format("/proc/self/fd/{}", fd.get()); }

/// A file name has 255 bytes at most, and ours must fit beside the target's.
fs::path made_up_name(const fs::path& target) {
  return folder_of(target) / fmt::format(".{}.{}.kmtmp", target.filename().string().substr(0, 220), random_suffix());
}

}  // namespace

AtomicFile::AtomicFile(fs::path target, bool overwrite, fs::path temporary)
    : target_(std::move(target)), temporary_(std::move(temporary)), overwrite_(overwrite) {
  require_target();
  open_named();
}

AtomicFile::AtomicFile(fs::path target, bool overwrite, Nameless) : target_(std::move(target)), overwrite_(overwrite) {
  require_target();
  fd_ = Fd(open(folder_of(target_).c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
  nameless_ = fd_ && access(path_of(fd_).c_str(), F_OK) == 0;  // without /proc it would never get a name
  if (!nameless_) open_named();
}

void AtomicFile::require_target() const {
  struct stat status {};
  if (lstat(target_.c_str(), &status) == 0) {
    refuse_machine_link(target_);
    if (!overwrite_) throw already_there(target_);
    if (!S_ISREG(status.st_mode) && !S_ISLNK(status.st_mode)) {
      throw Error::exists(printable(target_.string()) + " exists and is not a file", "choose another name");
    }
  } else if (errno != ENOENT) {
    throw cannot_create(target_, errno);
  }
}

void AtomicFile::open_named() {
  if (!temporary_.empty()) {
    if (!temporary_.has_parent_path()) temporary_ = folder_of(target_) / temporary_;
    fd_ = Fd(open(temporary_.c_str(), creation_flags, 0600));
    if (!fd_ && errno == EEXIST) throw already_there(temporary_);
  } else {
    fd_ = Fd();
    for (int attempt = 0; !fd_ && attempt < 100; ++attempt) {
      temporary_ = made_up_name(target_);
      fd_ = Fd(open(temporary_.c_str(), creation_flags, 0600));
      if (!fd_ && errno != EEXIST) break;
    }
  }
  if (!fd_) throw cannot_create(target_, errno);
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : target_(std::move(other.target_)),
      temporary_(std::move(other.temporary_)),
      overwrite_(other.overwrite_),
      synced_(other.synced_),
      committed_(std::exchange(other.committed_, true)),  // so that it removes nothing
      nameless_(other.nameless_),
      fd_(std::move(other.fd_)),
      buffer_(std::move(other.buffer_)) {}

AtomicFile::~AtomicFile() {
  if (!committed_ && !nameless_) unlink(temporary_.c_str());
}

void AtomicFile::flush() {
  if (buffer_.empty()) return;
  write_all(fd_.get(), buffer_, target_);
  buffer_.clear();
}

void AtomicFile::write(ByteView data) {
  if (!fd_) throw Error::internal("a file was written to after it was finished");
  synced_ = false;
  if (buffer_.size() + data.size() > buffer_size) flush();
  if (data.size() >= buffer_size) {
    write_all(fd_.get(), data, target_);
  } else {
    append(buffer_, data);
  }
}

void AtomicFile::write_unbuffered(ByteView data) {
  if (!fd_) throw Error::internal("a file was written to after it was finished");
  synced_ = false;
  flush();
  write_all(fd_.get(), data, target_);
}

void AtomicFile::sync() {
  if (!fd_) throw Error::internal("a file was synced after it was finished");
  flush();
  if (fsync(fd_.get()) != 0) throw Error::from_errno("sync", target_.string(), errno);
  synced_ = true;
}

/// link() never replaces: straight to the target where nothing may be, else beside it for a rename.
void AtomicFile::give_name() {
  int result = -1;
  for (int attempt = 0; result != 0 && attempt < 100; ++attempt) {
    temporary_ = overwrite_ ? made_up_name(target_) : target_;
    result = linkat(AT_FDCWD, path_of(fd_).c_str(), AT_FDCWD, temporary_.c_str(), AT_SYMLINK_FOLLOW);
    if (result == 0 || errno != EEXIST) break;
    if (!overwrite_) throw already_there(target_);
  }
  if (result != 0 && errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS && errno != EMLINK) throw cannot_create(target_, errno);
  nameless_ = false;
  if (result == 0) return;
  // A file system without hard links: only copying gives it a name.
  const Fd whole = std::move(fd_);
  temporary_.clear();
  open_named();
  copy_all(whole.get(), fd_.get(), target_);
  sync();
}

void AtomicFile::commit() {
  if (committed_) throw Error::internal("a file was committed twice");
  if (!synced_) sync();
  if (nameless_) give_name();
  // Some file systems tell of a failed write only here.
  if (close(fd_.release()) != 0) throw Error::from_errno("write", target_.string(), errno);
  const char* from = temporary_.c_str();
  const char* to = target_.c_str();
  const bool there = temporary_ == target_;
  int result = there ? 0 : overwrite_ ? rename(from, to) : renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
  if (result != 0 && !overwrite_ && (errno == EINVAL || errno == ENOSYS)) {
    // The file system cannot rename without replacing; link() never replaces either.
    result = link(from, to);
    if (result == 0) unlink(from);
  }
  if (result != 0) {
    if (errno == EEXIST) throw already_there(target_);
    throw cannot_create(target_, errno);
  }
  committed_ = true;
  fsync_path(folder_of(target_));
}

}  // namespace kmtool
