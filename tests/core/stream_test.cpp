#include "kmtool/core/stream.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <thread>

#include "temp_dir.hpp"

using namespace kmtool;
using namespace kmtool::test;

namespace {

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i * 7 % 23);
  return text;
}

/// Standard input becomes a pipe that somebody writes into, in uneven pieces, and is put back afterwards.
class Piped {
 public:
  explicit Piped(std::string text) : text_(std::move(text)), kept_(dup(STDIN_FILENO)) {
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    REQUIRE(dup2(ends[0], STDIN_FILENO) == STDIN_FILENO);
    close(ends[0]);
    writer_ = std::thread([this, fd = ends[1]] {
      std::size_t step = 1;
      for (std::size_t at = 0; at < text_.size(); at += step) {
        step = std::min(step * 3 % 100003 + 1, text_.size() - at);
        write_all(fd, view(text_).subspan(at, step), "pipe");
      }
      close(fd);
    });
  }
  ~Piped() {
    writer_.join();
    dup2(kept_.get(), STDIN_FILENO);
  }

 private:
  std::string text_;
  Fd kept_;
  std::thread writer_;
};

std::string rest_of(InStream& in, std::size_t step) {
  std::string out;
  for (ByteView part = in.take(step); !part.empty(); part = in.take(step)) {
    CHECK(part.size() <= step);
    out += to_text(part);
  }
  CHECK(in.ended());
  return out;
}

void check_all(InStream& in, const std::string& text) {
  CHECK(in.line(10) == "head");
  CHECK_FALSE(in.line(10).has_value());  // nothing is taken where no line ends
  CHECK(to_text(in.take(100)) == text.substr(5, 100));
  in.mark();
  CHECK(rest_of(in, 65536) == text.substr(105));
  in.rewind();
  CHECK(in.fill(1000) >= 1000);
  CHECK_FALSE(in.ended());
  CHECK(rest_of(in, 70000) == text.substr(105));
  in.rewind();
  CHECK(to_text(in.take(3)) == text.substr(105, 3));
}

}  // namespace

TEST_CASE("a file is read in pieces, by lines, and again from a mark") {
  const TempDir dir;
  const std::string text = "head\n" + pattern(5000000);
  InStream in(dir.file("f", text));
  CHECK(in.size() == text.size());
  check_all(in, text);
}

TEST_CASE("so is a pipe, and nobody knows how long it is") {
  const std::string text = "head\n" + pattern(5000000);
  const Piped pipe(text);
  InStream in("-");
  CHECK_FALSE(in.size().has_value());
  check_all(in, text);
}

TEST_CASE("fill reads ahead and no further than it may") {
  const TempDir dir;
  InStream in(dir.file("f", pattern(3000000)));
  CHECK(in.fill(10) >= 10);
  CHECK(in.fill(2 * InStream::most_ahead) == InStream::most_ahead);
  InStream small(dir.file("g", "abc"));
  CHECK(small.fill(3) == 3);
  CHECK(small.fill(4) == 3);
  CHECK(small.ended());
  CHECK(small.take(10).size() == 3);
  CHECK(small.take(10).empty());
  CHECK_FALSE(small.line(5).has_value());
  CHECK(exit_of([&] { InStream none(dir / "none"); }) == ExitCode::missing);
  CHECK(exit_of([&] { InStream folder(dir.path()); }) == ExitCode::io);
}

TEST_CASE("a file appears when it is finished, and not before") {
  const TempDir dir;
  {
    OutStream out(dir / "o", false);
    CHECK(out.is_file());
    CHECK_FALSE(out.is_terminal());
    out.write(view("abc"));
    CHECK_FALSE(std::filesystem::exists(dir / "o"));
    out.finish();
    CHECK(slurp(dir / "o") == "abc");
    CHECK(mode_of(dir / "o") == 0600);
  }
  { OutStream left(dir / "p", false); }
  CHECK(dir.entries() == 1);
  CHECK(exit_of([&] { OutStream again(dir / "o", false); }) == ExitCode::exists);
  CHECK_FALSE(OutStream("-", false).is_file());
}
