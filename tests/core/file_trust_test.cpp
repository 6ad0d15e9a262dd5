#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/temp_dir.hpp"
#include "kmtool/core/file.hpp"

using namespace kmtool;
using namespace kmtool::test;

namespace {

constexpr Trust as_secret{.private_file = true, .follow_symlink = false};
constexpr Trust through_links{.private_file = false, .follow_symlink = true};

/// Both functions must judge alike.
void check_refused(const fs::path& path, Trust trust = {}) {
  CAPTURE(path.string());
  CHECK(exit_of([&] { check_trusted(path, trust); }) == ExitCode::config);
  CHECK(exit_of([&] { read_trusted(path, trust); }) == ExitCode::config);
}

void check_accepted(const fs::path& path, Trust trust = {}) {
  CAPTURE(path.string());
  CHECK_NOTHROW(check_trusted(path, trust));
  CHECK(read_trusted(path, trust) == slurp(path));
}

}  // namespace

TEST_CASE("who may write a trusted file") {
  const TempDir dir;
  check_accepted(dir.file("private", "x", 0600));
  check_accepted(dir.file("readable", "x", 0644));
  check_accepted(dir.file("read-only", "x", 0444));
  check_refused(dir.file("group", "x", 0620));
  check_refused(dir.file("all", "x", 0602));
  const Error error = error_of([&] { check_trusted(dir / "group"); });
  CHECK(error.message().find("can be written by other users (mode 0620)") != std::string::npos);
  CHECK(error.hint() == "chmod go-w '" + (dir / "group").string() + "'");
}

TEST_CASE("who may read a private file") {
  const TempDir dir;
  check_accepted(dir.file("private", "1234", 0600), as_secret);
  check_accepted(dir.file("read-only", "1234", 0400), as_secret);
  for (const mode_t mode : {0640U, 0604U, 0660U, 0602U}) check_refused(dir.file(std::to_string(mode), "1234", mode), as_secret);
  const Error error = error_of([&] { read_trusted(dir.file("group", "1234", 0640), as_secret); });
  CHECK(error.message().find("can be read by other users") != std::string::npos);
  CHECK(error.hint().starts_with("chmod go-rw "));
  CHECK(error.message().find("1234") == std::string::npos);
}

TEST_CASE("the folder counts, unless it is sticky") {
  const TempDir dir;
  const auto file = dir.file("file", "x", 0600);
  REQUIRE(chmod(dir.path().c_str(), 0777) == 0);
  check_refused(file);
  REQUIRE(chmod(dir.path().c_str(), 0770) == 0);
  check_refused(file);
  REQUIRE(chmod(dir.path().c_str(), 01777) == 0);
  check_accepted(file);
  // Sticky protects the files in a folder; as a home it would still take files from anyone.
  CHECK(exit_of([&] { check_trusted(dir.path()); }) == ExitCode::config);
  REQUIRE(chmod(dir.path().c_str(), 0755) == 0);
  check_accepted(file);
  CHECK_NOTHROW(check_trusted(dir.path()));
  CHECK(exit_of([&] { check_trusted(dir.path(), as_secret); }) == ExitCode::config);
  REQUIRE(chmod(dir.path().c_str(), 0700) == 0);
  CHECK_NOTHROW(check_trusted(dir.path(), as_secret));
}

TEST_CASE("the owner is the user or root") {
  if (geteuid() != 0) return;  // only root can give files away
  const TempDir dir;
  const auto file = dir.file("file", "x", 0600);
  REQUIRE(chown(file.c_str(), 65534, 65534) == 0);
  check_refused(file);
  CHECK(error_of([&] { check_trusted(file); }).hint().starts_with("chown 0 "));
  REQUIRE(chown(file.c_str(), 0, 0) == 0);
  check_accepted(file);
  REQUIRE(chown(dir.path().c_str(), 65534, 65534) == 0);
  check_refused(file);
  REQUIRE(chown(dir.path().c_str(), 0, 0) == 0);
}

TEST_CASE("symbolic links") {
  const TempDir dir, elsewhere;
  const auto target = elsewhere.file("target", "x", 0600);
  fs::create_symlink(target, dir / "link");
  fs::create_symlink("nowhere", dir / "dangling");
  check_refused(dir / "link");
  check_refused(dir / "link", as_secret);
  check_refused(dir / "link", {.private_file = true, .follow_symlink = true});  // private files never
  check_accepted(dir / "link", through_links);
  CHECK(exit_of([&] { check_trusted(dir / "dangling", through_links); }) == ExitCode::missing);
  // The folder where the link ends can be written: so can what the name stands for.
  REQUIRE(chmod(elsewhere.path().c_str(), 0777) == 0);
  check_refused(dir / "link", through_links);
  REQUIRE(chmod(elsewhere.path().c_str(), 0700) == 0);
  REQUIRE(chmod(dir.path().c_str(), 0777) == 0);
  check_refused(dir / "link", through_links);
}

TEST_CASE("missing files, other kinds of files, limits") {
  const TempDir dir;
  CHECK(exit_of([&] { check_trusted(dir / "none"); }) == ExitCode::missing);
  CHECK(exit_of([&] { read_trusted(dir / "none"); }) == ExitCode::missing);
  CHECK(exit_of([&] { read_trusted(dir / "none/file"); }) == ExitCode::missing);
  REQUIRE(mkfifo((dir / "pipe").c_str(), 0600) == 0);
  CHECK(exit_of([&] { read_trusted(dir / "pipe"); }) == ExitCode::config);  // and does not hang
  CHECK(exit_of([&] { read_trusted(dir.path()); }) == ExitCode::config);
  const auto large = dir.file("large", "0123456789");
  CHECK(exit_of([&] { read_trusted(large, {}, 9); }) == ExitCode::damaged);
  CHECK(read_trusted(large, {}, 10).size() == 10);
}

TEST_CASE("a hint can be pasted into a shell whatever the name") {
  const TempDir dir;
  const auto file = dir.file("it's $(x)", "x", 0666);
  CHECK(error_of([&] { check_trusted(file); }).hint().ends_with("it'\\''s $(x)'"));
}
