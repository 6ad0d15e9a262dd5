#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace kmtool {

/// Seconds since 1970-01-01T00:00:00Z. All of kmtool's times are UTC whole seconds.
using UnixTime = std::int64_t;
/// The clock as a value, so that tests can hand in their own.
using Clock = std::function<UnixTime()>;
Clock system_clock();

/// `2026-11-23T20:00:00Z`
std::string rfc3339(UnixTime time);
/// Strict RFC 3339 with Z or an offset; fractions of a second are dropped. nullopt when it is anything else.
std::optional<UnixTime> parse_rfc3339(std::string_view text);

/// `90d`, `12h`, `30m`, `45s`, `2w`, `1y` (= 365d); whole positive numbers only; no months. Seconds; nullopt when malformed or
/// beyond 100 years.
std::optional<std::int64_t> parse_duration(std::string_view text);
/// The largest unit that divides it: 31536000 → `1y`, 7776000 → `90d`.
std::string duration_text(std::int64_t seconds);

}  // namespace kmtool
