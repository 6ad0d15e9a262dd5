#include "kmtool/core/runner.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "kmtool/core/text.hpp"

namespace kmtool {

namespace {

constexpr std::size_t longest_message = std::size_t{64} << 10, longest_input = std::size_t{32} << 10;
constexpr const char* search_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What stands before the words of a message; the input is its last octets.
struct Head {
  std::int64_t seconds;
  std::uint64_t input;
};

// -- the runner's side: after fork, plain system calls ---------------------------------------------------------------------

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  out.reserve(words.size() + 1);
  for (auto& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

/// A pipe that holds the input: it is shorter than a pipe's buffer.
int input_of(std::string_view input) {
  int ends[2];
  if (input.empty() || pipe2(ends, O_CLOEXEC) != 0) return open("/dev/null", O_RDWR | O_CLOEXEC);
  if (write(ends[1], input.data(), input.size()) != static_cast<ssize_t>(input.size())) _exit(127);
  close(ends[1]);
  return ends[0];
}

[[noreturn]] void become(std::vector<std::string> argv, std::vector<std::string> env, std::string_view input) {
  setpgid(0, 0);
  dup2(input_of(input), STDIN_FILENO);
  dup2(STDERR_FILENO, STDOUT_FILENO);  // standard output is kmtool's own
  auto words = pointers(argv);
  auto environment = pointers(env);
  execve(words[0], words.data(), environment.data());
  _exit(127);
}

/// Exit code, or 128 + signal. A program that does not end is ended.
int wait_for(pid_t child, std::chrono::seconds longest) {
  const auto begun = std::chrono::steady_clock::now();
  for (useconds_t pause = 200;; pause = std::min<useconds_t>(2 * pause, 5000)) {
    int status = 0;
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (ended < 0 && errno != EINTR) return 127;
    if (std::chrono::steady_clock::now() - begun > longest) kill(-child, SIGKILL);
    usleep(pause);
  }
}

std::int32_t start(std::string_view message) {
  Head head{};
  std::memcpy(&head, message.data(), sizeof head);
  const auto input = message.substr(message.size() - head.input);
  message = message.substr(sizeof head, message.size() - sizeof head - head.input);
  std::vector<std::string> argv, env;
  auto* to = &argv;
  for (const auto& word : split(message.substr(0, message.size() - 1), '\0')) {
    if (word.empty()) to = &env;
    else to->push_back(word);
  }
  const pid_t child = argv.empty() ? -1 : fork();
  if (child == 0) become(std::move(argv), std::move(env), input);
  return child < 0 ? 127 : wait_for(child, std::chrono::seconds(head.seconds));
}

[[noreturn]] void serve(int channel) {
  std::vector<char> message(longest_message);
  for (;;) {
    const ssize_t got = recv(channel, message.data(), message.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= static_cast<ssize_t>(sizeof(Head))) _exit(0);
    const std::int32_t status = start({message.data(), static_cast<std::size_t>(got)});
    if (send(channel, &status, sizeof status, MSG_NOSIGNAL) < 0) _exit(0);
  }
}

std::string in_path(const std::string& program) {
  if (program.find('/') != std::string::npos) return program;
  for (const auto& folder : split(search_path, ':')) {
    auto path = folder;
    path.append("/").append(program);
    if (access(path.c_str(), X_OK) == 0) return path;
  }
  return program;
}

}  // namespace

std::vector<std::string> command_words(const std::string& command, const std::string& option) {
  std::vector<std::string> words;
  for (const auto& word : split(command, ' ')) {
    if (!word.empty()) words.push_back(word);
  }
  if (words.empty() || !is_utf8(command) || printable(command) != command || command.size() > 4000) {
    throw Error::usage(option + " is a program and its arguments, with blanks between", "for more than that, write a script");
  }
  words[0] = in_path(words[0]);
  if (words[0][0] != '/') throw Error::usage(option + ": " + words[0] + " is not an absolute path", "cron jobs have no folder of their own: write /path/to/" + words[0]);
  std::error_code error;
  if (!std::filesystem::is_regular_file(words[0], error)) throw Error::missing("there is no program " + words[0] + " (" + option + ")");
  if (access(words[0].c_str(), X_OK) != 0) throw Error::config(words[0] + " is not executable", "chmod u+x " + words[0]);
  check_trusted(words[0], {.private_file = false, .follow_symlink = true});
  return words;
}

Runner::Runner() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) throw Error::from_errno("make", "a socket pair", errno);
  channel_ = Fd(ends[0]);
  const Fd other(ends[1]);
  child_ = fork();
  if (child_ < 0) throw Error::from_errno("fork", "a process that starts programs", errno);
  if (child_ != 0) return;
  // Ctrl-C is kmtool's affair; the runner ends when the channel closes.
  if (std::signal(SIGINT, SIG_IGN) == SIG_ERR) _exit(1);
  for (const int number : {SIGTERM, SIGPIPE, SIGXFSZ}) {
    if (std::signal(number, SIG_DFL) == SIG_ERR) _exit(1);
  }
  const int channel = dup2(other.get(), 3);
  fcntl(channel, F_SETFD, FD_CLOEXEC);
  close_range(4, ~0U, 0);
  serve(channel);
}

Runner::~Runner() {
  channel_ = Fd();
  if (child_ > 0) waitpid(child_, nullptr, 0);
}

int Runner::run(const Job& job) {
  const Head head{job.longest.count(), job.input.size()};
  std::string message(reinterpret_cast<const char*>(&head), sizeof head);
  for (const auto& word : job.words) message += word + '\0';
  message += '\0';
  const char* home = std::getenv("HOME");
  message += std::string("PATH=") + search_path + '\0' + "HOME=" + (home != nullptr ? home : "/") + '\0' + "LANG=C.UTF-8" + '\0';
  for (const auto& variable : job.environment) message += variable + '\0';
  message += job.input;
  std::int32_t status = 127;
  if (job.input.size() > longest_input || message.size() > longest_message || send(channel_.get(), message.data(), message.size(), MSG_NOSIGNAL) < 0) return 127;
  for (;;) {
    const ssize_t got = recv(channel_.get(), &status, sizeof status, MSG_WAITALL);
    if (got < 0 && errno == EINTR) continue;
    return got == sizeof status ? status : left_running;
  }
}

std::string Runner::outcome_of(int status) {
  if (status == 0) return {};
  if (status == left_running) return "was left running: a signal ended the process that waited for it, and how it ends nobody knows";
  if (status == 127) return "could not be started, or ended with exit code 127";
  if (status > 128) return fmt::format("was ended by signal {}", status - 128);
  return fmt::format("ended with exit code {}", status);
}

}  // namespace kmtool
