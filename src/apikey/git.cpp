#include "apikey/git.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
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
  list.reserve(texts.size() + 1);
  for (auto& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

/// A running git and what it prints.
class Git {
 public:
  /// `input`: its standard input; -1: nothing.
  Git(const std::string& folder, std::vector<std::string> words, int input = -1) {
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
    if (input < 0) {
      posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    } else {
      posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    }
    posix_spawn_file_actions_adddup2(&actions, theirs.get(), STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    sigset_t defaults;
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    sigaddset(&defaults, SIGXFSZ);
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
  /// False where git ended before.
  bool take(std::uint64_t size, const std::function<void(ByteView)>& use) {
    while (size > 0) {
      if (at_ == buffer_.size() && !fill()) return false;
      const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(size, buffer_.size() - at_));
      use(ByteView(buffer_).subspan(at_, part));
      at_ += part;
      size -= part;
    }
    return true;
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

/// `ID TYPE SIZE`; nullopt for what git says of an object that it cannot read.
std::optional<GitObject> parse_object(const std::string& line) {
  const auto words = split(line, ' ');
  if (words.size() != 3) return std::nullopt;
  GitObject object{words[0], words[1]};
  const auto [end, error] = std::from_chars(words[2].data(), words[2].data() + words[2].size(), object.size);
  if (error != std::errc{} || end != words[2].data() + words[2].size()) return std::nullopt;
  return object;
}

/// A repository of which more objects are damaged is not one that one reads.
constexpr std::size_t most_starts = 100;

/// The ids of all objects, a line each, in a file of memory: git reads them from there, and where it gives up at a damaged object, the
/// next git begins behind that one.
class Ids {
 public:
  explicit Ids(const std::string& repository) : file_(memfd_create("kmtool-git", MFD_CLOEXEC)) {
    if (!file_) throw Error::from_errno("create", "a list of git objects", errno);
    Git git(repository, {"cat-file", "--batch-check=%(objectname)", "--batch-all-objects", "--unordered"});
    std::string text;
    const auto put = [&] {
      write_all(file_.get(), view(text), "a list of git objects");
      size_ += text.size();
      text.clear();
    };
    while (const auto line = git.line()) {
      text += *line + "\n";
      if (text.size() > (std::size_t{1} << 20)) put();
    }
    put();
    exit_ = git.wait();
  }
  [[nodiscard]] int exit() const { return exit_; }
  [[nodiscard]] bool at_end() const { return at_ >= size_; }
  /// The next one, and past it.
  std::string next() {
    std::array<char, 128> bytes{};
    const auto got = pread(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(at_));
    const std::string_view text(bytes.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
    const auto id = text.substr(0, text.find('\n'));
    at_ += id.size() + 1;
    return std::string(id);
  }
  /// A descriptor that stands before the next one.
  int from_here() {
    if (lseek(file_.get(), static_cast<off_t>(at_), SEEK_SET) < 0) throw Error::from_errno("read", "a list of git objects", errno);
    return file_.get();
  }

 private:
  Fd file_;
  std::uint64_t size_ = 0, at_ = 0;
  int exit_ = 0;
};

/// Objects until git ends; false where it gave up at one.
bool read_objects(Git& git, Ids& ids, const GitReader& reader) {
  while (const auto line = git.line()) {
    const auto id = ids.next();
    const auto object = parse_object(*line);
    if (!object) {
      reader.damaged("object " + id + " is damaged");
      continue;
    }
    reader.begin(*object);
    const bool whole = git.take(object->size, reader.bytes);
    reader.end();
    if (!whole) {
      reader.damaged("object " + id + " is damaged, and was read in part");
      return false;
    }
    git.take(1, [](ByteView) {});  // the LF behind it
  }
  if (git.wait() == 0 && ids.at_end()) return true;
  if (!ids.at_end()) reader.damaged("object " + ids.next() + " is damaged");
  return false;
}

std::optional<std::string> ask_git(const std::filesystem::path& folder, const char* what) {
  Git git(folder.string(), {"rev-parse", what});
  const auto line = git.line();
  return git.wait() == 0 && line && !line->empty() ? line : std::nullopt;
}

}  // namespace

std::string git_top(const std::filesystem::path& folder) { return ask_git(folder, "--show-toplevel").value_or(""); }

std::string git_folder(const std::filesystem::path& folder) {
  if (const auto line = ask_git(folder, "--absolute-git-dir")) return *line;
  throw Error::usage(printable(folder.string()) + " lies in no git repository that can be read", "leave --git out; where it belongs to somebody else: git config --global --add safe.directory");
}

void each_git_object(const std::string& repository, const GitReader& reader) {
  Ids ids(repository);
  if (ids.exit() != 0) reader.damaged("not every object could be listed");
  for (std::size_t starts = 0; !ids.at_end(); ++starts) {
    if (starts == most_starts) {
      reader.damaged("too many objects are damaged: the rest was not looked at");
      return;
    }
    Git git(repository, {"cat-file", "--batch", "--buffer"}, ids.from_here());
    if (read_objects(git, ids, reader)) return;
  }
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
