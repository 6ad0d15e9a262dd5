#include "ceremony_runner.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "kmtool/core/text.hpp"

extern char** environ;

namespace kmtool::cmd {

namespace {

constexpr std::size_t longest_message = std::size_t{64} << 10;
// The runner's own descriptors.
constexpr int channel_fd = 3, out_fd = 4, err_fd = 5, pin_fd = 6, lock_fd = 7;

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  out.reserve(words.size() + 1);
  for (auto& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

// -- the runner's side --------------------------------------------------------------------------------------------------------

/// Message: program, then `K=V` variables, an empty text, and the words.
struct Order {
  std::string program;
  std::vector<std::string> environment, words;
};

Order order_of(const char* begin, const char* end) {
  Order order;
  std::size_t number = 0;
  bool words = false;
  for (const char* at = begin; at < end; at += std::strlen(at) + 1, ++number) {
    if (number == 0) {
      order.program = at;
    } else if (!words && *at == '\0') {
      words = true;
    } else {
      (words ? order.words : order.environment).emplace_back(at);
    }
  }
  return order;
}

[[noreturn]] void become(Order order) {
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null < 0) _exit(127);
  dup2(null, STDIN_FILENO);
  dup2(out_fd, STDOUT_FILENO);
  dup2(err_fd, STDERR_FILENO);
  fcntl(pin_fd, F_SETFD, 0);
  for (const int number : {SIGINT, SIGTERM}) {
    if (std::signal(number, SIG_DFL) == SIG_ERR) _exit(127);
  }
  auto words = pointers(order.words);
  auto environment = pointers(order.environment);
  execve(order.program.c_str(), words.data(), environment.data());
  _exit(127);
}

[[noreturn]] void serve() {
  std::vector<char> message(longest_message);
  for (;;) {
    const ssize_t got = recv(channel_fd, message.data(), message.size() - 1, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) _exit(0);
    message[static_cast<std::size_t>(got)] = '\0';
    const pid_t child = fork();
    if (child == 0) become(order_of(message.data(), message.data() + got));
    int status = 0;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    const std::int32_t exit = child < 0 ? 127 : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (send(channel_fd, &exit, sizeof exit, MSG_NOSIGNAL) < 0) _exit(0);
  }
}

/// Moves the descriptors to their places, and keeps nothing else.
[[noreturn]] void become_runner(int channel, int out, int err, int pin, int lock) {
  if (std::signal(SIGINT, SIG_IGN) == SIG_ERR) _exit(1);  // Ctrl-C is for the command that runs, and for kmtool
  for (const int number : {SIGTERM, SIGPIPE, SIGXFSZ}) {
    if (std::signal(number, SIG_DFL) == SIG_ERR) _exit(1);
  }
  constexpr int above = 64;  // first out of each other's way
  const int from[] = {fcntl(channel, F_DUPFD, above), fcntl(out, F_DUPFD, above), fcntl(err, F_DUPFD, above),
                      fcntl(pin, F_DUPFD, above), lock < 0 ? -1 : fcntl(lock, F_DUPFD, above)};
  for (int i = 0; i < 5; ++i) {
    if (from[i] >= 0) dup3(from[i], channel_fd + i, O_CLOEXEC);
  }
  close_range(lock < 0 ? static_cast<unsigned>(lock_fd) : static_cast<unsigned>(lock_fd) + 1, ~0U, 0);
  serve();
}

// -- our side -----------------------------------------------------------------------------------------------------------------

Fd memory_file(const char* name) {
  Fd fd(memfd_create(name, MFD_CLOEXEC));
  if (!fd) throw Error::from_errno("create", "a file in memory", errno);
  return fd;
}

std::string contents(int fd) {
  std::string text;
  char buffer[65536];
  for (off_t at = 0;;) {
    const ssize_t n = pread(fd, buffer, sizeof buffer, at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(n));
    at += n;
  }
}

void make_pipe(Fd& in, Fd& out) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw Error::from_errno("create", "a pipe", errno);
  in = Fd(ends[1]);
  out = Fd(ends[0]);
}

void write_pin(int fd, const SecretBytes& pin) {
  write_all(fd, pin.reveal(), "a pipe");
  write_all(fd, view("\n"), "a pipe");
}

/// What a command that needed no PIN has left.
void drain(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  char buffer[2048];
  while (::read(fd, buffer, sizeof buffer) > 0) {
  }
  cleanse(buffer, sizeof buffer);
  fcntl(fd, F_SETFL, flags);
}

Fd locked(const std::filesystem::path& path) {
  Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) throw Error::from_errno("open", path.string(), errno);
  for (int tenths = 0; flock(fd.get(), LOCK_EX | LOCK_NB) != 0; ++tenths) {
    if (tenths == 300) throw Error::busy("another ceremony runs on this home, or a command of one", "wait until it has ended");
    usleep(100000);
  }
  return fd;
}

