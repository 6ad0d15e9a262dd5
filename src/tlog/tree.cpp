#include "kmtool/tlog/tree.hpp"

#include <algorithm>
#include <bit>

#include "kmtool/core/error.hpp"
#include "kmtool/crypto/digest.hpp"

namespace kmtool::tlog {
namespace {

/// Beyond this, numbers of stored hashes would not fit 64 bits.
constexpr std::uint64_t largest_tree = std::uint64_t{1} << 62;

/// Leaves begin ≤ n < end.
struct Range {
  std::uint64_t begin, end;
};

/// The largest power of two below `n`, where RFC 6962 splits a tree of n > 1 leaves.
std::uint64_t split_point(std::uint64_t n) { return std::bit_floor(n - 1); }

std::vector<Hash> read_exactly(const HashReader& read, const std::vector<std::uint64_t>& indexes) {
  if (indexes.empty()) return {};
  auto hashes = read(indexes);
  if (hashes.size() != indexes.size()) throw Error::internal("the journal's tree gave a wrong number of hashes");
  return hashes;
}

/// A range that a proof speaks of is a row of complete subtrees, largest first. These are their stored hashes.
void add_subtrees(Range range, std::vector<std::uint64_t>& indexes) {
  while (range.begin < range.end) {
    const std::uint64_t width = std::bit_floor(range.end - range.begin);
    const auto level = static_cast<unsigned>(std::countr_zero(width));
    indexes.push_back(stored_index(level, range.begin >> level));
    range.begin += width;
  }
}

/// The Merkle hash of each range, with one call of the reader for all.
std::vector<Hash> hash_ranges(const std::vector<Range>& ranges, const HashReader& read) {
  std::vector<std::uint64_t> indexes;
  std::vector<std::size_t> ends;
  for (const Range& range : ranges) {
    add_subtrees(range, indexes);
    ends.push_back(indexes.size());
  }
  const auto stored = read_exactly(read, indexes);
  std::vector<Hash> hashes;
  std::size_t begin = 0;
  for (const std::size_t end : ends) {
    Hash hash = stored.at(end - 1);
    for (std::size_t i = end - 1; i-- > begin;) hash = node_hash(stored[i], hash);
    hashes.push_back(hash);
    begin = end;
  }
  return hashes;
}

void require_size(bool ok) {
  if (!ok) throw Error::internal("a proof was asked for outside the tree");
}

}  // namespace

Hash leaf_hash(ByteView entry) {
  // Copied behind the prefix: that costs less than a stream of its own for each entry, of which a journal has a million.
  static thread_local Bytes prefixed;
  prefixed.assign(1, 0);
  append(prefixed, entry);
  return crypto::sha256(prefixed);
}

Hash node_hash(const Hash& left, const Hash& right) {
  std::array<std::uint8_t, 65> both{1};
  std::copy(left.begin(), left.end(), both.begin() + 1);
  std::copy(right.begin(), right.end(), both.begin() + 33);
  return crypto::sha256(both);
}

Hash empty_root() { return crypto::sha256({}); }

std::uint64_t stored_index(unsigned level, std::uint64_t n) {
  // The hash (level, n) is stored right after its last leaf's; the leaf's place is the number of subtrees completed before it.
  for (unsigned l = level; l > 0; --l) n = 2 * n + 1;
  std::uint64_t index = 0;
  for (; n > 0; n >>= 1) index += n;
  return index + level;
}

std::uint64_t stored_count(std::uint64_t n) {
  if (n == 0) return 0;
  return stored_index(0, n - 1) + 1 + static_cast<std::uint64_t>(std::countr_one(n - 1));
}

std::vector<Hash> hashes_for_append(std::uint64_t n, const Hash& leaf, const HashReader& read) {
  require_size(n < largest_tree);
  // Every trailing one bit of n is a subtree that this leaf completes, with the one to its left.
  const auto completed = static_cast<unsigned>(std::countr_one(n));
  std::vector<std::uint64_t> indexes;
  for (unsigned level = 0; level < completed; ++level) indexes.push_back(stored_index(level, (n >> level) - 1));
  const auto left = read_exactly(read, indexes);
  std::vector<Hash> hashes{leaf};
  for (const Hash& hash : left) hashes.push_back(node_hash(hash, hashes.back()));
  return hashes;
}

Hash root_of(std::uint64_t size, const HashReader& read) {
  require_size(size <= largest_tree);
  if (size == 0) return empty_root();
  return hash_ranges({{0, size}}, read).front();
}

Proof prove_inclusion(std::uint64_t leaf, std::uint64_t size, const HashReader& read) {
  require_size(leaf < size && size <= largest_tree);
  std::vector<Range> siblings;  // from the root down
  for (Range tree{0, size}; tree.end - tree.begin > 1;) {
    const std::uint64_t middle = tree.begin + split_point(tree.end - tree.begin);
    if (leaf < middle) {
      siblings.push_back({middle, tree.end});
      tree.end = middle;
    } else {
      siblings.push_back({tree.begin, middle});
      tree.begin = middle;
    }
  }
  std::reverse(siblings.begin(), siblings.end());
  return hash_ranges(siblings, read);
}

bool check_inclusion(const Proof& proof, std::uint64_t leaf, std::uint64_t size, const Hash& leaf_hash, const Hash& root) {
  if (leaf >= size) return false;
  // RFC 9162, 2.1.3.2.
  std::uint64_t at = leaf, last = size - 1;
  Hash hash = leaf_hash;
  for (const Hash& sibling : proof) {
    if (last == 0) return false;
    if ((at & 1) != 0 || at == last) {
      hash = node_hash(sibling, hash);
      while ((at & 1) == 0 && at != 0) {
        at >>= 1;
        last >>= 1;
      }
    } else {
      hash = node_hash(hash, sibling);
    }
    at >>= 1;
    last >>= 1;
  }
  return last == 0 && hash == root;
}

Proof prove_consistency(std::uint64_t old_size, std::uint64_t size, const HashReader& read) {
  require_size(old_size <= size && size <= largest_tree);
  if (old_size == 0 || old_size == size) return {};
  std::vector<Range> parts;  // from the root down
  Range tree{0, size};
  while (old_size < tree.end) {
    const std::uint64_t middle = tree.begin + split_point(tree.end - tree.begin);
    if (old_size <= middle) {
      parts.push_back({middle, tree.end});
      tree.end = middle;
    } else {
      parts.push_back({tree.begin, middle});
      tree.begin = middle;
    }
  }
  // The verifier knows the old root itself, and needs no hash for it.
  if (tree.begin != 0) parts.push_back(tree);
  std::reverse(parts.begin(), parts.end());
  return hash_ranges(parts, read);
}

bool check_consistency(const Proof& proof, std::uint64_t old_size, std::uint64_t size, const Hash& old_root, const Hash& root) {
  if (old_size > size) return false;
  if (old_size == size) return proof.empty() && old_root == root && (size != 0 || root == empty_root());
  if (old_size == 0) return proof.empty() && old_root == empty_root();
  if (proof.empty()) return false;
  // RFC 9162, 2.1.4.2.
  std::uint64_t at = old_size - 1, last = size - 1;
  const auto shift = std::countr_one(at);
  at >>= shift;
  last >>= shift;
  auto part = proof.begin();
  // An old tree that is a complete subtree is its own first part.
  Hash old_hash = std::has_single_bit(old_size) ? old_root : *part++;
  Hash hash = old_hash;
  for (; part != proof.end(); ++part) {
    if (last == 0) return false;
    if ((at & 1) != 0 || at == last) {
      old_hash = node_hash(*part, old_hash);
      hash = node_hash(*part, hash);
      while ((at & 1) == 0 && at != 0) {
        at >>= 1;
        last >>= 1;
      }
    } else {
      hash = node_hash(hash, *part);
    }
    at >>= 1;
    last >>= 1;
  }
  return last == 0 && old_hash == old_root && hash == root;
}

}  // namespace kmtool::tlog
