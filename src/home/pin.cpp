#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "home/pin_reading.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/home/home.hpp"
#include "kmtool/home/pin_keeper.hpp"

extern char** environ;

namespace kmtool::home {
namespace {

// -- parsing ------------------------------------------------------------------------------------------------------------

[[noreturn]] void bad_source(const std::string& what) {
  throw Error::usage("PIN source: " + what, std::string("a PIN source is ") + pin_forms);
}

std::string percent_decoded(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const auto octet = i + 2 < text.size() ? from_hex(text.substr(i + 1, 2)) : std::nullopt;
    if (!octet || octet->front() == 0) bad_source("bad percent-encoding");
    out += static_cast<char>(octet->front());
    i += 2;
  }
  return out;
}

/// `file:PATH`, and the URIs `file:///PATH` and `file://localhost/PATH` that RFC 7512 has in pin-source.
std::string file_path(const std::string& value) {
  if (!value.starts_with("//")) return value;
  const std::size_t slash = value.find('/', 2);
  const std::string host = value.substr(2, slash == std::string::npos ? slash : slash - 2);
  if (slash == std::string::npos || (!host.empty() && host != "localhost"))
    bad_source("a file URI must name a file on this host");
  return percent_decoded(value.substr(slash));
}

int descriptor(const std::string& value) {
  int number = -1;
  const char* end = value.data() + value.size();
  const auto [stop, failure] = std::from_chars(value.data(), end, number);
  if (failure != std::errc{} || stop != end || number < 0) bad_source("fd needs the number of an open file descriptor");
  return number;
}

bool is_variable_name(const std::string& name) {
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0])) != 0) return false;
  for (const char c : name) {
    if (c != '_' && std::isalnum(static_cast<unsigned char>(c)) == 0) return false;
  }
  return true;
}

// -- reading ------------------------------------------------------------------------------------------------------------

SecretBytes from_file(const std::string& path) {
  std::error_code ignored;
  const auto type = std::filesystem::symlink_status(path, ignored).type();
  using enum std::filesystem::file_type;
  if (type == character || type == block || type == fifo || type == socket || type == directory) {  // before a chmod is advised
    throw Error::config(printable(path) + " is not a regular file", "the PIN's file must be a regular file of yours with mode 0600 or 0400");
  }
  check_trusted(path, {.private_file = true});
  // What was checked by name is held against what was opened: the file may have been exchanged in between.
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (!fd) throw Error::from_errno("open", path, errno);
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) throw Error::from_errno("stat", path, errno);
  const bool ours = status.st_uid == 0 || status.st_uid == geteuid();
  if (!S_ISREG(status.st_mode) || !ours || (status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    throw Error::config(printable(path) + " is not a private file", "it must be a regular file of yours with mode 0600 or 0400");
  }
  PinCollector collector(printable(path));
  while (collector.read_from(fd.get())) {
  }
  return collector.take();
}

SecretBytes from_descriptor(int fd) {
  const std::string name = "file descriptor " + std::to_string(fd);
  const int flags = fcntl(fd, F_GETFD);
  if (flags < 0) throw Error::missing(name + " is not open", "open it for kmtool, such as 3<FILE in a shell");
  fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
  PinCollector collector(name);
  while (!collector.has_line() && collector.read_from(fd, 1)) {
  }
  return collector.take();
}

SecretBytes from_environment(const std::string& name) {
  char* value = std::getenv(name.c_str());
  if (value == nullptr) throw Error::missing("the environment variable " + name + " for the PIN is not set");
  const std::size_t length = std::strlen(value);
  SecretBytes pin(view({value, length}));
  // In place: /proc/PID/environ shows this very memory.
  cleanse(value, length);
  unsetenv(name.c_str());
  if (pin.size() > max_pin)
    throw Error::refused("pin", "the PIN from " + name + " is longer than " + std::to_string(max_pin) + " bytes");
  return pin;
}

