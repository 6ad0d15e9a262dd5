#pragma once
#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>

#include "kmtool/core/time.hpp"

namespace kmtool::serve {

/// What time it must be at least, whatever the host's clock says: the time that it once said and what has passed since. A clock that is
/// set back changes nothing here; one that jumps ahead counts only once it has stayed there, so that a wrong answer of a time server, put
/// right soon, ends no key for good.
class KnownTime {
 public:
  using Steady = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::minutes settled{10};  ///< so long must a jump last
  static constexpr UnixTime everyday = 5;             ///< seconds that a clock is corrected by without being wrong

  /// One thread calls it, often.
  void look(UnixTime now, Steady steady) noexcept {
    UnixTime passed = begun_ ? from_ + std::chrono::duration_cast<std::chrono::seconds>(steady - *begun_).count() : now;
    const bool jumped = now > passed + everyday;
    if (!jumped) ahead_.reset();
    if (jumped && !ahead_) ahead_ = steady, by_ = now - passed;
    if (jumped) by_ = std::min(by_, now - passed);  // what lasted
    if (!begun_ || (!jumped && now > passed)) passed = rebase(now, steady);
    if (jumped && steady - *ahead_ >= settled) passed = rebase(passed + by_, steady);
    known_.store(passed, std::memory_order_relaxed);
  }
  /// The clock agrees with somebody whom the server trusts: what it said before does not count.
  void agreed(UnixTime now, Steady steady) noexcept { known_.store(rebase(now, steady), std::memory_order_relaxed); }
  /// As of the last look; any thread may ask. 0 before the first.
  [[nodiscard]] UnixTime get() const noexcept { return known_.load(std::memory_order_relaxed); }

 private:
  UnixTime rebase(UnixTime now, Steady steady) noexcept {
    from_ = now;
    begun_ = steady;
    ahead_.reset();
    return now;
  }

  UnixTime from_ = 0, by_ = 0;
  std::optional<Steady> begun_, ahead_;
  std::atomic<UnixTime> known_{0};
};

}  // namespace kmtool::serve
