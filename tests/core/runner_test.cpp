#include "kmtool/core/runner.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <chrono>

#include "core/temp_dir.hpp"

using namespace kmtool;
using kmtool::test::TempDir;

namespace {

std::string script(const TempDir& dir, const std::string& name, const std::string& text) {
  const auto path = dir / name;
  write_private_file(path, view("#!/bin/sh\n" + text), true);
  chmod(path.c_str(), 0700);
  return path.string();
}

int exit_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    return static_cast<int>(error.exit());
  }
  return 0;
}

}  // namespace

TEST_CASE("a program gets its words, its input and its own environment, and its exit code comes back") {
  const TempDir dir;
  Runner runner;
  const auto out = (dir / "out").string();
  setenv("KM_OF_THE_CALLER", "x", 1);
  Runner::Job job;
  job.words = {script(dir, "a", "{ cat; echo \"$#:$2:$MINE:$KM_OF_THE_CALLER\"; } > \"$1\"; exit 3\n"), out, "a b;c $HOME"};
  job.environment = {"MINE=yes no"};
  const std::string input = "line\n" + std::string(20000, 'x') + "\n";
  job.input = input;
  CHECK(runner.run(job) == 3);
  CHECK(read_file(out) == input + "2:a b;c $HOME:yes no:\n");
  job.input = {};
  CHECK(runner.run(job) == 3);
  CHECK(read_file(out) == "2:a b;c $HOME:yes no:\n");
  job.words = {"/bin/true"};
  CHECK(runner.run(job) == 0);
  job.words = {(dir / "absent").string()};
  CHECK(runner.run(job) == 127);
  const std::string too_long(40000, 'x');
  job.words = {"/bin/true"};
  job.input = too_long;
  CHECK(runner.run(job) == 127);
}

TEST_CASE("a program that does not end is ended, and what it started with it") {
  const TempDir dir;
  Runner runner;
  Runner::Job job;
  job.words = {script(dir, "hang", "sleep 600 & sleep 600\n")};
  job.longest = std::chrono::seconds(1);
  const auto begun = std::chrono::steady_clock::now();
  CHECK(runner.run(job) == 128 + 9);
  CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(30));
  job.words = {"/bin/true"};
  CHECK(runner.run(job) == 0);
  CHECK(Runner::outcome_of(0).empty());
  CHECK(Runner::outcome_of(137) == "was ended by signal 9");
  CHECK(Runner::outcome_of(3) == "ended with exit code 3");
}

TEST_CASE("a command is words; who may not be trusted is not started") {
  const TempDir dir;
  const auto good = script(dir, "good", "exit 0\n");
  CHECK(command_words("  " + good + "  a  b ", "--hook") == std::vector<std::string>{good, "a", "b"});
  CHECK(command_words("true", "--hook").at(0).ends_with("/true"));
  CHECK(exit_of([&] { command_words("", "--hook"); }) == 64);
  CHECK(exit_of([&] { command_words("a\nb", "--hook"); }) == 64);
  CHECK(exit_of([&] { command_words("./relative", "--hook"); }) == 64);
  CHECK(exit_of([&] { command_words((dir / "absent").string(), "--hook"); }) == 66);
  chmod(good.c_str(), 0600);
  CHECK(exit_of([&] { command_words(good, "--hook"); }) == 78);
  chmod(good.c_str(), 0777);
  CHECK(exit_of([&] { command_words(good, "--hook"); }) == 78);
}
