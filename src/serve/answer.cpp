#include "answer.hpp"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace kmtool::serve {
namespace {

std::string_view phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 408:
      return "Request Timeout";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Error";
  }
}

bool plain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; });
}

void append_number(std::string& out, std::uint64_t number) {
  std::array<char, 20> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

}  // namespace

void Answer::add(std::string_view name, std::string_view value) {
  if (value.empty() || !plain(value)) return;
  fields.append(name).append(": ").append(value).append("\r\n");
}

void append_answer(std::string& out, const Answer& answer, std::string_view date, bool close, bool head_only) {
  // Piece by piece: this is done for every check, and a format string would be read each time.
  out.append("HTTP/1.1 ");
  append_number(out, static_cast<std::uint64_t>(answer.status));
  out.append(" ").append(phrase(answer.status)).append("\r\nDate: ").append(date).append("\r\nCache-Control: no-store\r\n");
  out.append(answer.fields).append("Content-Length: ");
  append_number(out, answer.body.size());
  out.append("\r\n");
  if (!answer.body.empty()) out.append("Content-Type: ").append(answer.type).append("\r\n");
  out.append(close ? "Connection: close\r\n\r\n" : "\r\n");
  if (!head_only) out.append(answer.body);
}

std::string http_date(std::int64_t unix_time) {
  static const char* const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static const char* const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const time_t time = unix_time;
  struct tm parts {};
  gmtime_r(&time, &parts);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", days[parts.tm_wday], parts.tm_mday, months[parts.tm_mon],
                     parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

}  // namespace kmtool::serve
