#pragma once
#include <initializer_list>
#include <optional>

#include "kmtool/core/bytes.hpp"

/// The little DER that public keys and ECDSA signatures need. For the files of this room.
namespace kmtool::crypto::der {

constexpr std::uint8_t integer = 0x02, bit_string = 0x03, octet_string = 0x04, sequence = 0x30;

/// Tag, length and contents.
Bytes element(std::uint8_t tag, ByteView contents);
Bytes concatenate(std::initializer_list<ByteView> parts);
/// An INTEGER from big-endian unsigned bytes, in its shortest form.
Bytes unsigned_integer(ByteView big_endian);

/// Takes one element with this tag from the front and gives its contents; nullopt (and `from` untouched) when there is none
/// or when its length is not in the shortest form.
std::optional<ByteView> take(ByteView& from, std::uint8_t tag);

}  // namespace kmtool::crypto::der
