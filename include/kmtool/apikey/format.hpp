#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kmtool/core/secret.hpp"
#include "kmtool/crypto/digest.hpp"

/// An API key is `PREFIX_ID_SECRETCHECK`:
///   PREFIX  2…12 of [a-z0-9], a letter first (policy; `kmt`): what a person recognises
///   ID      10 of Crockford's base 32 (small letters without i, l, o, u): public, what the registry is looked up by
///   SECRET  43 of base 62 [0-9A-Za-z]: 256 bits of the token's random numbers, big-endian, led by zeros
///   CHECK    6 of base 62: CRC-32 (that of zlib) of everything before it: tells a key from noise, and a typing error from a wrong key
/// At rest is SHA-256 of the whole text: 256 random bits need neither salt nor pepper.
namespace kmtool::apikey {

inline constexpr std::size_t id_length = 10, secret_length = 43, check_length = 6;
inline constexpr std::size_t shortest_prefix = 2, longest_prefix = 12;
inline constexpr std::size_t longest_key = longest_prefix + 1 + id_length + 1 + secret_length + check_length;
inline constexpr std::string_view default_prefix = "kmt";

/// SHA-256 of a key's text.
using KeyDigest = crypto::Sha256;

bool is_prefix(std::string_view text);
bool is_id(std::string_view text);
/// An id as the number its 50 bits are (never above 2^50); nullopt where it is none.
std::optional<std::uint64_t> id_number(std::string_view id);
std::string id_text(std::uint64_t number);

/// What stands in a text that has the form of a key.
struct KeyParts {
  enum class Form { ok, malformed, wrong_check } form = Form::malformed;
  std::string_view prefix, id;     ///< views of the text; empty where the form is malformed
  std::uint64_t number = 0;        ///< of the id
};
/// Looks at form and check only; takes the same time for every text of the same length and form.
KeyParts parse_key(std::string_view text);
/// The form alone: `ok` says nothing of the check. A digest that is the right one makes looking at it needless.
KeyParts parse_form(std::string_view text);
/// The check of a text that parse_form() found ok.
bool check_holds(std::string_view key);

/// The id of 50 random bits (the first 7 bytes).
std::string make_id(ByteView seven_random_bytes);
/// A key's text from 32 random bytes; it only ever lies on the secret heap. Throws internal for other lengths and names.
SecretBytes make_key(std::string_view prefix, std::string_view id, const SecretBytes& thirty_two_random_bytes);

KeyDigest digest_of(std::string_view key);
/// Constant time.
bool same_digest(const KeyDigest& a, const KeyDigest& b) noexcept;

/// `kmt_7f3k9q2x4b_…`: what may be shown of a key.
std::string redacted(std::string_view key);

/// CRC-32 as zlib and gzip have it.
std::uint32_t crc32_of(std::string_view text);
/// Six digits of base 62, led by zeros.
std::string base62_check(std::uint32_t crc);

}  // namespace kmtool::apikey
