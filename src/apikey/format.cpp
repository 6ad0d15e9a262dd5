#include "kmtool/apikey/format.hpp"

#include <zlib.h>

#include <algorithm>

#include "kmtool/core/error.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::apikey {

namespace {

constexpr std::string_view base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
constexpr std::string_view base32 = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr std::size_t id_bits = 50;

constexpr std::uint8_t none = 0xff;

/// Digit values by character. Looked up without a branch, so that the time to read a key does not depend on what stands in it.
constexpr std::array<std::uint8_t, 256> values_of(std::string_view digits) {
  std::array<std::uint8_t, 256> values{};
  values.fill(none);
  for (std::size_t i = 0; i < digits.size(); ++i) values[static_cast<unsigned char>(digits[i])] = static_cast<std::uint8_t>(i);
  return values;
}
constexpr auto base62_values = values_of(base62), base32_values = values_of(base32);

bool all_base62(std::string_view text) {
  unsigned bad = 0;
  for (const char c : text) bad |= base62_values[static_cast<unsigned char>(c)] & 0x80U;
  return bad == 0;
}

/// The bytes as a number, big-endian, in base 62: `out` is filled from its end, and `number` is used up. Branches depend on sizes alone.
void to_base62(std::span<std::uint8_t> number, std::span<std::uint8_t> out) {
  for (std::size_t place = out.size(); place-- > 0;) {
    unsigned rest = 0;
    for (auto& byte : number) {
      const unsigned value = rest * 256 + byte;
      byte = static_cast<std::uint8_t>(value / 62);
      rest = value % 62;
    }
    out[place] = static_cast<std::uint8_t>(base62[rest]);
  }
}

}  // namespace

bool is_prefix(std::string_view text) {
  if (text.size() < shortest_prefix || text.size() > longest_prefix || text[0] < 'a' || text[0] > 'z') return false;
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
}

std::optional<std::uint64_t> id_number(std::string_view id) {
  if (id.size() != id_length) return std::nullopt;
  std::uint64_t number = 0;
  unsigned bad = 0;
  for (const char c : id) {
    const unsigned digit = base32_values[static_cast<unsigned char>(c)];
    bad |= digit & 0x80U;
    number = number << 5 | (digit & 31U);
  }
  return bad == 0 ? std::optional(number) : std::nullopt;
}

bool is_id(std::string_view text) { return id_number(text).has_value(); }

std::string id_text(std::uint64_t number) {
  std::string text(id_length, '0');
  for (std::size_t place = id_length; place-- > 0; number >>= 5) text[place] = base32[number & 31];
  return text;
}

std::uint32_t crc32_of(std::string_view text) {
  return static_cast<std::uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size())));
}

std::string base62_check(std::uint32_t crc) {
  std::string text(check_length, '0');
  for (std::size_t place = check_length; place-- > 0; crc /= 62) text[place] = base62[crc % 62];
  return text;
}

bool check_holds(std::string_view key) {
  const auto body = key.substr(0, key.size() - check_length);
  return base62_check(crc32_of(body)) == key.substr(body.size());
}

KeyParts parse_key(std::string_view text) {
  auto parts = parse_form(text);
  if (parts.form == KeyParts::Form::ok && !check_holds(text)) parts.form = KeyParts::Form::wrong_check;
  return parts;
}

KeyParts parse_form(std::string_view text) {
  constexpr std::size_t behind_prefix = 1 + id_length + 1 + secret_length + check_length;
  KeyParts parts;
  if (text.size() < shortest_prefix + behind_prefix || text.size() > longest_key) return parts;
  const auto prefix = text.substr(0, text.size() - behind_prefix);
  const auto id = text.substr(prefix.size() + 1, id_length);
  const auto tail = text.substr(text.size() - secret_length - check_length);
  const auto number = id_number(id);
  const bool separated = text[prefix.size()] == '_' && text[prefix.size() + 1 + id_length] == '_';
  if (!is_prefix(prefix) || !number || !separated || !all_base62(tail)) return parts;
  parts.prefix = prefix;
  parts.id = id;
  parts.number = *number;
  parts.form = KeyParts::Form::ok;
  return parts;
}

std::string make_id(ByteView seven_random_bytes) {
  if (seven_random_bytes.size() != 7) throw Error::internal("an api key's id is made from 7 bytes");
  std::uint64_t number = 0;
  for (const auto byte : seven_random_bytes) number = number << 8 | byte;
  return id_text(number & ((std::uint64_t{1} << id_bits) - 1));
}

SecretBytes make_key(std::string_view prefix, std::string_view id, const SecretBytes& thirty_two_random_bytes) {
  if (!is_prefix(prefix) || !is_id(id) || thirty_two_random_bytes.size() != 32) throw Error::internal("an api key is made from a prefix, an id and 32 bytes");
  SecretBytes number(thirty_two_random_bytes.reveal());
  SecretBytes key(prefix.size() + 1 + id_length + 1 + secret_length + check_length);
  const auto text = key.reveal_mutable();
  auto at = std::copy(prefix.begin(), prefix.end(), text.begin());
  *at++ = '_';
  at = std::copy(id.begin(), id.end(), at);
  *at++ = '_';
  to_base62(number.reveal_mutable(), text.subspan(static_cast<std::size_t>(at - text.begin()), secret_length));
  const std::string_view before(reinterpret_cast<const char*>(text.data()), text.size() - check_length);
  const auto check = base62_check(crc32_of(before));
  std::copy(check.begin(), check.end(), text.end() - static_cast<std::ptrdiff_t>(check_length));
  return key;
}

KeyDigest digest_of(std::string_view key) { return crypto::sha256(view(key)); }

bool same_digest(const KeyDigest& a, const KeyDigest& b) noexcept {
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned>(a[i] ^ b[i]);
  const volatile unsigned result = difference;  // one look at the end: the compiler must not stop early
  return result == 0;
}

std::string redacted(std::string_view key) {
  const auto parts = parse_key(key);
  if (parts.id.empty()) return "…";
  return std::string(parts.prefix) + "_" + std::string(parts.id) + "_…";
}

}  // namespace kmtool::apikey
