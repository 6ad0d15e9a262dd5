#include "kmtool/apikey/referrer.hpp"

#include <idn2.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "kmtool/apikey/address.hpp"
#include "kmtool/core/error.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::apikey {

namespace {

constexpr std::size_t longest_url = 8192, longest_host = 253, longest_label = 63;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_small(char c) { return c >= 'a' && c <= 'z'; }
char small(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}
int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (small(c) >= 'a' && small(c) <= 'f') return small(c) - 'a' + 10;
  return -1;
}
int default_port(std::string_view scheme) { return scheme == "https" ? 443 : 80; }

std::nullopt_t no(std::string* why, const char* text) {
  if (why != nullptr) *why = text;
  return std::nullopt;
}

struct IdnFree {
  void operator()(char* text) const { idn2_free(text); }
};

/// Letters, digits, `-` and `_` in labels of 1…63, none with a hyphen at either end.
bool is_host_name(std::string_view host) {
  if (host.empty() || host.size() > longest_host) return false;
  for (std::size_t begin = 0; begin <= host.size();) {
    const auto end = std::min(host.find('.', begin), host.size());
    const auto label = host.substr(begin, end - begin);
    if (label.empty() || label.size() > longest_label || label.front() == '-' || label.back() == '-') return false;
    if (!std::all_of(label.begin(), label.end(), [](char c) { return is_small(c) || is_digit(c) || c == '-' || c == '_'; })) return false;
    begin = end + 1;
  }
  return true;
}

/// Browsers take a host whose last label is a number for an IPv4 address, in octal, hexadecimal or with parts left out.
bool looks_numeric(std::string_view host) {
  const auto last = host.substr(host.rfind('.') + 1);  // npos + 1 is 0
  if (std::all_of(last.begin(), last.end(), is_digit)) return true;
  return last.size() > 2 && last[0] == '0' && last[1] == 'x' && std::all_of(last.begin() + 2, last.end(), [](char c) { return hex_digit(c) >= 0; });
}

std::optional<std::string> bracketed(std::string_view host, std::string* why) {
  if (host.size() < 4 || host.back() != ']') return no(why, "the host is not an address in brackets");
  const auto inner = host.substr(1, host.size() - 2);
  if (inner.find('%') != std::string_view::npos) return no(why, "the host has a zone id");
  const auto address = Address::parse(inner);
  if (!address || inner.find(':') == std::string_view::npos) return no(why, "the host is not an IPv6 address in brackets");
  return address->v6 ? "[" + address->text() + "]" : address->text();
}

struct Authority {
  std::string host;
  int port = 0;        ///< 0: none was given
  bool empty_port = false;
};

std::optional<int> parse_port(std::string_view text) {
  if (text.empty() || text.size() > 5 || text[0] == '0' || !std::all_of(text.begin(), text.end(), is_digit)) return std::nullopt;
  const int port = std::stoi(std::string(text));
  return port <= 65535 ? std::optional(port) : std::nullopt;
}

std::optional<Authority> parse_authority(std::string_view text, std::string* why) {
  if (text.find('@') != std::string_view::npos) return no(why, "it has a user name before the host");
  if (text.find('%') != std::string_view::npos) return no(why, "the host has percent-escapes or a zone id");
  auto host = text;
  Authority authority;
  const auto bracket = text.rfind(']');
  const auto colon = text.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (colon != std::string_view::npos) {
    host = text.substr(0, colon);
    const auto digits = text.substr(colon + 1);
    authority.empty_port = digits.empty();
    const auto port = parse_port(digits);
    if (!port && !digits.empty()) return no(why, "the port is not a plain number from 1 to 65535");
    authority.port = port.value_or(0);
  }
  auto canonical = canonical_host(host, why);
  if (!canonical) return std::nullopt;
  authority.host = std::move(*canonical);
  return authority;
}

std::string without_dot_segments(const std::string& path) {
  std::vector<std::string> kept;
  const auto segments = split(std::string_view(path).substr(1), '/');
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const bool last = i + 1 == segments.size(), dots = segments[i] == "." || segments[i] == "..";
    if (segments[i] == ".." && !kept.empty()) kept.pop_back();
    if (!dots) kept.push_back(segments[i]);
    if (dots && last) kept.emplace_back();
  }
  return "/" + join(kept, "/");
}

