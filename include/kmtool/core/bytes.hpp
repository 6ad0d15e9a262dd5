#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kmtool {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;

/// The bytes of a text, uncopied.
inline ByteView view(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline Bytes to_bytes(std::string_view text) { return {text.begin(), text.end()}; }
inline std::string to_text(ByteView bytes) { return {bytes.begin(), bytes.end()}; }
/// Compared byte for byte; not for secrets (those compare in SecretBytes).
inline bool equal(ByteView a, ByteView b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin());
}
inline void append(Bytes& to, ByteView what) { to.insert(to.end(), what.begin(), what.end()); }

}  // namespace kmtool
