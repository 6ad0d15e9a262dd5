#include "kmtool/apikey/address.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kmtool/core/error.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::apikey {

namespace {

constexpr std::array<std::uint8_t, 12> mapped_head{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
/// ::ffff:0.0.0.0 as IPv6 writes it.
constexpr Address mapped_any{true, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}};

/// The address as written, v4-mapped or not.
std::optional<Address> parse_plain(std::string_view text) {
  char buffer[INET6_ADDRSTRLEN + 1] = {};
  if (text.empty() || text.size() >= sizeof buffer || text.find('\0') != std::string_view::npos) return std::nullopt;
  std::memcpy(buffer, text.data(), text.size());
  Address address;
  address.v6 = text.find(':') != std::string_view::npos;
  if (inet_pton(address.v6 ? AF_INET6 : AF_INET, buffer, address.bytes.data()) != 1) return std::nullopt;
  return address;
}

bool is_mapped(const Address& address) {
  return address.v6 && std::equal(mapped_head.begin(), mapped_head.end(), address.bytes.begin());
}

[[noreturn]] void refuse(std::string_view text, const std::string& what, const std::string& hint) {
  throw Error::usage("network " + printable(text) + ": " + what, hint);
}

/// Bits of a byte that a prefix of `bits` covers.
std::uint8_t mask(int bits) { return bits >= 8 ? 0xff : bits <= 0 ? 0 : static_cast<std::uint8_t>(0xff << (8 - bits)); }

int parse_prefix(std::string_view whole, std::string_view digits, int most) {
  const bool numeric = !digits.empty() && digits.size() <= 3 && std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!numeric || (digits.size() > 1 && digits[0] == '0')) refuse(whole, "the prefix length is not a plain number", "write 192.0.2.0/24 or 2001:db8::/32");
  int prefix = 0;
  for (const char c : digits) prefix = prefix * 10 + (c - '0');
  if (prefix > most) refuse(whole, "the prefix length is at most " + std::to_string(most), "write 192.0.2.0/24 or 2001:db8::/32");
  return prefix;
}

}  // namespace

Address Address::from_v4(const std::uint8_t* four) {
  Address address;
  std::copy_n(four, 4, address.bytes.begin());
  return address;
}

Address Address::from_v6(const std::uint8_t* sixteen) {
  Address address;
  address.v6 = true;
  std::copy_n(sixteen, 16, address.bytes.begin());
  return is_mapped(address) ? from_v4(sixteen + 12) : address;
}

std::optional<Address> Address::parse(std::string_view text) {
  const auto address = parse_plain(text);
  if (address && address->v6) return from_v6(address->bytes.data());
  return address;
}

std::string Address::text() const {
  char buffer[INET6_ADDRSTRLEN] = {};
  inet_ntop(v6 ? AF_INET6 : AF_INET, bytes.data(), buffer, sizeof buffer);
  return buffer;
}

Network Network::parse(std::string_view text) {
  const auto slash = text.find('/');
  const auto host = text.substr(0, slash);
  if (host.find('%') != std::string_view::npos) refuse(text, "an address with a zone id means something on one host only", "leave %… out");
  const auto plain = parse_plain(host);
  if (!plain) {
    refuse(text, "not an address", "write an address or network such as 203.0.113.7, 192.0.2.0/24 or 2001:db8::/32; no names, ports, brackets or leading zeros");
  }
  Network network;
  network.base = *plain;
  network.prefix = slash == std::string_view::npos ? network.longest_prefix() : parse_prefix(text, text.substr(slash + 1), network.longest_prefix());
  if (is_mapped(*plain) && network.prefix >= 96) {
    network.base = Address::from_v6(plain->bytes.data());
    network.prefix -= 96;
  } else if (network.base.v6 && network.contains(mapped_any)) {
    refuse(text, "it covers the IPv4 addresses as well, but only as IPv6 writes them", "name IPv4 and IPv6 networks apart");
  }
  Address clear = network.base;
  for (int i = 0; i < 16; ++i) clear.bytes[static_cast<std::size_t>(i)] &= mask(network.prefix - 8 * i);
  if (clear != network.base) {
    const Network meant{clear, network.prefix};
    refuse(text, "it has bits set behind its prefix: is the network or the one address meant?",
           "write " + meant.text() + " for the network, " + network.base.text() + " for the address");
  }
  if (network.prefix == 0) refuse(text, "every address is in it: that is no restriction", "leave --ip out and say --unrestricted");
  return network;
}

bool Network::contains(const Address& address) const {
  if (address.v6 != base.v6) return false;
  const auto whole = static_cast<std::size_t>(prefix / 8);
  if (!std::equal(base.bytes.begin(), base.bytes.begin() + static_cast<std::ptrdiff_t>(whole), address.bytes.begin())) return false;
  if (whole == base.bytes.size()) return true;
  return ((base.bytes[whole] ^ address.bytes[whole]) & mask(prefix % 8)) == 0;
}

namespace {

/// What part of all addresses it is: of IPv4's, or of IPv6's global unicast ones (2000::/3, RFC 4291), for the others meet nobody.
double part_of(const Network& network) {
  if (!network.base.v6) return std::ldexp(1.0, -network.prefix);
  static const Network global = Network::parse("2000::/3");
  if (network.prefix <= global.prefix) return network.contains(global.base) ? 1 : 0;
  return global.contains(network.base) ? std::ldexp(1.0, global.prefix - network.prefix) : 0;
}

}  // namespace

bool cover_most(const std::vector<Network>& networks) {
  double of_v4 = 0, of_v6 = 0;
  for (std::size_t i = 0; i < networks.size(); ++i) {
    // Two networks are apart, or one lies in the other: those that lie in no other are counted.
    const auto& network = networks[i];
    bool inside = false;
    for (std::size_t j = 0; j < networks.size() && !inside; ++j) {
      const auto& other = networks[j];
      inside = j != i && other.contains(network.base) && (other.prefix < network.prefix || (other.prefix == network.prefix && j < i));
    }
    if (!inside) (network.base.v6 ? of_v6 : of_v4) += part_of(network);
  }
  return of_v4 > 0.5 || of_v6 > 0.5;
}

std::string Network::text() const {
  return prefix == longest_prefix() ? base.text() : base.text() + "/" + std::to_string(prefix);
}

}  // namespace kmtool::apikey
