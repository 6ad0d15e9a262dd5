#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kmtool/core/bytes.hpp"
#include "kmtool/tlog/tree.hpp"

namespace kmtool::tlog {

/// C2SP tlog-tiles: a tile is 256 hashes in a row of one level; tile level L holds tree level 8 × L.
inline constexpr std::uint64_t tile_width = 256;
inline constexpr unsigned tile_height = 8;

/// `tile/0/x001/067`, `tile/1/000.p/12`; width 1…256.
std::string tile_path(unsigned level, std::uint64_t n, std::uint64_t width = tile_width);
/// `tile/entries/x001/067`
std::string entries_path(std::uint64_t n, std::uint64_t width = tile_width);

/// The stored indexes (tree.hpp) of a tile's hashes.
std::vector<std::uint64_t> tile_indexes(unsigned level, std::uint64_t n, std::uint64_t width);
/// The hashes, one behind the other.
Bytes tile_bytes(const std::vector<Hash>& hashes);
/// An entry bundle's next entry: a big-endian length of 16 bits and that many bytes. Throws internal where it is too long.
void add_to_bundle(Bytes& bundle, std::string_view entry);
/// All entries of a bundle; throws damaged (65).
std::vector<std::string_view> split_bundle(std::string_view bundle);

/// The tree of leaves that come one after another, in memory that does not grow.
class Growing {
 public:
  /// Adds a leaf; `completed(level, n, hash)` is told every subtree that this completes, the leaf itself (level 0) first.
  template <class Completed>
  void add(const Hash& leaf, Completed&& completed) {
    Hash hash = leaf;
    unsigned level = 0;
    completed(level, size_, hash);
    for (; ((size_ >> level) & 1) != 0; ++level) {
      hash = node_hash(levels_[level], hash);
      completed(level + 1, size_ >> (level + 1), hash);
    }
    levels_[level] = hash;
    ++size_;
  }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] Hash root() const;

 private:
  std::array<Hash, 64> levels_{};
  std::uint64_t size_ = 0;
};

}  // namespace kmtool::tlog