/// Escapes in their one spelling. False for a `%` that begins none.
bool unescape(std::string_view path, std::string& out, bool& ambiguous) {
  static constexpr std::string_view digits = "0123456789ABCDEF";
  const auto escape = [&](unsigned char byte) {
    out += '%';
    out += digits[byte >> 4];
    out += digits[byte & 15];
  };
  for (std::size_t i = 0; i < path.size(); ++i) {
    const auto byte = static_cast<unsigned char>(path[i]);
    if (byte >= 0x80) {
      escape(byte);
    } else if (path[i] != '%') {
      out += path[i];
    } else {
      const int high = i + 2 < path.size() ? hex_digit(path[i + 1]) : -1, low = i + 2 < path.size() ? hex_digit(path[i + 2]) : -1;
      if (high < 0 || low < 0) return false;
      const auto value = static_cast<unsigned char>(high * 16 + low);
      const char c = static_cast<char>(value);
      const bool unreserved = is_digit(c) || is_small(small(c)) || c == '-' || c == '.' || c == '_' || c == '~';
      if (unreserved) out += c;
      if (!unreserved) escape(value);
      ambiguous = ambiguous || c == '/' || c == '\\' || value == 0;
      i += 2;
    }
  }
  return true;
}

/// What no URL may have, and no pattern.
const char* forbidden_character(std::string_view text) {
  if (text.empty()) return "it is empty";
  if (text.size() > longest_url) return "it is longer than 8192 bytes";
  for (const char c : text) {
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) return "it has spaces or control characters";
    if (c == '\\') return "it has a back slash, which browsers take for a slash and others do not";
  }
  return is_utf8(text) ? nullptr : "it is not UTF-8";
}

/// `https://…` → `https` and the rest.
std::string take_scheme(std::string_view& text) {
  const auto colon = text.find("://");
  if (colon == std::string_view::npos || colon > text.find_first_of("/?#@[")) return {};
  std::string scheme(text.substr(0, colon));
  std::transform(scheme.begin(), scheme.end(), scheme.begin(), small);
  text.remove_prefix(colon + 3);
  return scheme;
}

[[noreturn]] void refuse(std::string_view pattern, const std::string& what, const std::string& hint = {}) {
  throw Error::usage("referrer pattern " + printable(pattern) + ": " + what,
                     hint.empty() ? "write [http[s]://]HOST[:PORT][/PATH], such as example.com, *.example.com or https://example.com/app/*" : hint);
}

}  // namespace

