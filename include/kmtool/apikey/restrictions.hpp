#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/apikey/address.hpp"
#include "kmtool/apikey/rate.hpp"
#include "kmtool/apikey/referrer.hpp"
#include "kmtool/core/json.hpp"
#include "kmtool/core/time.hpp"

namespace kmtool::apikey {

/// `PACKAGE=CERT-SHA256`
struct AndroidApp {
  std::string package;
  std::string certificate;  ///< SHA-256 of the signing certificate, 64 small hexadecimal digits
  /// Throws usage (64).
  static AndroidApp parse(std::string_view text);
  bool operator==(const AndroidApp&) const = default;
};
/// Hexadecimal with or without colons in either case, base64, base64url with or without padding → small hexadecimal. nullopt where it
/// is not 32 bytes (a SHA-1 digest, say).
std::optional<std::string> canonical_certificate(std::string_view text);
bool is_android_package(std::string_view text);
bool is_ios_bundle(std::string_view text);
bool is_scope(std::string_view text);

/// `[DAYS] HH:MM-HH:MM[Z|±HH:MM]`, e.g. `mon-fri 08:00-18:00`, `sat,sun 10:00-24:00+02:00`; the end is outside.
struct TimeWindow {
  std::uint8_t days = 0x7f;  ///< bit 0: Monday
  int from = 0, to = 1440;   ///< minutes of the day; from < to
  int east = 0;              ///< minutes east of UTC

  /// Throws usage (64); a window over midnight is refused (whose day is it?): write two.
  static TimeWindow parse(std::string_view text);
  [[nodiscard]] bool contains(UnixTime time) const;
  [[nodiscard]] std::string text() const;
  bool operator==(const TimeWindow&) const = default;
};

/// What a request must be. Of one kind any entry may hold, of different kinds all must; a kind without entries restricts nothing.
struct Restrictions {
  std::vector<Network> ip;
  std::vector<ReferrerPattern> referrer;
  std::vector<AndroidApp> android;
  std::vector<std::string> ios;
  std::vector<std::string> scopes;
  std::vector<TimeWindow> windows;
  std::optional<Rate> rate;
  bool unrestricted = false;  ///< somebody said that this key needs no network restriction

  /// A restriction that a client cannot simply assert: the address. Networks that together are every IPv4 or every IPv6 address
  /// (0.0.0.0/1 and 128.0.0.0/1, say) are none.
  [[nodiscard]] bool network() const { return !ip.empty() && !cover_most(ip); }
  /// `{"ip":[…],"referrer":[…],"android":["PACKAGE=HEX"…],"ios":[…],"scopes":[…],"windows":[…],"rate":"60/min","unrestricted":true}`;
  /// what is not restricted is left out.
  [[nodiscard]] Json to_json() const;
  /// The strict inverse; every text must be in its one spelling. Failures go through `fail`, which must throw.
  static Restrictions from_json(const Json& json, const JsonFail& fail);
  /// The same from dump_json(to_json()), many times faster; nullopt for what is not exactly that (from_json() says why).
  static std::optional<Restrictions> from_canonical(std::string_view text);
  /// Throws usage (64) for what no client can be: Android and iOS at once; repeated entries; more than 100 of a kind.
  void require_sensible() const;
  /// One line for tables: `ip 10.0.0.0/8, scopes read write, 60/min`.
  [[nodiscard]] std::string summary() const;
  bool operator==(const Restrictions&) const = default;
};

/// Restrictions that many keys may have in common: to copy them costs a counter. They are replaced as a whole.
class SharedRestrictions {
 public:
  SharedRestrictions();
  SharedRestrictions(Restrictions restrictions) : held_(std::make_shared<const Restrictions>(std::move(restrictions))) {}
  const Restrictions* operator->() const noexcept { return held_.get(); }
  const Restrictions& operator*() const noexcept { return *held_; }
  bool operator==(const SharedRestrictions& other) const { return held_ == other.held_ || *held_ == *other.held_; }

 private:
  std::shared_ptr<const Restrictions> held_;  ///< never null
};

}  // namespace kmtool::apikey
