#include "apikey/git.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstring>
#include <optional>
#include <vector>

#include "kmtool/core/error.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"

extern char** environ;

namespace kmtool::apikey {

namespace {

std::vector<std::string> environment_of_git() {
  std::vector<std::string> variables{"GIT_OPTIONAL_LOCKS=0", "GIT_NO_REPLACE_OBJECTS=1", "GIT_NO_LAZY_FETCH=1", "GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=", "LC_ALL=C"};
  for (char** each = environ; *each != nullptr; ++each) {
    for (const char* name : {"PATH=", "HOME=", "XDG_CONFIG_HOME="}) {
      if (std::strncmp(*each, name, std::strlen(name)) == 0) variables.emplace_back(*each);
    }
  }
  return variables;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (auto& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

/// A running git and what it prints.
class Git {
 public:
  Git(const std::string& folder, std::vector<std::string> words) {
    std::vector<std::string> all{"git", "-C", folder, "--no-pager", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false"};
    all.insert(all.end(), words.begin(), words.end());
    int ends[2] = {-1, -1};
    if (pipe2(ends, O_CLOEXEC) != 0) throw Error::from_errno("make a pipe", "git", errno);
    output_ = Fd(ends[0]);
    const Fd theirs(ends[1]);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, theirs.get(), STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    sigset_t defaults;
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    auto variables = environment_of_git();
    const int rc = posix_spawnp(&pid_, "git", &actions, &attributes, pointers(all).data(), pointers(variables).data());
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (rc != 0) throw Error::from_errno("start", "git", rc);
  }
  Git(const Git&) = delete;
  Git& operator=(const Git&) = delete;
  ~Git() {
    if (pid_ <= 0) return;
    kill(pid_, SIGTERM);
    wait();
  }

  /// False at the end.
  bool fill() {
    if (at_ > 0) buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(at_));
    at_ = 0;
    const std::size_t before = buffer_.size();
    buffer_.resize(before + (std::size_t{256} << 10));
    ssize_t got = -1;
    do got = read(output_.get(), buffer_.data() + before, buffer_.size() - before);
    while (got < 0 && errno == EINTR);
    if (got < 0) throw Error::from_errno("read", "git", errno);
    buffer_.resize(before + static_cast<std::size_t>(got));
    return got > 0;
  }
  std::optional<std::string> line() {
    for (;;) {
      const auto begin = buffer_.begin() + static_cast<std::ptrdiff_t>(at_);
      const auto end = std::find(begin, buffer_.end(), '\n');
      if (end != buffer_.end()) {
        std::string text(begin, end);
        at_ += text.size() + 1;
        return text;
      }
      if (!fill()) return std::nullopt;
    }
  }
  void take(std::uint64_t size, const std::function<void(ByteView)>& use) {
    while (size > 0) {
      if (at_ == buffer_.size() && !fill()) throw Error::io("git ended in the middle of an object", "run git fsck");
      const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(size, buffer_.size() - at_));
      use(ByteView(buffer_).subspan(at_, part));
      at_ += part;
      size -= part;
    }
  }
  int wait() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  }

 private:
  pid_t pid_ = -1;
  Fd output_;
  Bytes buffer_;
  std::size_t at_ = 0;
};

GitObject parse_object(const std::string& line) {
  const auto words = split(line, ' ');
  GitObject object;
  if (words.size() != 3) throw Error::io("git said " + printable(line) + " where an object was expected", "run git fsck");
  object.id = words[0];
  object.type = words[1];
  const auto [end, error] = std::from_chars(words[2].data(), words[2].data() + words[2].size(), object.size);
  if (error != std::errc{} || end != words[2].data() + words[2].size()) throw Error::io("git gave an object without a size");
  return object;
}

}  // namespace

std::string git_folder(const std::filesystem::path& folder) {
  Git git(folder.string(), {"rev-parse", "--absolute-git-dir"});
  const auto line = git.line();
  if (git.wait() == 0 && line && !line->empty()) return *line;
  throw Error::usage(printable(folder.string()) + " lies in no git repository that can be read", "leave --git out; where it belongs to somebody else: git config --global --add safe.directory");
}

void each_git_object(const std::string& repository, const std::function<void(const GitObject&)>& begin, const std::function<void(ByteView)>& bytes,
                     const std::function<void()>& end) {
  Git git(repository, {"cat-file", "--batch", "--batch-all-objects", "--unordered", "--buffer"});
  while (const auto line = git.line()) {
    const auto object = parse_object(*line);
    begin(object);
    git.take(object.size, bytes);
    end();
    git.take(1, [](ByteView) {});  // the LF behind it
  }
  const int exit = git.wait();
  if (exit != 0) throw Error::io(fmt::format("git cat-file failed with {}: not every object was looked at", exit), "run git fsck");
}

void name_object(const std::string& repository, const std::string& object, std::string& commit, std::string& path) {
  Git git(repository, {"log", "--all", "--reverse", "--no-textconv", "--no-ext-diff", "--no-renames", "-m", "--format=commit %H", "--name-only", "--find-object=" + object});
  while (const auto line = git.line()) {
    if (line->starts_with("commit ")) {
      if (!commit.empty()) break;
      commit = line->substr(7);
    } else if (!line->empty() && path.empty()) {
      path = *line;
    }
  }
}

}  // namespace kmtool::apikey
