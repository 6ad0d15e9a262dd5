#pragma once
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kmtool/apikey/address.hpp"
#include "kmtool/core/time.hpp"

namespace kmtool::apikey {

/// What is known of a request. Absent and empty are the same: missing. The views must outlive the decision.
struct Request {
  std::optional<Address> client;    ///< who sent it, as the host that decides saw it
  std::string_view client_text;     ///< where it could not be parsed: what was given (for messages), else empty
  std::string_view referrer;        ///< asserted by the client, as are the three below
  std::string_view android_package, android_certificate;
  std::string_view ios_bundle;
  std::vector<std::string_view> scopes;  ///< what the request needs; the key must have all of them
  UnixTime time = 0;                     ///< seconds, by this host's clock
  UnixTime latest = 0;                   ///< a time that is known to have come, by a signature or by this clock before
  std::int64_t microseconds = 0;         ///< a clock for the rate limit that does not run backwards

  /// What has ended by then has ended: a clock that was set back revives no key.
  [[nodiscard]] UnixTime ends_by() const noexcept { return std::max(time, latest); }
  /// How far the clock is behind what is known, where that is more than clocks that are kept right differ by; else 0.
  [[nodiscard]] UnixTime clock_behind() const noexcept { return seconds_behind(time, latest); }
  static constexpr UnixTime seconds_behind(UnixTime now, UnixTime latest) noexcept {
    constexpr UnixTime everyday = 5;
    return latest > now + everyday ? latest - now : 0;
  }

  /// Parses an address; what is none is kept as client_text and denied where addresses matter.
  void set_client(std::string_view text) {
    client = Address::parse(text);
    client_text = client ? std::string_view{} : text;
  }
};

}  // namespace kmtool::apikey
