#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/lock.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/home/home.hpp"
#include "kmtool/pkcs11/init_token.hpp"

namespace kmtool::home {
namespace {

constexpr std::size_t pin_length = 32;
constexpr std::uint64_t space_needed = std::uint64_t{1} << 20;
constexpr std::size_t token_object_limit = std::size_t{1} << 20;

std::string configuration(const Paths& paths) {
  return "directories.tokendir = " + paths.token_dir().string() +
         "\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n";
}

/// SoftHSM cuts its configuration's lines at a # and has no quoting.
void require_plain_path(const Paths& paths) {
  const std::string path = paths.token_dir().string();
  if (path.find_first_of("#\n\r\t") != std::string::npos || path.find("  ") != std::string::npos) {
    throw Error::config("SoftHSM cannot have a token in " + printable(path),
                        "choose a home without #, tabs or line breaks in its path");
  }
}

void write_configuration(const Paths& paths) {
  const std::string wanted = configuration(paths);
  std::error_code ignored;
  const fs::path file = paths.softhsm_conf();
  if (fs::exists(file, ignored) && read_trusted(file) == wanted) return;
  write_private_file(file, view(wanted), true);
}

/// A new private file, whole or not at all, without the secret going through any buffer of ours.
void write_secret_file(const fs::path& path, const SecretBytes& secret) {
  const fs::path temporary = path.parent_path() / fmt::format(".{}.{}.kmtmp", path.filename().string(), getpid());
  Fd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd && errno == EEXIST && unlink(temporary.c_str()) == 0) {  // left by a process that was killed
    fd = Fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  }
  if (!fd) throw Error::from_errno("create", path.string(), errno);
  try {
    write_all(fd.get(), secret.reveal(), path);
    write_all(fd.get(), view("\n"), path);
    if (fsync(fd.get()) != 0) throw Error::from_errno("sync", path.string(), errno);
    if (rename(temporary.c_str(), path.c_str()) != 0) throw Error::from_errno("create", path.string(), errno);
  } catch (...) {
    unlink(temporary.c_str());
    throw;
  }
  fsync_path(path.parent_path());
}

/// 32 letters and digits of 5 bits each.
SecretBytes make_pin(const pkcs11::RandomBytes& random) {
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz234567";
  Bytes noise = random(pin_length);
  SecretBytes pin(pin_length);
  for (std::size_t i = 0; i < pin_length; ++i)
    pin.reveal_mutable()[i] = static_cast<std::uint8_t>(letters[noise[i] % letters.size()]);
  cleanse(noise.data(), noise.size());
  return pin;
}

/// Names only have to differ; the token gives no random bytes before it has a name.
std::string make_label() {
  std::array<std::uint8_t, 4> bytes{};
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    throw Error::internal("the system gives no random bytes");
  }
  return "kmtool-embedded-" + hex(bytes);
}

std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code failure;
  for (fs::directory_iterator it(folder, failure), end; !failure && it != end; it.increment(failure)) out.push_back(it->path());
  if (failure && failure != std::errc::no_such_file_or_directory) {
    throw Error::from_errno("read", folder.string(), failure.value());
  }
  return out;
}

std::vector<fs::path> token_folders(const Paths& paths) {
  std::vector<fs::path> out;
  for (const auto& entry : entries(paths.token_dir())) {
    if (fs::is_directory(fs::symlink_status(entry))) out.push_back(entry);
  }
  return out;
}

/// token.object of the one token; empty path where there is none, or more than kmtool made.
fs::path token_object(const Paths& paths) {
  const auto folders = token_folders(paths);
  return folders.size() == 1 ? folders.front() / "token.object" : fs::path();
}

