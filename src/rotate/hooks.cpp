#include "kmtool/rotate/hooks.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstring>

#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"

namespace kmtool::rotate {

namespace {

constexpr auto longest_run = std::chrono::minutes(10);
constexpr std::size_t longest_message = std::size_t{64} << 10;
constexpr const char* search_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// -- the runner's side: after fork, plain system calls ---------------------------------------------------------------------

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  for (auto& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

[[noreturn]] void become(std::vector<std::string> argv, std::vector<std::string> env) {
  setpgid(0, 0);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  dup2(null, STDIN_FILENO);
  dup2(STDERR_FILENO, STDOUT_FILENO);  // standard output is kmtool's own
  auto words = pointers(argv);
  auto environment = pointers(env);
  execve(words[0], words.data(), environment.data());
  _exit(127);
}

/// Exit code, or 128 + signal. A hook that does not end is ended.
int wait_for(pid_t child) {
  const auto begun = std::chrono::steady_clock::now();
  for (;;) {
    int status = 0;
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (ended < 0 && errno != EINTR) return 127;
    if (std::chrono::steady_clock::now() - begun > longest_run) kill(-child, SIGKILL);
    usleep(5000);
  }
}

[[noreturn]] void serve(int channel) {
  std::vector<char> message(longest_message);
  for (;;) {
    const ssize_t got = recv(channel, message.data(), message.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) _exit(0);
    std::vector<std::string> argv, env;
    auto* to = &argv;
    for (const char* at = message.data(); at < message.data() + got; at += std::strlen(at) + 1) {
      if (*at == '\0') {
        to = &env;
      } else {
        to->emplace_back(at);
      }
    }
    const pid_t child = argv.empty() ? -1 : fork();
    if (child == 0) become(std::move(argv), std::move(env));
    const std::int32_t status = child < 0 ? 127 : wait_for(child);
    if (send(channel, &status, sizeof status, MSG_NOSIGNAL) < 0) _exit(0);
  }
}

std::string in_path(const std::string& program) {
  if (program.find('/') != std::string::npos) return program;
  for (const auto& folder : split(search_path, ':')) {
    const auto path = folder + "/" + program;
    if (access(path.c_str(), X_OK) == 0) return path;
  }
  return program;
}

std::string outcome_of(int status) {
  if (status == 0) return {};
  if (status == 127) return "could not be started";
  if (status > 128) return fmt::format("was ended by signal {}", status - 128);
  return fmt::format("ended with exit code {}", status);
}

}  // namespace

std::vector<std::string> hook_words(const std::string& command) {
  std::vector<std::string> words;
  for (const auto& word : split(command, ' ')) {
    if (!word.empty()) words.push_back(word);
  }
  if (words.empty() || !is_utf8(command) || printable(command) != command || command.size() > 4000) {
    throw Error::usage("--hook is a program and its arguments, with blanks between", "for more than that, write a script");
  }
  words[0] = in_path(words[0]);
  if (words[0][0] != '/') throw Error::usage("--hook: " + words[0] + " is not an absolute path", "cron jobs have no folder of their own: write /path/to/" + words[0]);
  std::error_code error;
  if (!std::filesystem::is_regular_file(words[0], error)) throw Error::missing("there is no hook " + words[0]);
  if (access(words[0].c_str(), X_OK) != 0) throw Error::config(words[0] + " is not executable", "chmod u+x " + words[0]);
  check_trusted(words[0], {.private_file = false, .follow_symlink = true});
  return words;
}

HookRunner::HookRunner() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) throw Error::from_errno("make", "a socket pair", errno);
  channel_ = Fd(ends[0]);
  const Fd other(ends[1]);
  child_ = fork();
  if (child_ < 0) throw Error::from_errno("fork", "the hook runner", errno);
  if (child_ != 0) return;
  // Ctrl-C is kmtool's affair; the runner ends when the channel closes.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGPIPE, SIG_DFL);
  const int channel = dup2(other.get(), 3);
  fcntl(channel, F_SETFD, FD_CLOEXEC);
  close_range(4, ~0U, 0);
  serve(channel);
}

HookRunner::~HookRunner() {
  channel_ = Fd();
  if (child_ > 0) waitpid(child_, nullptr, 0);
}

HookResult HookRunner::run(const OwedHook& hook, const std::string& home) {
  HookResult result{hook, 127, {}};
  std::string message;
  try {
    for (const auto& word : hook_words(hook.command)) message += word + '\0';
  } catch (const Error& error) {
    result.what = error.message();
    return result;
  }
  message += '\0';
  const char* user_home = std::getenv("HOME");
  const std::string environment[] = {std::string("PATH=") + search_path,
                                     std::string("HOME=") + (user_home != nullptr ? user_home : "/"),
                                     "LANG=C.UTF-8",
                                     "KMTOOL_HOME=" + home,
                                     "KMTOOL_KEY=" + KeyRef::parse(hook.key).name,
                                     "KMTOOL_FROM=" + hook.from,
                                     "KMTOOL_TO=" + hook.key,
                                     "KMTOOL_URI=" + hook.uri};
  for (const auto& variable : environment) message += variable + '\0';
  std::int32_t status = 127;
  if (message.size() > longest_message || send(channel_.get(), message.data(), message.size(), MSG_NOSIGNAL) < 0 ||
      recv(channel_.get(), &status, sizeof status, MSG_WAITALL) != sizeof status) {
    status = 127;
  }
  result.status = status;
  result.what = outcome_of(status);
  return result;
}

// -- the record -------------------------------------------------------------------------------------------------------------

journal::Change OwedHook::change() const {
  Json json{{"from", from}, {"uri", uri}, {"command", command}, {"failures", failures}};
  return {"hook", key, json};
}

OwedHook OwedHook::from_row(const journal::Item& item) {
  const Json json = item.json();
  JsonReader reader(json, [&item](const std::string& what) { throw Error::tampered("catalog row hook " + item.id + ": " + what, "run kmtool doctor"); });
  OwedHook hook;
  hook.key = item.id;
  hook.from = reader.text("from");
  hook.uri = reader.text("uri");
  hook.command = reader.text("command");
  hook.failures = static_cast<int>(reader.integer("failures", 0, 1000000));
  reader.finish();
  return hook;
}

std::vector<OwedHook> owed_hooks(op::Context& context) {
  std::vector<OwedHook> hooks;
  for (const auto& item : context.journal().proven_all("hook")) hooks.push_back(OwedHook::from_row(item));
  return hooks;
}

bool any_hook_owed(op::Context& reader) { return !reader.journal().items("hook").empty(); }

void settle_hooks(op::Context& context, const std::vector<HookResult>& results) {
  for (const auto& result : results) {
    auto hook = result.hook;
    Json details{{"command", hook.command}, {"status", result.status}};
    if (result.what.empty()) {
      context.note("hook", hook.key, std::move(details), {{"hook", hook.key, std::nullopt}});
      continue;
    }
    ++hook.failures;
    details["what"] = result.what;
    context.note("hook failed", hook.key, std::move(details), {hook.change()});
  }
}

}  // namespace kmtool::rotate
