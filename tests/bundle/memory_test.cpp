#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

#include "fixture.hpp"
#include "kmtool/core/json.hpp"

/// No memory at the Nth allocation, for every N until a run completes: reading and writing bundles ends in bad_alloc, or in an Error
/// that speaks of the file, and never in a crash, a half-read result or a file under its final name. nlohmann's destructor
/// allocates and cannot throw: there the process ends at once with main's `out of memory`, which a journal survives as it survives a kill.

namespace {

thread_local long allocations_left = -1;  // -1: as many as asked for

void* allocate(std::size_t size) {
  if (allocations_left == 0) throw std::bad_alloc();
  if (allocations_left > 0) --allocations_left;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

using namespace kmtool;
using namespace kmtool::bundle;
using namespace kmtool::bundle::test;

namespace {

enum Ending { completed = 0, refused = 1, ended = 2, wrong = 3 };

template <typename Run>
Ending attempt(const Run& run, long n) {
  try {
    allocations_left = n;
    run();
    allocations_left = -1;
    return completed;
  } catch (const std::bad_alloc&) {  // what main reports as `out of memory`
    return refused;
  } catch (const Error& error) {
    return error.exit() == ExitCode::internal ? refused : wrong;
  }
}

/// The number of points at which memory ran out before a run completed. Each is tried in a process of its own.
template <typename Run>
int starve(const Run& run) {
  int at_once = 0;
  for (int n = 0;; ++n) {
    REQUIRE(n < 100000);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      std::set_terminate([] { _exit(ended); });  // as main has it
      _exit(attempt(run, n));
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CAPTURE(n);
    REQUIRE(WIFEXITED(status));
    REQUIRE(WEXITSTATUS(status) != wrong);
    if (WEXITSTATUS(status) == ended) ++at_once;
    if (WEXITSTATUS(status) == completed) {
      std::printf("out of memory at %d points, %d of them within the JSON library's destructor\n", n, at_once);
      return n;
    }
  }
}

}  // namespace

TEST_CASE("out of memory while a bundle is read") {
  const Sample sample;
  const int points = starve([&] {
    std::size_t records = 0;
    LineReader input(sample.path, max_line);
    const Summary summary = read(input, [&](const Record&, std::size_t) { ++records; });
    if (summary.file_digest != sample.digest) throw Error::tampered("another file was read");
    if (records != 2) throw Error::tampered("records were lost");
  });
  CHECK(points > 100);
}

TEST_CASE("out of memory while a bundle is written") {
  const Sample sample;
  const Header header = header_of(2, 1);
  const Record record = secret_record("payments", 0x40, 2);
  const Bytes der = sample.signer.sign(pattern(32, 1));
  const std::string signer = sample.signer.public_key().fingerprint();
  const auto target = sample.folder.file("starved.kmb");
  const int points = starve([&] {
    AtomicFile file(target, false);
    Writer writer(file, header);
    writer.add(record);
    writer.finish([](std::size_t, ByteView) { return Bytes(32, 7); }, [&](ByteView) { return der; }, signer);
    if (std::filesystem::exists(target)) throw Error::tampered("the file has its name before it was committed");
  });
  CHECK(points > 50);
  CHECK_FALSE(std::filesystem::exists(target));
}

TEST_CASE("out of memory while JSON is parsed") {
  const std::string text = R"({"a":[1,2,{"b":"a text that is longer than what a string holds within itself"}],"c":null})";
  const int points = starve([&] {
    const Json json = parse_json(text, [](const std::string& what) { throw Error::tampered(what); });
    if (dump_json(json) != text) throw Error::tampered("another document was read");
  });
  CHECK(points > 10);
}
