#include "serve/state.hpp"

#include <doctest/doctest.h>

#include "core/temp_dir.hpp"
#include "kmtool/core/file.hpp"
#include "serve/answer.hpp"
#include "serve/metrics.hpp"
#include "serve/registry.hpp"

using namespace kmtool;
using namespace kmtool::serve;
using namespace kmtool::test;

namespace {
const std::string home = "6f0c1c52-7d3b-4c39-9a55-0a2f0f6c7d11", other = "6f0c1c52-7d3b-4c39-9a55-0a2f0f6c7d12";
}

TEST_CASE("the sequence only goes up, also over a restart") {
  const TempDir dir;
  {
    State state(dir / "state");
    CHECK(state.home().empty());
    state.advance(home, 3, "aa");
    state.advance(home, 3, "aa");
    CHECK_NOTHROW(state.require(home, 5, "bb"));
    CHECK(state.sequence() == 3);
    state.advance(home, 5, "bb");
    CHECK_NOTHROW(state.require(home, 5, "bb"));
    CHECK(error_of([&] { state.require(home, 4, "cc"); }).exit() == ExitCode::refused);
    CHECK(error_of([&] { state.advance(home, 4, "cc"); }).exit() == ExitCode::refused);
    CHECK(error_of([&] { state.advance(home, 5, "cc"); }).exit() == ExitCode::refused);
    CHECK(error_of([&] { state.advance(other, 9, "cc"); }).exit() == ExitCode::refused);
    CHECK(error_of([&] { State twice(dir / "state"); }).exit() == ExitCode::busy);
  }
  State again(dir / "state");
  CHECK(again.home() == home);
  CHECK(again.sequence() == 5);
  CHECK(error_of([&] { again.advance(home, 4, "cc"); }).exit() == ExitCode::refused);
  again.advance(home, 5, "bb");
  CHECK(mode_of(dir / "state" / "sequence") == 0600);
}

TEST_CASE("what could not be written is not remembered") {
  const TempDir dir;
  State state(dir / "state");
  state.advance(home, 1, "aa");
  fs::rename(dir / "state", dir / "aside");
  CHECK_THROWS_AS(state.advance(home, 2, "bb"), Error);
  CHECK(state.sequence() == 1);
  fs::rename(dir / "aside", dir / "state");
  state.advance(home, 2, "bb");
  CHECK(state.sequence() == 2);
}

TEST_CASE("a file in another spelling is not believed") {
  const TempDir dir;
  { State(dir / "state").advance(home, 7, "aa"); }
  const std::string good = read_file(dir / "state" / "sequence");
  for (const std::string& text : {std::string(), good.substr(1), good + " ", good + good, std::string("{\"kmserve\":1}\n")}) {
    write_private_file(dir / "state" / "sequence", view(text), true);
    CHECK(error_of([&] { State state(dir / "state"); }).exit() == ExitCode::damaged);
  }
  write_private_file(dir / "state" / "sequence", view(good), true);
  CHECK(State(dir / "state").sequence() == 7);
}

TEST_CASE("what time it must be: a clock may be corrected, jump ahead for a while, and be set back") {
  using namespace std::chrono_literals;
  KnownTime known;
  KnownTime::Steady start{};
  CHECK(known.get() == 0);
  known.look(1000, start);
  CHECK(known.get() == 1000);
  known.look(1013, start + 10s);
  CHECK(known.get() == 1013);  // corrected by three seconds
  known.look(400, start + 20s);
  CHECK(known.get() == 1023);  // time passes all the same
  known.look(90000, start + 30s);
  known.look(90500, start + 530s);
  CHECK(known.get() == 1533);
  known.look(1534, start + 531s);
  CHECK(known.get() == 1534);  // put right before it counted
  known.look(90000, start + 540s);
  known.look(90599, start + 1139s);
  CHECK(known.get() == 2142);
  known.look(900000, start + 1140s);
  CHECK(known.get() == 90600);  // ten minutes; but not what is said in that moment
  known.look(2143, start + 1150s);
  CHECK(known.get() == 90610);
  known.agreed(2160, start + 1160s);
  CHECK(known.get() == 2160);
  known.look(2161, start + 1161s);
  CHECK(known.get() == 2161);
}

TEST_CASE("answers") {
  Answer answer;
  answer.status = 401;
  answer.body = "no\n";
  answer.add("X-A", "b");
  answer.add("X-Empty", "");
  answer.add("X-Split", "a\r\nX-Injected: b");
  std::string out;
  append_answer(out, answer, "D", true, false);
  CHECK(out ==
        "HTTP/1.1 401 Unauthorized\r\nDate: D\r\nCache-Control: no-store\r\nX-A: b\r\nContent-Length: 3\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\nno\n");
  out.clear();
  append_answer(out, answer, "D", false, true);
  CHECK(out.ends_with("charset=utf-8\r\n\r\n"));
  CHECK(http_date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT");
}

TEST_CASE("the histogram's buckets add up") {
  std::vector<std::unique_ptr<Counters>> threads;
  threads.push_back(std::make_unique<Counters>());
  threads.push_back(std::make_unique<Counters>());
  threads[0]->observe(4000);
  threads[1]->observe(5001);
  threads[1]->observe(5'000'000'000);
  const std::string text = metrics_text(threads, {});
  for (const auto* line :
       {"bucket{le=\"5e-06\"} 1", "bucket{le=\"1e-05\"} 2", "bucket{le=\"1\"} 2", "bucket{le=\"+Inf\"} 3", "count 3"}) {
    CAPTURE(line);
    CHECK(text.find(std::string("\nkmtool_apikey_check_seconds_") + line + "\n") != std::string::npos);
  }
}
