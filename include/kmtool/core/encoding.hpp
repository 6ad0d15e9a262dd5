#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "kmtool/core/bytes.hpp"

namespace kmtool {

/// Lower-case hexadecimal.
std::string hex(ByteView bytes);
/// Strict: lower or upper case digits, even length. nullopt when it is anything else.
std::optional<Bytes> from_hex(std::string_view text);

/// RFC 4648 section 4 with padding, no line breaks.
std::string base64(ByteView bytes);
/// Strict: accepts exactly the texts that base64() can produce (canonical trailing bits, full padding, no white space).
std::optional<Bytes> from_base64(std::string_view text);

/// Big-endian unsigned integers, as the formats here write them.
Bytes big_endian(std::uint64_t value, std::size_t width);

/// A random UUID (version 4) text from 16 random bytes.
std::string uuid_text(ByteView sixteen);
/// 8-4-4-4-12 lower-case hex.
bool is_uuid(std::string_view text);

}  // namespace kmtool
