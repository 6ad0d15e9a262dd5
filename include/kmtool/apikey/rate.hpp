#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace kmtool::apikey {

/// `N/sec`, `N/min`, `N/hour`, `N/day`, with `:BURST` where the bucket is not to hold N: `600/min:50`.
struct Rate {
  std::int64_t count = 0;    ///< 1…1000000 requests
  std::int64_t seconds = 0;  ///< in 1, 60, 3600 or 86400 seconds
  std::int64_t burst = 0;    ///< what the bucket holds, 1…1000000

  /// Throws usage (64).
  static Rate parse(std::string_view text);
  [[nodiscard]] std::string text() const;
  bool operator==(const Rate&) const = default;
};

/// A token bucket, full at first. Whole numbers only: a token is `seconds` × 10^6 units, `count` units come in a microsecond.
/// Not thread-safe.
struct TokenBucket {
  std::int64_t units = -1;  ///< -1: never used, full
  std::int64_t at = 0;      ///< microseconds of any clock that does not run backwards

  /// Takes one token at `now` (microseconds); false: none is left. A clock that ran backwards adds nothing.
  bool take(const Rate& rate, std::int64_t now);
  /// Would take() succeed?
  [[nodiscard]] bool peek(const Rate& rate, std::int64_t now) const;
  /// Seconds, rounded up, until there is a token again; at least 1.
  [[nodiscard]] std::int64_t retry_after(const Rate& rate, std::int64_t now) const;

 private:
  [[nodiscard]] std::int64_t filled(const Rate& rate, std::int64_t now) const;
};

}  // namespace kmtool::apikey
