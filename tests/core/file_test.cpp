#include "kmtool/core/file.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/temp_dir.hpp"

using namespace kmtool;
using namespace kmtool::test;

TEST_CASE("a descriptor is closed once, by its last owner") {
  const int raw = open("/dev/null", O_RDONLY | O_CLOEXEC);
  {
    Fd first(raw);
    Fd second(std::move(first));
    CHECK_FALSE(first);  // NOLINT
    CHECK(second.get() == raw);
    Fd third;
    third = std::move(second);
    CHECK(third.get() == raw);
    CHECK(fcntl(raw, F_GETFD) != -1);
  }
  CHECK(fcntl(raw, F_GETFD) == -1);
}

TEST_CASE("read_file") {
  const TempDir dir;
  CHECK(read_file(dir.file("empty", "")).empty());
  const std::string text(200000, 'x');
  CHECK(read_file(dir.file("large", text)) == text);
  CHECK(read_file(dir / "large", 200000) == text);
  CHECK(exit_of([&] { read_file(dir / "large", 199999); }) == ExitCode::damaged);
  CHECK(exit_of([&] { read_file(dir / "none"); }) == ExitCode::missing);
  CHECK(exit_of([&] { read_file(dir / "large/below"); }) == ExitCode::missing);
  CHECK(exit_of([&] { read_file(dir.path()); }) == ExitCode::io);
  // A device has no size beforehand; an endless one ends at the limit.
  CHECK(exit_of([] { read_file("/dev/zero", 100000); }) == ExitCode::damaged);
}

TEST_CASE("write_all tells of a full disk") {
  const Fd full(open("/dev/full", O_WRONLY | O_CLOEXEC));
  REQUIRE(full);
  const Error error = error_of([&] { write_all(full.get(), view("x"), "bundle.kmb"); });
  CHECK(error.exit() == ExitCode::io);
  CHECK(error.message() == "cannot write bundle.kmb: no space left on device");
  write_all(-1, {}, "nothing to write needs no descriptor");
}

TEST_CASE("make_private_dir") {
  const TempDir dir;
  const mode_t old = umask(0);
  make_private_dir(dir / "a/b/c");
  umask(old);
  CHECK(mode_of(dir / "a") == 0700);
  CHECK(mode_of(dir / "a/b/c") == 0700);
  make_private_dir(dir / "a/b/c");
  make_private_dir(dir / "a/d/");
  CHECK(fs::is_directory(dir / "a/d"));
  const auto file = dir.file("file", "");
  CHECK(exit_of([&] { make_private_dir(file); }) == ExitCode::exists);
  CHECK(exit_of([&] { make_private_dir(file / "below"); }) == ExitCode::exists);
}

TEST_CASE("fsync_path") {
  const TempDir dir;
  fsync_path(dir.path());
  fsync_path(dir.file("file", "x"));
  CHECK(exit_of([&] { fsync_path(dir / "none"); }) == ExitCode::io);
}

TEST_CASE("a secret is written past the buffer, into a nameless file too, behind what was written before") {
  const TempDir dir;
  for (const bool nameless : {false, true}) {
    const auto target = dir / (nameless ? "nameless" : "named");
    auto file = nameless ? AtomicFile(target, false, AtomicFile::Nameless{}) : AtomicFile(target, false);
    file.write(std::string_view("secret: "));
    file.write_unbuffered(view("open sesame"));
    file.commit();
    CHECK(slurp(target) == "secret: open sesame");
    CHECK(exit_of([&] { file.write_unbuffered(view("x")); }) == ExitCode::internal);
  }
}

TEST_CASE("a nameless file leaves nothing, and appears as any other") {
  const TempDir dir;
  const auto target = dir / "out";
  for (const bool overwrite : {false, true}) {
    AtomicFile file(target, overwrite, AtomicFile::Nameless{});
    file.write(std::string_view("half"));
    file.sync();
    CHECK(dir.entries() == (overwrite ? 1 : 0));  // where /tmp could not do it, this is the test that says so
    file.write(std::string_view(" and half"));
    file.commit();
    CHECK(slurp(target) == "half and half");
    CHECK(mode_of(target) == 0600);
    CHECK(dir.entries() == 1);
  }
  CHECK(exit_of([&] { AtomicFile(target, false, AtomicFile::Nameless{}); }) == ExitCode::exists);
  CHECK(exit_of([&] { AtomicFile(dir / "none/out", false, AtomicFile::Nameless{}); }) == ExitCode::exists);
  AtomicFile file(dir / "late", false, AtomicFile::Nameless{});
  const auto late = dir.file("late", "somebody else's");
  CHECK(exit_of([&] { file.commit(); }) == ExitCode::exists);
  CHECK(slurp(late) == "somebody else's");
}

TEST_CASE("an atomic file appears whole or not at all") {
  const TempDir dir;
  const auto target = dir / "out";
  {
    AtomicFile file(target, false);
    file.write(std::string_view("half"));
    file.sync();
    CHECK_FALSE(fs::exists(target));
    CHECK(slurp(file.temporary()) == "half");
    CHECK(mode_of(file.temporary()) == 0600);
    CHECK(file.temporary().parent_path() == dir.path());
    CHECK(file.temporary().filename().string().starts_with(".out."));
    CHECK(file.temporary().filename().string().ends_with(".kmtmp"));
  }
  CHECK(dir.entries() == 0);
  AtomicFile file(target, false);
  std::string expected;
  for (int i = 0; i < 30000; ++i) {
    const std::string line = "line " + std::to_string(i) + "\n";
    file.write(std::string_view(line));
    expected += line;
  }
  const std::string large(300000, 'L');
  file.write(std::string_view(large));
  file.write(std::string_view("end"));
  file.commit();
  CHECK(slurp(target) == expected + large + "end");
  CHECK(mode_of(target) == 0600);
  CHECK(dir.entries() == 1);
  CHECK(exit_of([&] { file.write(std::string_view("more")); }) == ExitCode::internal);
  CHECK(exit_of([&] { file.commit(); }) == ExitCode::internal);
}

