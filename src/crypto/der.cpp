#include "der.hpp"

namespace kmtool::crypto::der {

Bytes element(std::uint8_t tag, ByteView contents) {
  Bytes bytes{tag};
  if (contents.size() < 0x80) {
    bytes.push_back(static_cast<std::uint8_t>(contents.size()));
  } else {
    Bytes length;
    for (std::size_t left = contents.size(); left != 0; left >>= 8) {
      length.insert(length.begin(), static_cast<std::uint8_t>(left & 255));
    }
    bytes.push_back(static_cast<std::uint8_t>(0x80 | length.size()));
    append(bytes, length);
  }
  append(bytes, contents);
  return bytes;
}

Bytes concatenate(std::initializer_list<ByteView> parts) {
  Bytes bytes;
  for (const ByteView part : parts) append(bytes, part);
  return bytes;
}

Bytes unsigned_integer(ByteView big_endian) {
  while (big_endian.size() > 1 && big_endian.front() == 0) big_endian = big_endian.subspan(1);
  Bytes contents;
  // A leading one bit would make the number negative.
  if (big_endian.empty() || (big_endian.front() & 0x80) != 0) contents.push_back(0);
  append(contents, big_endian);
  return element(integer, contents);
}

std::optional<ByteView> take(ByteView& from, std::uint8_t tag) {
  if (from.size() < 2 || from[0] != tag) return std::nullopt;
  std::size_t length = from[1], header = 2;
  if (length >= 0x80) {
    const std::size_t width = length & 0x7f;
    if (width == 0 || width > 4 || from.size() < 2 + width || from[2] == 0) return std::nullopt;
    length = 0;
    for (std::size_t i = 0; i < width; ++i) length = length << 8 | from[2 + i];
    if (length < 0x80) return std::nullopt;
    header += width;
  }
  if (from.size() - header < length) return std::nullopt;
  const ByteView contents = from.subspan(header, length);
  from = from.subspan(header + length);
  return contents;
}

}  // namespace kmtool::crypto::der
