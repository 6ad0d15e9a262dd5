#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "kmtool/core/bytes.hpp"

namespace kmtool::tlog {

/// RFC 6962 section 2.1 hashes.
using Hash = std::array<std::uint8_t, 32>;
Hash leaf_hash(ByteView entry);               ///< SHA-256(0x00 ‖ entry)
Hash node_hash(const Hash& left, const Hash& right);  ///< SHA-256(0x01 ‖ left ‖ right)
Hash empty_root();                            ///< SHA-256("")

/// Complete subtree hashes are stored in one flat sequence (as golang.org/x/mod/sumdb/tlog numbers them): appending leaf n
/// adds its leaf hash and the hashes of all subtrees it completes, in order.
std::uint64_t stored_index(unsigned level, std::uint64_t n);
/// How many hashes are stored for a tree of n leaves.
std::uint64_t stored_count(std::uint64_t n);

/// Reads stored hashes by index; throws where one is missing.
using HashReader = std::function<std::vector<Hash>(const std::vector<std::uint64_t>& indexes)>;

/// What must be stored (in order, from stored_count(n) on) when leaf number n with this hash is appended.
std::vector<Hash> hashes_for_append(std::uint64_t n, const Hash& leaf, const HashReader& read);
/// The root of the first `size` leaves, in O(log size) reads. size 0: empty_root().
Hash root_of(std::uint64_t size, const HashReader& read);

using Proof = std::vector<Hash>;
Proof prove_inclusion(std::uint64_t leaf, std::uint64_t size, const HashReader& read);
bool check_inclusion(const Proof& proof, std::uint64_t leaf, std::uint64_t size, const Hash& leaf_hash, const Hash& root);
Proof prove_consistency(std::uint64_t old_size, std::uint64_t size, const HashReader& read);
bool check_consistency(const Proof& proof, std::uint64_t old_size, std::uint64_t size, const Hash& old_root, const Hash& root);

}  // namespace kmtool::tlog