std::optional<std::string> canonical_host(std::string_view host, std::string* why) {
  if (!host.empty() && host.front() == '[') return bracketed(host, why);
  std::string name(host);
  if (!is_ascii(host)) {
    std::uint8_t* out = nullptr;
    const int rc = idn2_lookup_u8(reinterpret_cast<const std::uint8_t*>(name.c_str()), &out, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    const std::unique_ptr<char, IdnFree> held(reinterpret_cast<char*>(out));
    if (rc != IDN2_OK) return no(why, "the host is not an internationalized domain name");
    name = held.get();
  }
  std::transform(name.begin(), name.end(), name.begin(), small);
  if (!name.empty() && name.back() == '.') name.pop_back();
  if (!is_host_name(name)) return no(why, "the host is not a host name");
  if (name.find("xn--") == 0 || name.find(".xn--") != std::string::npos) {
    char* out = nullptr;
    const int rc = idn2_to_unicode_8z8z(name.c_str(), &out, IDN2_NONTRANSITIONAL);
    const std::unique_ptr<char, IdnFree> held(out);
    if (rc != IDN2_OK) return no(why, "the host has a label that is no punycode");
  }
  if (!looks_numeric(name)) return name;
  const auto address = Address::parse(name);
  if (!address) return no(why, "the host is a number, but not an address as four plain numbers");
  return address->text();
}

std::optional<Url> Url::parse(std::string_view text, std::string* why) {
  if (const char* wrong = forbidden_character(text)) return no(why, wrong);
  Url url;
  url.scheme = take_scheme(text);
  if (url.scheme != "http" && url.scheme != "https") return no(why, "it does not begin with http:// or https://");
  const auto end = std::min(text.find_first_of("/?#"), text.size());
  const auto authority = parse_authority(text.substr(0, end), why);
  if (!authority) return std::nullopt;
  url.host = authority->host;
  url.port = authority->port == 0 ? default_port(url.scheme) : authority->port;
  auto path = text.substr(end);
  path = path.substr(0, path.find_first_of("?#"));
  if (path.empty()) path = "/";
  std::string unescaped;
  if (!unescape(path, unescaped, url.ambiguous_path)) return no(why, "the path has a % that begins no escape");
  url.path = without_dot_segments(unescaped);
  return url;
}

ReferrerPattern ReferrerPattern::parse(std::string_view text) {
  const auto whole = text;
  if (const char* wrong = forbidden_character(text)) refuse(whole, wrong);
  if (text.find_first_of("?#") != std::string_view::npos) refuse(whole, "query and fragment of a referrer are not looked at", "leave out what begins with ? or #");
  ReferrerPattern pattern;
  pattern.scheme_ = take_scheme(text);
  if (!pattern.scheme_.empty() && pattern.scheme_ != "http" && pattern.scheme_ != "https") refuse(whole, "the scheme is neither http nor https");
  const auto slash = std::min(text.find('/'), text.size());
  auto authority = text.substr(0, slash), path = text.substr(slash);
  if (authority == "*") refuse(whole, "every host is in it: that is no restriction", "name the host, or leave --referrer out");
  pattern.subdomains_ = authority.starts_with("*.");
  if (pattern.subdomains_) authority.remove_prefix(2);
  if (authority.find('*') != std::string_view::npos) refuse(whole, "* stands only for the whole first label of the host, or the last segment of the path");
  std::string why;
  const auto parsed = parse_authority(authority, &why);
  if (!parsed) refuse(whole, why);
  if (parsed->empty_port) refuse(whole, "the port is missing behind the colon");
  const bool address = parsed->host.front() == '[' || looks_numeric(parsed->host);
  if (pattern.subdomains_ && (address || parsed->host.find('.') == std::string::npos)) {
    refuse(whole, "*. needs a domain of at least two labels behind it", "write *.example.com");
  }
  pattern.host_ = (pattern.subdomains_ ? "." : "") + parsed->host;
  pattern.port_ = !pattern.scheme_.empty() && parsed->port == default_port(pattern.scheme_) ? 0 : parsed->port;
  pattern.path_kind_ = path.empty() || path == "/*" ? PathKind::any : path.ends_with("/*") ? PathKind::below : PathKind::exact;
  if (pattern.path_kind_ == PathKind::below) path.remove_suffix(1);
  if (pattern.path_kind_ != PathKind::any) {
    if (path.find('*') != std::string_view::npos) refuse(whole, "* stands only for the whole first label of the host, or the last segment of the path");
    bool ambiguous = false;
    if (!unescape(path, pattern.path_, ambiguous)) refuse(whole, "the path has a % that begins no escape");
    if (ambiguous) refuse(whole, "%2F, %5C and %00 are read differently by different servers");
    if (without_dot_segments(pattern.path_) != pattern.path_) refuse(whole, "the path has . or .. in it", "write the path that is meant");
  }
  pattern.text_ = (pattern.scheme_.empty() ? "" : pattern.scheme_ + "://") + (pattern.subdomains_ ? "*" : "") + pattern.host_ +
                  (pattern.port_ == 0 ? "" : ":" + std::to_string(pattern.port_)) + pattern.path_ +
                  (pattern.path_kind_ == PathKind::below ? "*" : "");
  return pattern;
}

bool ReferrerPattern::matches(const Url& url) const {
  if (!scheme_.empty() && url.scheme != scheme_) return false;
  if (url.port != (port_ == 0 ? default_port(url.scheme) : port_)) return false;
  if (subdomains_ ? !(url.host.size() > host_.size() && url.host.ends_with(host_)) : url.host != host_) return false;
  if (path_kind_ == PathKind::any) return true;
  if (url.ambiguous_path) return false;
  return path_kind_ == PathKind::exact ? url.path == path_ : url.path.starts_with(path_);
}

}  // namespace kmtool::apikey