/// SoftHSM writes under a lock of fcntl's: nobody is in the middle of it once we have a shared one. False: could not get it.
bool lock_for_reading(int fd) {
  struct flock lock {};
  lock.l_type = F_RDLCK;
  lock.l_whence = SEEK_SET;
  for (int attempt = 0; attempt < 200; ++attempt) {
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

std::string read_open(int fd, const fs::path& name) {
  std::string out;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Error::from_errno("read", name.string(), errno);
    if (n == 0) return out;
    out.append(buffer.data(), static_cast<std::size_t>(n));
    if (out.size() > token_object_limit) throw Error::tampered(printable(name.string()) + " is far too large");
  }
}

std::uintmax_t size_or_zero(const fs::path& path) {
  struct stat status {};
  return lstat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) ? static_cast<std::uintmax_t>(status.st_size) : 0;
}

/// SoftHSM empties token.object and writes it anew at every login, and logins of kmtool hold token.lock: empty before and under that lock,
/// it is empty for good.
FileLock wait_for_login(const Paths& paths) { return FileLock::acquire(paths.token_lock(), std::chrono::minutes(1)); }

/// False when the file has gone meanwhile (another process destroyed the object).
bool sync_file(const Paths& paths, const fs::path& path, std::filesystem::file_time_type since) {
  std::error_code failure;
  auto size = fs::file_size(path, failure);
  if (failure == std::errc::no_such_file_or_directory) return false;
  if (!failure && size == 0 && path.filename() == "token.object") {
    const auto settled = wait_for_login(paths);
    size = fs::file_size(path, failure);
  }
  if (failure) throw Error::from_errno("stat", path.string(), failure.value());
  if (size == 0 && path.extension() == ".object") {
    throw Error::io("the software token left an empty object file: " + printable(path.string()),
                    "the disk was full or the process was killed; make room, then kmtool doctor --repair");
  }
  const auto changed = fs::last_write_time(path, failure);
  if (failure == std::errc::no_such_file_or_directory) return false;
  if (failure) throw Error::from_errno("stat", path.string(), failure.value());
  if (changed < since) return false;
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd && errno == ENOENT) return false;
  if (!fd) throw Error::from_errno("open", path.string(), errno);
  if (fsync(fd.get()) != 0) throw Error::from_errno("sync", path.string(), errno);
  return true;
}

void remove_unfinished(const Paths& paths) {
  std::error_code ignored;
  for (const auto& folder : entries(paths.token_dir())) fs::remove_all(folder, ignored);
  fs::remove(paths.token_pin(), ignored);
  fs::remove(paths.softhsm_conf(), ignored);
}

}  // namespace

std::string softhsm_module() {
  if (const char* given = std::getenv("KMTOOL_SOFTHSM2"); given != nullptr && *given != '\0') {
    std::error_code failure;
    const fs::path path = fs::canonical(given, failure);
    if (failure) throw Error::unavailable(printable(given) + ", which KMTOOL_SOFTHSM2 names, does not exist");
    return path.string();
  }
  for (const char* place : {"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
                            "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so",
                            "/usr/lib64/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so"}) {
    std::error_code failure;
    const fs::path path = fs::canonical(place, failure);
    if (!failure) return path.string();
  }
  throw Error::unavailable("libsofthsm2.so was not found",
                           "install the package softhsm2 (or libsofthsm2), or name the file in KMTOOL_SOFTHSM2");
}

pkcs11::TokenSelector make_embedded_token(const Paths& paths, const pkcs11::ModuleSpec& module) {
  require_plain_path(paths);
  make_private_dir(paths.root);
  make_private_dir(paths.token_dir());
  if (!entries(paths.token_dir()).empty()) {
    throw Error::exists(printable(paths.token_dir().string()) + " already holds a token",
                        "use another home, or remove that folder if none of its keys is needed");
  }
  try {
    prepare_embedded(paths);
    const auto selector = pkcs11::init_software_token(module, make_label(), [&](const pkcs11::RandomBytes& random) {
      SecretBytes pin = make_pin(random);
      write_secret_file(paths.token_pin(), pin);
      return pin;
    });
    sync_token_files(paths, fs::file_time_type::min());
    keep_token_copy(paths);
    return selector;
  } catch (...) {
    remove_unfinished(paths);  // nothing was there before
    throw;
  }
}

