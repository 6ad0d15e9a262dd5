#include "kmtool/tlog/tiles.hpp"

#include <fmt/format.h>

#include <bit>

#include "kmtool/core/error.hpp"

namespace kmtool::tlog {

namespace {

/// 1234067 → `x001/x234/067`
std::string number_path(std::uint64_t n) {
  std::string path = fmt::format("{:03}", n % 1000);
  for (n /= 1000; n > 0; n /= 1000) path.insert(0, fmt::format("x{:03}/", n % 1000));
  return path;
}

std::string path_of(const std::string& folder, std::uint64_t n, std::uint64_t width) {
  if (width == 0 || width > tile_width) throw Error::internal("a tile has 1 to 256 hashes");
  return "tile/" + folder + "/" + number_path(n) + (width == tile_width ? "" : ".p/" + std::to_string(width));
}

}  // namespace

std::string tile_path(unsigned level, std::uint64_t n, std::uint64_t width) { return path_of(std::to_string(level), n, width); }
std::string entries_path(std::uint64_t n, std::uint64_t width) { return path_of("entries", n, width); }

std::vector<std::uint64_t> tile_indexes(unsigned level, std::uint64_t n, std::uint64_t width) {
  std::vector<std::uint64_t> indexes;
  for (std::uint64_t i = 0; i < width; ++i) indexes.push_back(stored_index(level * tile_height, n * tile_width + i));
  return indexes;
}

Bytes tile_bytes(const std::vector<Hash>& hashes) {
  Bytes bytes;
  for (const auto& hash : hashes) append(bytes, hash);
  return bytes;
}

void add_to_bundle(Bytes& bundle, std::string_view entry) {
  if (entry.size() > 0xffff) throw Error::internal("an entry is too long for a tile");
  bundle.push_back(static_cast<std::uint8_t>(entry.size() >> 8));
  bundle.push_back(static_cast<std::uint8_t>(entry.size() & 0xff));
  append(bundle, view(entry));
}

std::vector<std::string_view> split_bundle(std::string_view bundle) {
  std::vector<std::string_view> entries;
  while (!bundle.empty()) {
    const std::size_t size = bundle.size() < 2 ? bundle.size() : std::size_t{view(bundle)[0]} << 8 | view(bundle)[1];
    if (bundle.size() < 2 || size > bundle.size() - 2) throw Error::tampered("a bundle of entries is cut short");
    entries.push_back(bundle.substr(2, size));
    bundle.remove_prefix(2 + size);
  }
  return entries;
}

Hash Growing::root() const {
  if (size_ == 0) return empty_root();
  auto level = static_cast<unsigned>(std::countr_zero(size_));
  Hash hash = levels_[level];
  for (std::uint64_t rest = size_ >> ++level; rest != 0; rest >>= 1, ++level) {
    if ((rest & 1) != 0) hash = node_hash(levels_[level], hash);
  }
  return hash;
}

}  // namespace kmtool::tlog