TEST_CASE("nothing is overwritten unasked") {
  const TempDir dir;
  const auto target = dir.file("out", "precious");
  CHECK(exit_of([&] { AtomicFile(target, false); }) == ExitCode::exists);
  CHECK(error_of([&] { AtomicFile(target, false); }).hint().find("--force") != std::string::npos);
  {
    AtomicFile file(target, true);
    file.write(std::string_view("new"));
    CHECK(slurp(target) == "precious");
    file.commit();
  }
  CHECK(slurp(target) == "new");
  // Even a link that leads nowhere is a name that is taken.
  fs::create_symlink("nowhere", dir / "link");
  CHECK(exit_of([&] { AtomicFile(dir / "link", false); }) == ExitCode::exists);
  CHECK(exit_of([&] { AtomicFile(dir.path(), true); }) == ExitCode::exists);
  CHECK(dir.entries() == 2);
}

TEST_CASE("a file that appeared meanwhile is not lost") {
  const TempDir dir;
  const auto target = dir / "out";
  {
    AtomicFile file(target, false);
    file.write(std::string_view("ours"));
    (void)dir.file("out", "theirs");
    CHECK(exit_of([&] { file.commit(); }) == ExitCode::exists);
  }
  CHECK(slurp(target) == "theirs");
  CHECK(dir.entries() == 1);
}

TEST_CASE("overwriting a symbolic link replaces the link, not what it points to") {
  const TempDir dir;
  const auto elsewhere = dir.file("elsewhere", "untouched");
  fs::create_symlink(elsewhere, dir / "link");
  write_private_file(dir / "link", view("new"), true);
  CHECK(slurp(elsewhere) == "untouched");
  CHECK_FALSE(fs::is_symlink(dir / "link"));
  CHECK(slurp(dir / "link") == "new");
}

TEST_CASE("a temporary with a name of its own") {
  const TempDir dir;
  AtomicFile file(dir / "out", false, ".out.intent.kmtmp");
  CHECK(file.temporary() == dir / ".out.intent.kmtmp");
  CHECK(exit_of([&] { AtomicFile(dir / "out", false, dir / ".out.intent.kmtmp"); }) == ExitCode::exists);
  CHECK(fs::exists(dir / ".out.intent.kmtmp"));  // the failed second one did not remove the first's
  AtomicFile moved(std::move(file));
  moved.write(std::string_view("x"));
  moved.commit();
  CHECK(slurp(dir / "out") == "x");
  CHECK(dir.entries() == 1);
}

TEST_CASE("a folder that does not take the file") {
  const TempDir dir;
  const Error error = error_of([&] { AtomicFile(dir / "none/out", false); });
  CHECK(error.exit() == ExitCode::exists);
  CHECK(error.message().find("cannot be created") != std::string::npos);
  const auto file = dir.file("file", "");
  CHECK(exit_of([&] { AtomicFile(file / "out", false); }) == ExitCode::exists);
  CHECK(exit_of([&] { AtomicFile(dir / std::string(300, 'n'), false); }) == ExitCode::exists);
  // The longest name a file system takes still leaves room for the temporary's.
  write_private_file(dir / std::string(255, 'n'), view("x"), false);
  CHECK(slurp(dir / std::string(255, 'n')) == "x");
}

TEST_CASE("check_output") {
  const TempDir dir;
  CHECK(check_output(dir / "out", false) == dir / "out");
  CHECK(check_output("out-of-check", false).is_absolute());
  const auto file = dir.file("taken", "");
  CHECK(exit_of([&] { check_output(file, false); }) == ExitCode::exists);
  CHECK(check_output(file, true) == file);
  CHECK(exit_of([&] { check_output(dir / "none/out", false); }) == ExitCode::exists);
  CHECK(exit_of([&] { check_output(file / "out", false); }) == ExitCode::exists);
  CHECK(exit_of([&] { check_output(dir.path(), true); }) == ExitCode::exists);
  CHECK(exit_of([&] { check_output("/dev/null", true); }) == ExitCode::exists);
  CHECK(exit_of([] { check_output("", false); }) == ExitCode::exists);
  CHECK(exit_of([&] { check_output(dir / "", true); }) == ExitCode::exists);
  CHECK(exit_of([&] { check_output(dir / "..", true); }) == ExitCode::exists);
  CHECK(exit_of([&] { check_output(dir / std::string(300, 'n'), false); }) == ExitCode::exists);
  CHECK(dir.entries() == 1);
}

TEST_CASE("a folder without write permission, seen by an ordinary user") {
  const TempDir dir;
  REQUIRE(chmod(dir.path().c_str(), 0555) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (geteuid() == 0 && setuid(65534) != 0) _exit(2);
    const auto refused = [](auto call) {
      try {
        call();
      } catch (const Error& error) {
        return error.exit() == ExitCode::exists && error.message().find("cannot be created") != std::string::npos;
      }
      return false;
    };
    const bool both = refused([&] { check_output(dir / "out", false); }) && refused([&] { AtomicFile(dir / "out", false); });
    _exit(both ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(status == 0);
  REQUIRE(chmod(dir.path().c_str(), 0700) == 0);
}