/// The little that a PIN command may know of our environment.
std::vector<std::string> scrubbed_environment() {
  std::vector<std::string> out;
  for (const char* name : {"PATH", "HOME", "LANG"}) {
    if (const char* value = std::getenv(name); value != nullptr) out.push_back(std::string(name) + "=" + value);
  }
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (auto& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

/// posix_spawn's two attribute objects, destroyed on scope exit.
struct SpawnSetup {
  posix_spawn_file_actions_t files{};
  posix_spawnattr_t attributes{};
  SpawnSetup() {
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;
  ~SpawnSetup() {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  }
};

pid_t spawn(std::vector<std::string> words, int output) {
  SpawnSetup setup;
  posix_spawn_file_actions_addopen(&setup.files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&setup.files, output, STDOUT_FILENO);
  sigset_t none;
  sigset_t defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  for (const int signal : {SIGPIPE, SIGXFSZ, SIGINT, SIGTERM}) sigaddset(&defaults, signal);
  posix_spawnattr_setsigmask(&setup.attributes, &none);
  posix_spawnattr_setsigdefault(&setup.attributes, &defaults);
  posix_spawnattr_setflags(&setup.attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  auto environment = scrubbed_environment();
  const auto argv = pointers(words);
  const auto envp = pointers(environment);
  pid_t child = 0;
  const int failure = posix_spawnp(&child, argv[0], &setup.files, &setup.attributes, argv.data(), envp.data());
  if (failure != 0) throw Error::from_errno("open", "the PIN command " + words[0], failure);
  return child;
}

/// Waits for a child however the scope is left.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0) wait();
  }
  int wait() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    return status;
  }

 private:
  pid_t pid_;
};

SecretBytes from_command(const std::string& command) {
  const auto words = split_command(command);
  if (words.empty()) bad_source("exec needs a command");
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw Error::from_errno("create", "a pipe", errno);
  Fd reading(ends[0]);
  Fd writing(ends[1]);
  Child child(spawn(words, writing.get()));
  writing = Fd();
  PinCollector collector("the PIN command");
  try {
    while (collector.read_from(reading.get())) {
    }
  } catch (const Error&) {
    reading = Fd();  // or the command could wait for us while we wait for it
    throw;
  }
  const int status = child.wait();
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    const std::string how = WIFEXITED(status) ? "exited with " + std::to_string(WEXITSTATUS(status))
                                              : "was killed by signal " + std::to_string(WTERMSIG(status));
    throw Error::refused("pin", "the PIN command " + printable(words[0]) + " " + how,
                         "its own messages are above, if it had any");
  }
  return collector.take();
}

/// What was read of a source that gives its PIN once, for a command that opens the token again.
struct Kept {
  bool wanted = false;
  PinSource source;
  std::optional<SecretBytes> pin;
};
Kept& kept() {
  static Kept one;
  return one;
}

SecretBytes copy_of(const SecretBytes& pin) { return SecretBytes(pin.reveal()); }

SecretBytes read_any(const PinSource& source, bool no_input) {
  switch (source.kind) {
    case PinSource::Kind::file:
      return from_file(source.value);
    case PinSource::Kind::fd:
      return from_descriptor(descriptor(source.value));
    case PinSource::Kind::env:
      return from_environment(source.value);
    case PinSource::Kind::exec:
      return from_command(source.value);
    case PinSource::Kind::prompt:
      return pin_from_terminal(no_input);
  }
  throw Error::internal("an unknown kind of PIN source");
}

}  // namespace

PinSource PinSource::parse(const std::string& text) {
  if (text == "prompt") return {Kind::prompt, {}};
  if (text.starts_with('/')) return {Kind::file, text};  // RFC 7512 allows a bare path
  const std::size_t colon = text.find(':');
  // The text may be the PIN itself, given by mistake: it is not repeated.
  if (colon == std::string::npos) bad_source("unknown form");
  const std::string kind = text.substr(0, colon);
  const std::string value = text.substr(colon + 1);
  if (value.find('\0') != std::string::npos) bad_source("a NUL byte");
  if (kind == "file") {
    const std::string path = file_path(value);
    if (path.empty()) bad_source("file needs a path");
    return {Kind::file, path};
  }
  if (kind == "fd") return {Kind::fd, std::to_string(descriptor(value))};
  if (kind == "env") {
    if (!is_variable_name(value)) bad_source("env needs the name of a variable");
    return {Kind::env, value};
  }
  if (kind == "exec") {
    if (split_command(value).empty()) bad_source("exec needs a command");
    return {Kind::exec, value};
  }
  bad_source("unknown form");
}

PinKeeper::PinKeeper() { kept().wanted = true; }

PinKeeper::~PinKeeper() { kept() = {}; }

SecretBytes read_pin(const PinSource& source, bool no_input) {
  auto& before = kept();
  if (before.pin && before.source.kind == source.kind && before.source.value == source.value) return copy_of(*before.pin);
  SecretBytes pin = read_any(source, no_input);
  if (pin.empty()) throw Error::refused("pin", "the PIN is empty", "nothing was tried on the token");
  const ByteView bytes = pin.reveal();
  if (std::find(bytes.begin(), bytes.end(), std::uint8_t{0}) != bytes.end()) {
    throw Error::refused("pin", "the PIN holds a NUL byte", "nothing was tried on the token");
  }
  if (before.wanted && source.kind != PinSource::Kind::file) {
    before.source = source;
    before.pin = copy_of(pin);
  }
  return pin;
}

}  // namespace kmtool::home
