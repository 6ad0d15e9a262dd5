#include "kmtool/core/time.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "kmtool/core/error.hpp"

namespace kmtool {
namespace {

constexpr std::int64_t seconds_a_day = 86400;
constexpr std::int64_t longest_duration = seconds_a_day * 365 * 100;

/// Years 0000 to 9999: what RFC 3339 can say.
constexpr UnixTime earliest = -62167219200;
constexpr UnixTime latest = 253402300799;

struct Unit {
  char letter;
  std::int64_t seconds;
};
/// Largest first: duration_text() takes the first that divides.
constexpr std::array<Unit, 6> units{
    {{'y', 365 * seconds_a_day}, {'w', 7 * seconds_a_day}, {'d', seconds_a_day}, {'h', 3600}, {'m', 60}, {'s', 1}}};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Takes exactly `width` digits from the front.
std::optional<int> take_number(std::string_view& text, std::size_t width) {
  if (text.size() < width) return std::nullopt;
  int value = 0;
  for (std::size_t i = 0; i < width; ++i) {
    if (!is_digit(text[i])) return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(width);
  return value;
}

bool take(std::string_view& text, char c) {
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

/// `Z` or `±HH:MM`, and nothing after it: seconds east of UTC.
std::optional<std::int64_t> take_offset(std::string_view text) {
  if (take(text, 'Z')) return text.empty() ? std::optional<std::int64_t>{0} : std::nullopt;
  const bool west = take(text, '-');
  if (!west && !take(text, '+')) return std::nullopt;
  const auto hours = take_number(text, 2);
  if (!hours || *hours > 23 || !take(text, ':')) return std::nullopt;
  const auto minutes = take_number(text, 2);
  if (!minutes || *minutes > 59 || !text.empty()) return std::nullopt;
  const std::int64_t east = *hours * 3600 + *minutes * 60;
  return west ? -east : east;
}

std::optional<std::int64_t> take_date(std::string_view& text) {
  const auto year = take_number(text, 4);
  if (!year || !take(text, '-')) return std::nullopt;
  const auto month = take_number(text, 2);
  if (!month || !take(text, '-')) return std::nullopt;
  const auto day = take_number(text, 2);
  if (!day) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year{*year}, std::chrono::month{static_cast<unsigned>(*month)},
                                         std::chrono::day{static_cast<unsigned>(*day)}};
  if (!date.ok()) return std::nullopt;
  return std::chrono::sys_days{date}.time_since_epoch().count() * seconds_a_day;
}

std::optional<std::int64_t> take_time_of_day(std::string_view& text) {
  const auto hours = take_number(text, 2);
  if (!hours || *hours > 23 || !take(text, ':')) return std::nullopt;
  const auto minutes = take_number(text, 2);
  if (!minutes || *minutes > 59 || !take(text, ':')) return std::nullopt;
  const auto seconds = take_number(text, 2);
  if (!seconds || *seconds > 59) return std::nullopt;  // UnixTime has no leap seconds
  if (take(text, '.')) {
    if (text.empty() || !is_digit(text.front())) return std::nullopt;
    while (!text.empty() && is_digit(text.front())) text.remove_prefix(1);
  }
  return *hours * 3600 + *minutes * 60 + *seconds;
}

}  // namespace

Clock system_clock() {
  return [] {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return UnixTime{std::chrono::floor<std::chrono::seconds>(now).count()};
  };
}

std::string rfc3339(UnixTime time) {
  if (time < earliest || time > latest) throw Error::internal("a time lies outside the years 0000 to 9999");
  const std::chrono::sys_seconds point{std::chrono::seconds{time}};
  const auto day = std::chrono::floor<std::chrono::days>(point);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{point - day};
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                     static_cast<unsigned>(date.day()), clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

std::optional<UnixTime> parse_rfc3339(std::string_view text) {
  const auto date = take_date(text);
  if (!date || !take(text, 'T')) return std::nullopt;
  const auto clock = take_time_of_day(text);
  if (!clock) return std::nullopt;
  const auto offset = take_offset(text);
  if (!offset) return std::nullopt;
  const UnixTime time = *date + *clock - *offset;
  return time < earliest || time > latest ? std::nullopt : std::optional<UnixTime>{time};
}

std::optional<std::int64_t> parse_duration(std::string_view text) {
  if (text.size() < 2 || text.size() > 12 || text.front() == '0') return std::nullopt;
  std::int64_t count = 0;
  for (const char c : text.substr(0, text.size() - 1)) {
    if (!is_digit(c)) return std::nullopt;
    count = count * 10 + (c - '0');
  }
  for (const auto& unit : units) {
    if (unit.letter != text.back()) continue;
    if (count > longest_duration / unit.seconds) return std::nullopt;
    return count * unit.seconds;
  }
  return std::nullopt;
}

std::string duration_text(std::int64_t seconds) {
  if (seconds == 0) return "0s";
  for (const auto& unit : units) {
    if (seconds % unit.seconds == 0) return fmt::format("{}{}", seconds / unit.seconds, unit.letter);
  }
  return fmt::format("{}s", seconds);
}

}  // namespace kmtool
