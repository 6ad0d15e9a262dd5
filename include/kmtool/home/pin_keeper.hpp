#pragma once

namespace kmtool::home {

/// While one lives, read_pin() keeps what it reads, in locked memory, and gives it again for the same source: a variable of the environment is
/// wiped, a descriptor is at its end and a person would be asked twice when a command opens its token a second time. One at a time.
class PinKeeper {
 public:
  PinKeeper();
  ~PinKeeper();
  PinKeeper(const PinKeeper&) = delete;
  PinKeeper& operator=(const PinKeeper&) = delete;
};

}  // namespace kmtool::home
