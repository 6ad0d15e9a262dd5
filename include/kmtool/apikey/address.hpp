#pragma once
#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kmtool::apikey {

/// An IPv4 or IPv6 address. A v4-mapped one (::ffff:a.b.c.d) is the IPv4 address it maps.
struct Address {
  bool v6 = false;
  std::array<std::uint8_t, 16> bytes{};  ///< network order; an IPv4 address fills the first four

  /// Dotted quad without leading zeros, or RFC 4291 text. Nothing else: no zone id (`fe80::1%eth0`), no port, no brackets, no
  /// shorthand such as `127.1`, no white space.
  static std::optional<Address> parse(std::string_view text);
  /// From sockaddr bytes: 4 or 16 of them.
  static Address from_v4(const std::uint8_t* four);
  static Address from_v6(const std::uint8_t* sixteen);
  /// RFC 5952.
  [[nodiscard]] std::string text() const;
  auto operator<=>(const Address&) const = default;  // NOLINT(modernize-use-nullptr): a false alarm of clang-tidy 14
};

/// A network in CIDR notation, or one address (a full-length prefix).
struct Network {
  Address base;
  int prefix = 0;  ///< bits; 0…32 of IPv4, 0…128 of IPv6

  /// Throws usage (64) with what is wrong: host bits set (which network is meant?), zone ids, prefix out of range or with leading
  /// zeros, a v4-mapped network shorter than /96 (it would be half IPv4).
  static Network parse(std::string_view text);
  [[nodiscard]] bool contains(const Address& address) const;
  /// `10.0.0.0/8`; a single address without `/32` and `/128`.
  [[nodiscard]] std::string text() const;
  [[nodiscard]] int longest_prefix() const { return base.v6 ? 128 : 32; }
  bool operator==(const Network&) const = default;
};

/// More than half of IPv4's addresses, or of IPv6's global ones, are in one of them: that restricts nobody. It is a share, and not all of them,
/// because much of the address space has no hosts, and a list without that would pass for a restriction.
bool cover_most(const std::vector<Network>& networks);

}  // namespace kmtool::apikey
