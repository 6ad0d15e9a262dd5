#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "fixture.hpp"

extern char** environ;

namespace kmtool::home {
namespace {

std::string pin_of(const std::string& source) { return revealed(read_pin(PinSource::parse(source), true)); }
int refusal_of(const std::string& source) {
  return exit_of([&] { read_pin(PinSource::parse(source), true); });
}

TEST_CASE("PIN sources are told apart") {
  using Kind = PinSource::Kind;
  struct Case {
    const char* text;
    Kind kind;
    const char* value;
  };
  for (const auto& [given, kind, value] : std::initializer_list<Case>{
           {"file:/run/pin", Kind::file, "/run/pin"},
           {"file:pin", Kind::file, "pin"},
           {"file:/a%20b", Kind::file, "/a%20b"},
           {"file:///run/my%20pin", Kind::file, "/run/my pin"},
           {"file://localhost/run/pin", Kind::file, "/run/pin"},
           {"/run/pin", Kind::file, "/run/pin"},
           {"fd:3", Kind::fd, "3"},
           {"env:MY_PIN", Kind::env, "MY_PIN"},
           {"exec:pass show 'my pin'", Kind::exec, "pass show 'my pin'"},
           {"prompt", Kind::prompt, ""},
       }) {
    const std::string text = given;
    CAPTURE(text);
    const auto source = PinSource::parse(text);
    CHECK(source.kind == kind);
    CHECK(source.value == value);
  }
}

TEST_CASE("PIN sources of any other form are refused, and not repeated") {
  for (const char* text :
       {"",      "1234",   "pin:1234", "file:",  "file://elsewhere/pin", "file:///%zz", "file:///%00", "file://",
        "fd:",   "fd:x",   "fd:-1",    "fd:3x",  "fd:99999999999",       "env:",        "env:A-B",     "env:1A",
        "exec:", "exec: ", "exec:'",   "prompt:"}) {
    CAPTURE(text);
    std::string message;
    CHECK(exit_of([&] { PinSource::parse(text); }, &message) == 64);
    CHECK(message.find("1234") == std::string::npos);
  }
}

TEST_CASE("a PIN file must be private") {
  const Scratch scratch;
  CHECK(pin_of("file:" + put(scratch / "pin", "s3cret\n")) == "s3cret");
  CHECK(pin_of("file:" + put(scratch / "dos", "s3cret\r\n", 0400)) == "s3cret");
  CHECK(pin_of("file:" + put(scratch / "bare", "s3 cret")) == "s3 cret");
  CHECK(pin_of("file:" + put(scratch / "two", "a\n\n")) == "a\n");
  CHECK(refusal_of("file:" + put(scratch / "open", "1234\n", 0644)) == 78);
  CHECK(refusal_of("file:" + put(scratch / "group", "1234\n", 0620)) == 78);
  std::filesystem::create_symlink(scratch / "pin", scratch / "link");
  CHECK(refusal_of("file:" + (scratch / "link").string()) == 78);
  CHECK(refusal_of("file:" + (scratch / "none").string()) == 66);
  CHECK(refusal_of("file:" + (scratch / ".").string()) == 78);
  CHECK(refusal_of("file:" + put(scratch / "empty", "\n")) == 77);
  CHECK(refusal_of("file:" + put(scratch / "nul", std::string("12\0"
                                                              "34",
                                                              5))) == 77);
  CHECK(refusal_of("file:" + put(scratch / "long", std::string(5000, '1'))) == 77);
}

TEST_CASE("a file descriptor gives one line, and what follows it stays") {
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  REQUIRE(write(ends[1], "1234\nrest", 9) == 9);
  CHECK(pin_of("fd:" + std::to_string(ends[0])) == "1234");
  std::array<char, 4> rest{};
  CHECK(read(ends[0], rest.data(), rest.size()) == 4);
  CHECK(std::string(rest.begin(), rest.end()) == "rest");
  close(ends[1]);
  CHECK(refusal_of("fd:" + std::to_string(ends[0])) == 77);
  close(ends[0]);
  CHECK(refusal_of("fd:" + std::to_string(ends[0])) == 66);
}

TEST_CASE("a PIN in the environment is gone afterwards") {
  setenv("KMTOOL_TEST_PIN", "hush-5521", 1);
  const char* where = getenv("KMTOOL_TEST_PIN");
  CHECK(pin_of("env:KMTOOL_TEST_PIN") == "hush-5521");
  CHECK(getenv("KMTOOL_TEST_PIN") == nullptr);
  CHECK(std::string_view(where, 1) == std::string_view("\0", 1));
  CHECK(refusal_of("env:KMTOOL_TEST_PIN") == 66);
}

TEST_CASE("a PIN command runs without a shell and without our environment") {
  const Scratch scratch;
  CHECK(pin_of("exec:printf '%s\\n' 12' 'x") == "12 x");
  CHECK(pin_of("exec:echo $HOME;") == "$HOME;");
  setenv("KMTOOL_TEST_SECRET", "leaked", 1);
  const std::string all = pin_of("exec:env");
  unsetenv("KMTOOL_TEST_SECRET");
  CHECK(all.find("leaked") == std::string::npos);
  CHECK(all.find("PATH=") != std::string::npos);
  CHECK(refusal_of("exec:false") == 77);
  CHECK(refusal_of("exec:sh -c 'echo 1234; exit 3'") == 77);
  CHECK(refusal_of("exec:sh -c 'kill -9 $$'") == 77);
  CHECK(refusal_of("exec:true") == 77);
  CHECK(refusal_of("exec:yes") == 77);
  CHECK(refusal_of("exec:" + (scratch / "none").string()) == 66);
}

TEST_CASE("no prompt where nobody can be asked") { CHECK(refusal_of("prompt") == 77); }

/// A child with a terminal of its own that asks for a PIN and says on the terminal what came of it.
class Asked {
 public:
  Asked() {
    child_ = forkpty(&terminal_, nullptr, nullptr, nullptr);
    if (child_ == 0) {
      std::string said;
      const int exit = exit_of([&] { said = "got " + revealed(read_pin(PinSource{}, false)); }, &said);
      said += "\n";
      _exit(write(1, said.data(), said.size()) < 0 ? 99 : exit);
    }
  }
  Asked(const Asked&) = delete;
  Asked& operator=(const Asked&) = delete;
  ~Asked() {
    close(terminal_);
    if (child_ > 0) kill(child_, SIGKILL), waitpid(child_, nullptr, 0);
  }
  void type(const std::string& text) { REQUIRE(write(terminal_, text.data(), text.size()) == static_cast<ssize_t>(text.size())); }
  /// What stands on the terminal once `text` does.
  std::string seen_until(const std::string& text) {
    std::array<char, 256> buffer{};
    while (seen_.find(text) == std::string::npos) {
      const ssize_t n = read(terminal_, buffer.data(), buffer.size());
      if (n <= 0) break;
      seen_.append(buffer.data(), static_cast<std::size_t>(n));
    }
    return seen_;
  }
  [[nodiscard]] bool echoes() const {
    termios state{};
    tcgetattr(terminal_, &state);
    return (state.c_lflag & ECHO) != 0;
  }
  int wait() {
    int status = 0;
    waitpid(child_, &status, 0);
    child_ = 0;
    return status;
  }

 private:
  int terminal_ = -1;
  pid_t child_ = -1;
  std::string seen_;
};

TEST_CASE("the prompt does not echo, and puts the terminal back") {
  Asked asked;
  asked.seen_until("PIN: ");
  CHECK_FALSE(asked.echoes());
  asked.type("9876\n");
  const std::string seen = asked.seen_until("got ");
  CHECK(asked.seen_until("9876\r\n").find("9876") > seen.find("got "));
  CHECK(asked.echoes());
  CHECK(WEXITSTATUS(asked.wait()) == 0);
}

TEST_CASE("an interrupt at the prompt puts the terminal back") {
  Asked asked;
  asked.seen_until("PIN: ");
  CHECK_FALSE(asked.echoes());
  asked.type("98\x03");
  const int status = asked.wait();
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGINT);
  CHECK(asked.echoes());
}

TEST_CASE("an empty line at the prompt is refused") {
  Asked asked;
  asked.seen_until("PIN: ");
  asked.type("\n");
  CHECK(WEXITSTATUS(asked.wait()) == 77);
}

}  // namespace
}  // namespace kmtool::home
