#include "kmtool/apikey/rate.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include "kmtool/core/error.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::apikey {

namespace {

constexpr std::int64_t most = 1000000;
constexpr std::int64_t microseconds = 1000000;
constexpr std::array<std::pair<std::string_view, std::int64_t>, 4> units{{{"sec", 1}, {"min", 60}, {"hour", 3600}, {"day", 86400}}};

std::optional<std::int64_t> number(std::string_view text) {
  if (text.empty() || text.size() > 7 || text[0] == '0') return std::nullopt;
  std::int64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value <= most ? std::optional(value) : std::nullopt;
}

}  // namespace

Rate Rate::parse(std::string_view text) {
  const auto slash = text.find('/'), colon = text.find(':');
  const auto count = number(text.substr(0, slash));
  Rate rate;
  if (slash != std::string_view::npos) {
    for (const auto& [word, seconds] : units) {
      if (text.substr(slash + 1, colon == std::string_view::npos ? colon : colon - slash - 1) == word) rate.seconds = seconds;
    }
  }
  const auto burst = colon == std::string_view::npos ? count : number(text.substr(colon + 1));
  if (!count || !burst || rate.seconds == 0) {
    throw Error::usage("rate " + printable(text) + " is not a rate", "write 60/min or 600/min:50 (sec, min, hour, day; 1 to 1000000; behind the colon: how many at once)");
  }
  rate.count = *count;
  rate.burst = *burst;
  return rate;
}

std::string Rate::text() const {
  std::string text = std::to_string(count) + "/";
  for (const auto& [word, length] : units) {
    if (length == seconds) text += word;
  }
  return burst == count ? text : text + ":" + std::to_string(burst);
}

std::int64_t TokenBucket::filled(const Rate& rate, std::int64_t now) const {
  const std::int64_t full = rate.burst * rate.seconds * microseconds;  // at most 8.64e16
  if (units < 0) return full;
  const std::int64_t missing = std::max<std::int64_t>(full - units, 0), passed = std::max<std::int64_t>(now - at, 0);
  return passed > missing / rate.count ? full : std::min(full, units + passed * rate.count);
}

bool TokenBucket::peek(const Rate& rate, std::int64_t now) const { return filled(rate, now) >= rate.seconds * microseconds; }

bool TokenBucket::take(const Rate& rate, std::int64_t now) {
  const std::int64_t one = rate.seconds * microseconds;
  units = filled(rate, now);
  at = std::max(at, now);
  if (units < one) return false;
  units -= one;
  return true;
}

std::int64_t TokenBucket::retry_after(const Rate& rate, std::int64_t now) const {
  const std::int64_t missing = rate.seconds * microseconds - filled(rate, now);
  const std::int64_t a_second = rate.count * microseconds;
  return std::max<std::int64_t>(1, (missing + a_second - 1) / a_second);
}

}  // namespace kmtool::apikey