void prepare_embedded(const Paths& paths) {
  // Rewritten where it differs: a home that was moved has another path in it.
  write_configuration(paths);
  if (setenv("SOFTHSM2_CONF", paths.softhsm_conf().c_str(), 1) != 0) throw std::bad_alloc();
  struct statvfs status {};
  if (statvfs(paths.root.c_str(), &status) != 0) throw Error::from_errno("stat", paths.root.string(), errno);
  if (std::uint64_t{status.f_bavail} * status.f_frsize < space_needed) {
    throw Error::io("less than 1 MiB is free for " + printable(paths.root.string()),
                    "make room first: the software token can lose everything on a full disk");
  }
}

void keep_token_copy(const Paths& paths) {
  const fs::path object = token_object(paths);
  if (object.empty()) return;
  const Fd fd(open(object.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd && errno == ENOENT) return;
  if (!fd) throw Error::from_errno("open", object.string(), errno);
  if (!lock_for_reading(fd.get())) return;  // in use all the time: the next command keeps the copy
  const std::string now = read_open(fd.get(), object);
  if (now.empty()) return;
  const fs::path copy = paths.token_copy();
  if (size_or_zero(copy) == now.size() && read_trusted(copy, {.private_file = true}) == now) return;
  write_private_file(copy, view(now), true);
}

TokenObject check_token_object(const Paths& paths, bool mend) {
  const fs::path object = token_object(paths);
  if (object.empty() || size_or_zero(object) > 0 || size_or_zero(paths.token_copy()) == 0) return TokenObject::whole;
  const auto settled = wait_for_login(paths);
  if (size_or_zero(object) > 0) return TokenObject::whole;
  std::error_code ignored;
  const auto found = fs::exists(fs::symlink_status(object, ignored)) ? TokenObject::empty : TokenObject::missing;
  if (mend) write_private_file(object, view(read_trusted(paths.token_copy(), {.private_file = true})), true);
  return found;
}

std::size_t remove_empty_objects(const Paths& paths) {
  constexpr std::uintmax_t bare_object = 8;  // its generation and no attribute: of such a file SoftHSM shows an object that nobody can read
  std::size_t count = 0;
  for (const auto& folder : token_folders(paths)) {
    for (const auto& file : entries(folder)) {
      std::error_code error;
      const bool empty = file.extension() == ".object" && file.filename() != "token.object" && fs::is_regular_file(file, error) && fs::file_size(file, error) <= bare_object;
      if (empty && !error && fs::remove(file, error)) ++count;
    }
  }
  return count;
}

void remove_stale_temporaries(const Paths& paths) {
  std::error_code ignored;
  fs::remove_all(paths.restore_begun(), ignored);  // it was not decided, and its writer holds the lock that we hold
  const auto now = fs::file_time_type::clock::now();
  for (const auto& folder : {paths.root, paths.signers()}) {
    for (const auto& file : entries(folder)) {
      std::error_code error;
      const bool ours = file.extension() == ".kmtmp" && fs::is_regular_file(fs::symlink_status(file, error));
      if (ours && !error && now - fs::last_write_time(file, error) > std::chrono::minutes(1) && !error) fs::remove(file, error);
    }
  }
}

void sync_token_files(const Paths& paths, std::filesystem::file_time_type since) {
  // The kernel stamps files with a clock that may lag behind ours by a tick; some file systems count whole seconds.
  if (since > fs::file_time_type::min() + std::chrono::seconds(2)) since -= std::chrono::seconds(2);
  for (const auto& folder : token_folders(paths)) {
    for (const auto& file : entries(folder)) sync_file(paths, file, since);
    fsync_path(folder);
  }
  fsync_path(paths.token_dir());
}

}  // namespace kmtool::home
