#include "kmtool/core/error.hpp"

#include <doctest/doctest.h>

#include <cerrno>

using kmtool::Error;
using kmtool::ExitCode;

TEST_CASE("every maker has its exit code and its word") {
  CHECK(Error::no("m").exit() == ExitCode::no);
  CHECK(Error::usage("m").exit() == ExitCode::usage);
  CHECK(Error::tampered("m").exit() == ExitCode::damaged);
  CHECK(Error::missing("m").exit() == ExitCode::missing);
  CHECK(Error::unavailable("m").exit() == ExitCode::unavailable);
  CHECK(Error::internal("m").exit() == ExitCode::internal);
  CHECK(Error::exists("m").exit() == ExitCode::exists);
  CHECK(Error::io("m").exit() == ExitCode::io);
  CHECK(Error::busy("m").exit() == ExitCode::busy);
  CHECK(Error::refused("G-KEK", "m").exit() == ExitCode::refused);
  CHECK(Error::config("m").exit() == ExitCode::config);
  CHECK(Error::refused("G-KEK", "m").code() == "G-KEK");
  CHECK(Error::tampered("m").code() == "tampered");
  const Error full(ExitCode::io, "CKR_DEVICE_ERROR", "message", "hint");
  CHECK(full.code() == "CKR_DEVICE_ERROR");
  CHECK(full.hint() == "hint");
  CHECK(std::string(full.what()) == "message");
}

TEST_CASE("errno becomes missing only where something was to be read") {
  CHECK(Error::from_errno("open", "/x", ENOENT).exit() == ExitCode::missing);
  CHECK(Error::from_errno("read", "/x", ENOTDIR).exit() == ExitCode::missing);
  CHECK(Error::from_errno("open", "/x", EACCES).exit() == ExitCode::io);
  CHECK(Error::from_errno("write", "/x", ENOENT).exit() == ExitCode::io);
  CHECK(Error::from_errno("write", "/x", ENOSPC).message() == "cannot write /x: no space left on device");
}

TEST_CASE("a path cannot smuggle escape sequences into a message") {
  CHECK(Error::from_errno("open", "/a\x1b[2J", ENOENT).message() == "cannot open /a\\x1b[2J: no such file or directory");
}