std::string own_path() {
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) throw Error::internal("kmtool cannot find its own file");
  return path.string();
}

}  // namespace

ProgramRunner::ProgramRunner(const std::filesystem::path& folder, const std::filesystem::path& lock) {
  if (!lock.empty()) lock_ = locked(lock);
  out_ = memory_file("kmtool-output");
  err_ = memory_file("kmtool-messages");
  make_pipe(pin_in_, pin_out_);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) throw Error::from_errno("create", "a socket pair", errno);
  channel_ = Fd(ends[0]);
  const Fd other(ends[1]);
  child_ = fork();
  if (child_ < 0) throw Error::from_errno("create", "a process", errno);
  if (child_ == 0) {
    if (chdir(folder.c_str()) != 0) _exit(1);
    become_runner(other.get(), out_.get(), err_.get(), pin_out_.get(), lock_.get());
  }
}

ProgramRunner::~ProgramRunner() {
  channel_ = Fd();
  if (child_ > 0) waitpid(child_, nullptr, 0);
}

ceremony::Ran ProgramRunner::run(const std::vector<std::string>& argv, const std::filesystem::path& home,
                                 const std::string& pin_source) {
  std::string message = own_path() + '\0';
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string text = *variable;
    if (!text.empty() && !text.starts_with("KMTOOL_HOME=") && !text.starts_with("KMTOOL_PIN_SOURCE=")) message += text + '\0';
  }
  message += "KMTOOL_HOME=" + home.string() + '\0';
  const auto& source = pin_.empty() ? pin_source : "fd:" + std::to_string(pin_fd);
  if (!source.empty()) message += "KMTOOL_PIN_SOURCE=" + source + '\0';
  message += '\0';
  message += std::string("kmtool") + '\0';
  for (const auto& word : argv) message += word + '\0';
  if (message.size() >= longest_message) throw Error::usage("the command line of a step is too long");
  if (ftruncate(out_.get(), 0) != 0 || ftruncate(err_.get(), 0) != 0 || lseek(out_.get(), 0, SEEK_SET) < 0 ||
      lseek(err_.get(), 0, SEEK_SET) < 0) {
    throw Error::from_errno("write", "a file in memory", errno);
  }
  if (!pin_.empty()) write_pin(pin_in_.get(), pin_);
  std::int32_t exit = 127;
  const bool sent = send(channel_.get(), message.data(), message.size(), MSG_NOSIGNAL) >= 0;
  ssize_t got = -1;
  while (sent && (got = recv(channel_.get(), &exit, sizeof exit, 0)) < 0 && errno == EINTR) {
  }
  if (!pin_.empty()) drain(pin_out_.get());
  if (got != sizeof exit) throw Error::internal("the process that starts commands is gone");
  return {exit, contents(out_.get()), contents(err_.get())};
}

std::string ProgramRunner::pin_source_of(const SecretBytes& pin, Fd& keeps) {
  Fd in;
  make_pipe(in, keeps);
  write_pin(in.get(), pin);
  return "fd:" + std::to_string(keeps.get());
}

}  // namespace kmtool::cmd
