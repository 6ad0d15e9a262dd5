#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "kmtool/core/error.hpp"

/// A fuzz target reads hostile text. The one thing it may do with it, besides accepting it, is to throw Error with an exit
/// code that speaks of the input; everything else (another exception, `internal`, a crash, a hang) is a find.
namespace kmtool::fuzz {

inline void expect_refusal(const std::function<void()>& read) {
  try {
    read();
  } catch (const Error& error) {
    if (error.exit() == ExitCode::internal) throw;
    if (error.message().empty()) __builtin_trap();
  }
}

/// What must hold of something that was accepted.
inline void require(bool holds) {
  if (!holds) __builtin_trap();
}

inline std::string_view text_of(const unsigned char* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};  // NOLINT(cppcoreguidelines-pro-type-reinterpret-cast)
}

/// Nothing in it moves a terminal's cursor or colours it.
inline bool visible(std::string_view text) {
  for (const char c : text) {
    if ((c >= 0 && c < 0x20) || c == 0x7f) return false;
  }
  return true;
}

}  // namespace kmtool::fuzz
