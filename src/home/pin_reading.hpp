#pragma once
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <string>

#include "kmtool/core/error.hpp"
#include "kmtool/core/secret.hpp"

/// What the ways to read a PIN have in common.
namespace kmtool::home {

inline constexpr std::size_t max_pin = 1024;
inline constexpr const char* pin_forms = "file:PATH, fd:N, env:NAME, exec:COMMAND or prompt";

/// Collects what is read in a buffer that is cleansed; never more than a PIN can be.
class PinCollector {
 public:
  explicit PinCollector(std::string name) : name_(std::move(name)) {}
  /// False at the end of the input. `limit` is 1 where what follows the line belongs to somebody else.
  bool read_from(int fd, std::size_t limit = std::numeric_limits<std::size_t>::max()) {
    const auto room = buffer_.reveal_mutable().subspan(used_);
    if (room.empty())
      throw Error::refused("pin", "the PIN from " + name_ + " is longer than " + std::to_string(max_pin) + " bytes");
    const ssize_t n = ::read(fd, room.data(), std::min(room.size(), limit));
    if (n < 0 && errno == EINTR) return true;
    if (n < 0) throw Error::from_errno("read", name_, errno);
    used_ += static_cast<std::size_t>(n);
    return n > 0;
  }
  [[nodiscard]] bool has_line() const { return used_ > 0 && buffer_.reveal()[used_ - 1] == '\n'; }
  SecretBytes take() {
    if (has_line()) --used_;
    if (used_ > 0 && buffer_.reveal()[used_ - 1] == '\r') --used_;
    buffer_.truncate(used_);
    return std::move(buffer_);
  }

 private:
  std::string name_;
  SecretBytes buffer_{max_pin + 2};
  std::size_t used_ = 0;
};

/// Asks at /dev/tty, without echo; a signal finds the terminal as it was.
SecretBytes pin_from_terminal(bool no_input);

}  // namespace kmtool::home
