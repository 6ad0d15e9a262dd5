#include <fmt/format.h>

#include <array>

#include "kmtool/apikey/restrictions.hpp"
#include "kmtool/core/error.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::apikey {

namespace {

constexpr std::array<std::string_view, 7> days{"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
constexpr int minutes_a_day = 1440;

[[noreturn]] void refuse(std::string_view text, const std::string& what) {
  throw Error::usage("window " + printable(text) + ": " + what, "write [DAYS] HH:MM-HH:MM[+HH:MM], such as mon-fri 08:00-18:00 or sat,sun 10:00-24:00+02:00; without an offset it is UTC");
}

std::optional<std::size_t> day_from(std::string_view text) {
  for (std::size_t i = 0; i < days.size(); ++i) {
    if (days[i] == text) return i;
  }
  return std::nullopt;
}

std::uint8_t parse_days(std::string_view whole, std::string_view text) {
  unsigned mask = 0;
  for (const auto& part : split(text, ',')) {
    const auto dash = part.find('-');
    const auto first = day_from(std::string_view(part).substr(0, dash));
    const auto last = dash == std::string::npos ? first : day_from(std::string_view(part).substr(dash + 1));
    if (!first || !last) refuse(whole, "the days are mon, tue, wed, thu, fri, sat and sun, in small letters");
    if (*first > *last) refuse(whole, "the days run backwards: the week begins with mon");
    for (std::size_t day = *first; day <= *last; ++day) {
      if ((mask & 1U << day) != 0) refuse(whole, "a day is named twice");
      mask |= 1U << day;
    }
  }
  return static_cast<std::uint8_t>(mask);
}

/// `08:00`; hours up to `most`.
std::optional<int> minutes(std::string_view text, int most) {
  const auto digit = [&](std::size_t at) { return text[at] >= '0' && text[at] <= '9' ? text[at] - '0' : -1000; };
  if (text.size() != 5 || text[2] != ':') return std::nullopt;
  const int hour = digit(0) * 10 + digit(1), minute = digit(3) * 10 + digit(4);
  if (hour < 0 || minute < 0 || minute > 59 || hour * 60 + minute > most) return std::nullopt;
  return hour * 60 + minute;
}

int parse_east(std::string_view whole, std::string_view text) {
  if (text.empty() || text == "Z") return 0;
  const auto size = minutes(text.substr(1), 14 * 60);
  if (!size || (text[0] != '+' && text[0] != '-')) refuse(whole, "behind the times stands Z or an offset from UTC such as +02:00");
  return text[0] == '-' ? -*size : *size;
}

}  // namespace

TimeWindow TimeWindow::parse(std::string_view text) {
  TimeWindow window;
  auto times = text;
  if (const auto space = text.find(' '); space != std::string_view::npos) {
    window.days = parse_days(text, text.substr(0, space));
    times = text.substr(space + 1);
  }
  if (times.size() < 11 || times[5] != '-') refuse(text, "the times are missing");
  const auto from = minutes(times.substr(0, 5), minutes_a_day - 1), to = minutes(times.substr(6, 5), minutes_a_day);
  if (!from || !to) refuse(text, "a time of day is between 00:00 and 24:00");
  window.from = *from;
  window.to = *to;
  window.east = parse_east(text, times.substr(11));
  if (window.from == window.to) refuse(text, "it is empty");
  if (window.from > window.to) {
    throw Error::usage("window " + printable(text) + ": it runs over midnight, and which day is it then?", "write two windows, such as fri 22:00-24:00 and sat 00:00-06:00");
  }
  if (window.days == 0x7f && window.from == 0 && window.to == minutes_a_day) refuse(text, "every time is in it: that is no restriction");
  return window;
}

bool TimeWindow::contains(UnixTime time) const {
  const std::int64_t local = time + east * 60;
  const std::int64_t day = local >= 0 ? local / 86400 : -((-local + 86399) / 86400);
  const auto minute = static_cast<int>((local - day * 86400) / 60);
  const auto weekday = static_cast<unsigned>(((day + 3) % 7 + 7) % 7);  // 1970-01-01 was a Thursday
  return (days & 1U << weekday) != 0 && minute >= from && minute < to;
}

std::string TimeWindow::text() const {
  std::vector<std::string> parts;
  for (std::size_t day = 0; day < 7;) {
    std::size_t end = day;
    while (end < 7 && (days & 1U << end) != 0) ++end;
    if (end == day) {
      ++day;
      continue;
    }
    parts.push_back(end - day == 1 ? std::string(kmtool::apikey::days[day]) : fmt::format("{}-{}", kmtool::apikey::days[day], kmtool::apikey::days[end - 1]));
    day = end;
  }
  std::string text = days == 0x7f ? "" : join(parts, ",") + " ";
  text += fmt::format("{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60);
  if (east != 0) text += fmt::format("{}{:02}:{:02}", east < 0 ? '-' : '+', std::abs(east) / 60, std::abs(east) % 60);
  return text;
}

}  // namespace kmtool::apikey
