#include "kmtool/core/error.hpp"

#include <cctype>
#include <cerrno>
#include <system_error>
#include <utility>

#include "kmtool/core/text.hpp"

namespace kmtool {

Error::Error(ExitCode exit, std::string code, std::string message, std::string hint)
    : exit_(exit), code_(std::move(code)), message_(std::move(message)), hint_(std::move(hint)) {}

Error Error::no(std::string message, std::string hint) { return {ExitCode::no, "no", std::move(message), std::move(hint)}; }

Error Error::usage(std::string message, std::string hint) {
  return {ExitCode::usage, "usage", std::move(message), std::move(hint)};
}

Error Error::tampered(std::string message, std::string hint) {
  return {ExitCode::damaged, "tampered", std::move(message), std::move(hint)};
}

Error Error::missing(std::string message, std::string hint) {
  return {ExitCode::missing, "missing", std::move(message), std::move(hint)};
}

Error Error::unavailable(std::string message, std::string hint) {
  return {ExitCode::unavailable, "unavailable", std::move(message), std::move(hint)};
}

Error Error::internal(std::string message, std::string hint) {
  return {ExitCode::internal, "internal", std::move(message), std::move(hint)};
}

Error Error::exists(std::string message, std::string hint) {
  return {ExitCode::exists, "exists", std::move(message), std::move(hint)};
}

Error Error::io(std::string message, std::string hint) { return {ExitCode::io, "io", std::move(message), std::move(hint)}; }

namespace {

/// What to do about it; empty where only who called knows.
const char* hint_for(int error_number, bool reading) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return reading ? "check the path; a relative one begins in the current folder" : "";
    case EACCES:
    case EPERM:
      return "look at its owner and mode (ls -l), and at those of the folders above it";
    case ENOSPC:
    case EDQUOT:
      return "make room there, then do it again";
    case EROFS:
      return "the file system is mounted read-only";
    case EISDIR:
      return "name a file, not a folder";
    case ELOOP:
      return "no symbolic link is followed there: name the file itself";
    case EIO:
      return "the medium fails: look into the system's log";
    case EMFILE:
    case ENFILE:
      return "allow more open files (ulimit -n)";
    default:
      return "";
  }
}

}  // namespace

Error Error::from_errno(const std::string& what, const std::string& path, int error_number) {
  std::string reason = std::generic_category().message(error_number);
  // libc writes "No such file", our messages are lower case; an abbreviation such as "RPC" is left alone.
  if (reason.size() > 1 && std::islower(static_cast<unsigned char>(reason[1])) != 0) {
    reason[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(reason[0])));
  }
  std::string message = "cannot " + what + " " + printable(path) + ": " + reason;
  const bool reading = what == "open" || what == "read" || what == "stat";
  if (reading && (error_number == ENOENT || error_number == ENOTDIR)) return missing(std::move(message), hint_for(error_number, reading));
  return io(std::move(message), hint_for(error_number, reading));
}

Error Error::busy(std::string message, std::string hint) { return {ExitCode::busy, "busy", std::move(message), std::move(hint)}; }

Error Error::refused(std::string rule, std::string message, std::string hint) {
  return {ExitCode::refused, std::move(rule), std::move(message), std::move(hint)};
}

Error Error::config(std::string message, std::string hint) {
  return {ExitCode::config, "config", std::move(message), std::move(hint)};
}

}  // namespace kmtool
