#include "kmtool/core/lock.hpp"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "core/temp_dir.hpp"

using namespace kmtool;
using namespace kmtool::test;
using namespace std::chrono_literals;

TEST_CASE("one holder at a time") {
  const TempDir dir;
  const auto path = dir / "token.lock";
  FileLock first = FileLock::acquire(path, 0ms);
  CHECK(first.held());
  CHECK(mode_of(path) == 0600);
  const auto begin = std::chrono::steady_clock::now();
  const Error error = error_of([&] { FileLock::acquire(path, 50ms); });
  CHECK(error.exit() == ExitCode::busy);
  CHECK(error.message().find("token.lock") != std::string::npos);
  CHECK(std::chrono::steady_clock::now() - begin >= 50ms);
  first.release();
  CHECK_FALSE(first.held());
  CHECK(FileLock::acquire(path, 0ms).held());
}

TEST_CASE("destruction releases, moving does not") {
  const TempDir dir;
  const auto path = dir / "lock";
  {
    FileLock outer;
    CHECK_FALSE(outer.held());
    {
      FileLock inner = FileLock::acquire(path, 0ms);
      outer = std::move(inner);
    }
    CHECK(exit_of([&] { FileLock::acquire(path, 0ms); }) == ExitCode::busy);
  }
  CHECK(FileLock::acquire(path, 0ms).held());
}

TEST_CASE("waiting ends when the holder lets go") {
  const TempDir dir;
  const auto path = dir / "lock";
  FileLock held = FileLock::acquire(path, 0ms);
  std::thread holder([&] {
    std::this_thread::sleep_for(30ms);
    held.release();
  });
  CHECK(FileLock::acquire(path, 10s).held());
  holder.join();
}

TEST_CASE("the lock of a killed process is free") {
  const TempDir dir;
  const auto path = dir / "lock";
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const FileLock lock = FileLock::acquire(path, 0ms);
    (void)!write(ready[1], "x", 1);
    pause();
    _exit(0);
  }
  char byte = 0;
  REQUIRE(read(ready[0], &byte, 1) == 1);
  CHECK(exit_of([&] { FileLock::acquire(path, 0ms); }) == ExitCode::busy);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  CHECK(FileLock::acquire(path, 1s).held());
  close(ready[0]);
  close(ready[1]);
}

TEST_CASE("a lock file that was replaced while we waited does not count") {
  const TempDir dir;
  const auto path = dir / "lock";
  FileLock old = FileLock::acquire(path, 0ms);
  std::filesystem::remove(path);
  FileLock fresh = FileLock::acquire(path, 0ms);  // another file, another lock
  CHECK(exit_of([&] { FileLock::acquire(path, 20ms); }) == ExitCode::busy);
}

TEST_CASE("where the file cannot be made") {
  const TempDir dir;
  CHECK(exit_of([&] { FileLock::acquire(dir / "missing/lock", 0ms); }) == ExitCode::missing);
  std::filesystem::create_symlink("/dev/null", dir / "link");
  CHECK(exit_of([&] { FileLock::acquire(dir / "link", 0ms); }) == ExitCode::io);
}
