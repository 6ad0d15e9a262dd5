#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kmtool::serve {

/// The largest head of a request (request line and fields, with the empty line), in bytes; the most fields in it.
inline constexpr std::size_t max_head = 16 * 1024;
inline constexpr std::size_t max_fields = 100;

/// Fields that mean something here. The others are held to the rules of HTTP and then forgotten.
enum class Name : std::uint8_t {
  authorization,
  api_key,          ///< X-Api-Key
  forwarded_for,    ///< X-Forwarded-For
  forwarded_uri,    ///< X-Forwarded-Uri (Traefik)
  original_uri,     ///< X-Original-URI (nginx)
  referrer,         ///< Referer
  android_package,  ///< X-Android-Package
  android_cert,     ///< X-Android-Cert
  ios_bundle,       ///< X-Ios-Bundle-Identifier
  scope,            ///< X-Kmtool-Scope
  proxied,          ///< any other field that only a proxy adds (Forwarded, Via, X-Forwarded-…, X-Real-Ip, X-Envoy-…)
};

struct Field {
  Name name;
  std::string_view value;  ///< without the white space around it
};

/// A request's head; the views lie in the bytes it was read from.
struct Head {
  std::string_view method, target;
  bool keep_alive = false;
  bool has_body = false;  ///< a Content-Length above 0, or a Transfer-Encoding
  std::vector<Field> fields;

  /// The first field of that name; empty where there is none.
  [[nodiscard]] std::string_view field(Name name) const;
  [[nodiscard]] bool has(Name name) const;
};

struct HeadResult {
  enum class State { incomplete, complete, refused } state = State::incomplete;
  std::size_t size = 0;  ///< bytes of the head, where it is complete
  int status = 0;        ///< 400, 431 or 505, where it is refused
  const char* why = "";  ///< a short constant word, also the label of a metric
};

/// Every `why` there is.
const std::vector<std::string_view>& head_refusals();

/// Reads one head from the beginning of `bytes`. Never throws for anything that is in them.
///
/// Whatever two parsers might read differently is refused: a CR or LF that is not part of CRLF, a folded line (RFC 9112, 5.2),
/// control characters, white space before a colon, two Content-Length or Host fields, a Content-Length beside a Transfer-Encoding
/// (RFC 9112, 6.3), a Transfer-Encoding that is not exactly `chunked`, a target that does not begin with a slash or is not ASCII.
/// `seen` is kept between calls with more bytes of the same head, so that no byte is looked at twice; 0 at first.
HeadResult read_head(std::string_view bytes, Head& head, std::size_t& seen);

}  // namespace kmtool::serve
