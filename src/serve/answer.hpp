#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kmtool::serve {

/// A response to a request. What is put into fields must be free of control characters; add() leaves a field out that is not.
struct Answer {
  int status = 403;
  std::string fields;  ///< whole lines, each with its CRLF
  std::string body;
  std::string_view type = "text/plain; charset=utf-8";

  void add(std::string_view name, std::string_view value);
};

/// Appends the response to `out`. `close`: the connection ends after it. `date` is an IMF-fixdate; `head_only`: no body, its
/// length only.
void append_answer(std::string& out, const Answer& answer, std::string_view date, bool close, bool head_only);

/// `Wed, 25 Nov 2026 01:00:00 GMT` (RFC 9110, 5.6.7).
std::string http_date(std::int64_t unix_time);

}  // namespace kmtool::serve
