#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace kmtool::apikey {

/// A URL's parts in their one spelling: scheme and host small, IDN as punycode (IDNA 2008, UTS 46 non-transitional), no dot at the
/// host's end, default port filled in, unreserved percent-escapes decoded, the others in capitals, dot segments removed, query and
/// fragment gone, an empty path is "/".
struct Url {
  std::string scheme, host, path;
  int port = 0;
  bool ambiguous_path = false;  ///< has %2F, %5C or %00: servers disagree on which path that is

  /// A referrer as a browser sends it: absolute, http or https. nullopt, with the reason in `why`, for everything that two
  /// parsers could read differently: userinfo, back slashes, control characters, spaces, percent-escapes in the host, numeric hosts
  /// that are not a dotted quad, zone ids.
  static std::optional<Url> parse(std::string_view text, std::string* why = nullptr);
};

/// `[SCHEME://]HOST[:PORT][/PATH]`, see kmtool-apikey(7).
class ReferrerPattern {
 public:
  /// Throws usage (64) saying what is wrong with the pattern.
  static ReferrerPattern parse(std::string_view text);
  [[nodiscard]] bool matches(const Url& url) const;
  /// The one spelling, which parse() takes again.
  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  /// True where the pattern looks at the path: browsers often send only the origin.
  [[nodiscard]] bool needs_path() const noexcept { return path_kind_ != PathKind::any && !(path_kind_ == PathKind::exact && path_ == "/"); }
  bool operator==(const ReferrerPattern& other) const { return text_ == other.text_; }

 private:
  enum class PathKind { any, exact, below };
  std::string text_, scheme_, host_, path_;
  bool subdomains_ = false;  ///< host_ begins with a dot then
  int port_ = 0;             ///< 0: the scheme's
  PathKind path_kind_ = PathKind::any;
};

/// Host name → small letters, punycode, no dot at the end; IPv4 and [IPv6] literals in their one spelling. nullopt with `why`.
std::optional<std::string> canonical_host(std::string_view host, std::string* why = nullptr);

}  // namespace kmtool::apikey
