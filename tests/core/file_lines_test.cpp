#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "core/temp_dir.hpp"
#include "kmtool/core/file.hpp"

using namespace kmtool;
using namespace kmtool::test;

namespace {

std::vector<std::string> all_lines(LineReader& reader) {
  std::vector<std::string> lines;
  while (const auto line = reader.next()) lines.emplace_back(*line);
  return lines;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("lines and their numbers") {
  const TempDir dir;
  LineReader reader(dir.file("f", "one\n\nthree\r\n"), 100);
  CHECK(reader.line() == 0);
  CHECK(reader.next() == "one");
  CHECK(reader.line() == 1);
  CHECK(reader.next() == "");
  CHECK(reader.next() == "three\r");
  CHECK(reader.line() == 3);
  CHECK_FALSE(reader.next());
  CHECK_FALSE(reader.next());
  CHECK(reader.line() == 3);
  reader.rewind();
  CHECK(reader.line() == 0);
  CHECK(all_lines(reader) == Lines{"one", "", "three\r"});
  LineReader empty(dir.file("empty", ""), 100);
  CHECK_FALSE(empty.next());
}

TEST_CASE("the longest line allowed, and one byte more") {
  const TempDir dir;
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{65535}, std::size_t{65536}, std::size_t{65537}, std::size_t{200000}}) {
    const std::string line(size, 'x');
    LineReader exact(dir.file("f", "a\n" + line + "\nb\n"), size);
    CHECK(all_lines(exact) == Lines{"a", line, "b"});
    LineReader over(dir / "f", size - 1);
    if (size > 1) CHECK(over.next() == "a");
    const Error error = error_of([&] { over.next(); });
    CHECK(error.exit() == ExitCode::damaged);
    CHECK(error.message().find(size > 1 ? ": line 2: longer than" : ": line 1: longer than") != std::string::npos);
  }
  // Endless input without a line end stops at the limit.
  LineReader zeros(dir.file("zeros", std::string(1000000, '\0')), 1000);
  CHECK(exit_of([&] { zeros.next(); }) == ExitCode::damaged);
}

TEST_CASE("a last line without its end is damage") {
  const TempDir dir;
  LineReader reader(dir.file("f", "one\ntwo"), 100);
  CHECK(reader.next() == "one");
  const Error error = error_of([&] { reader.next(); });
  CHECK(error.exit() == ExitCode::damaged);
  CHECK(error.message().find("line 2: no line end") != std::string::npos);
}

TEST_CASE("many lines across many chunks") {
  const TempDir dir;
  std::string text;
  Lines expected;
  for (int i = 0; i < 20000; ++i) {
    expected.push_back(std::string(static_cast<std::size_t>(i % 37), 'y') + std::to_string(i));
    text += expected.back() + "\n";
  }
  LineReader reader(dir.file("f", text), 100);
  CHECK(all_lines(reader) == expected);
  reader.rewind();
  CHECK(all_lines(reader) == expected);
}

TEST_CASE("a pipe can be read twice") {
  const TempDir dir;
  const auto pipe_path = dir / "pipe";
  REQUIRE(mkfifo(pipe_path.c_str(), 0600) == 0);
  const std::string text = std::string(300000, 'p') + "\nend\n";
  std::thread writer([&] { std::ofstream(pipe_path) << text; });
  LineReader reader(pipe_path, 1 << 20);
  writer.join();
  CHECK(all_lines(reader) == Lines{std::string(300000, 'p'), "end"});
  reader.rewind();
  CHECK(all_lines(reader).size() == 2);
  CHECK(dir.entries() == 1);
}

TEST_CASE("standard input, even a file, can be read twice and its position is left alone") {
  const TempDir dir;
  const auto path = dir.file("in", "one\ntwo\n");
  const Fd saved(dup(STDIN_FILENO));
  const Fd input(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(dup2(input.get(), STDIN_FILENO) == STDIN_FILENO);
  LineReader reader("-", 100);
  CHECK(reader.name() == "standard input");
  CHECK(all_lines(reader) == Lines{"one", "two"});
  reader.rewind();
  CHECK(all_lines(reader) == Lines{"one", "two"});
  if (saved) {
    dup2(saved.get(), STDIN_FILENO);
  } else {
    close(STDIN_FILENO);
  }
}

TEST_CASE("what cannot be read") {
  const TempDir dir;
  CHECK(exit_of([&] { LineReader(dir / "none", 10); }) == ExitCode::missing);
  CHECK(exit_of([&] { LineReader(dir.path(), 10); }) == ExitCode::io);
}
