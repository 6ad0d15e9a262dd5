#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "kmtool/core/bytes.hpp"
#include "kmtool/tlog/tree.hpp"

namespace kmtool::tlog {

/// C2SP tlog-proof: an entry's place, the hashes that lead from it to the root, and the checkpoint over that root.
struct InclusionFile {
  std::uint64_t index = 0;
  Bytes extra;  ///< ours: the entry itself
  Proof proof;
  std::string checkpoint;  ///< the whole note
  [[nodiscard]] std::string dump() const;
  /// Strict; throws damaged (65).
  static InclusionFile parse(std::string_view text);
  static bool is(std::string_view text);
};

/// What the C2SP tlog-witness protocol sends a witness: the size of the tree it knows, the hashes that lead from there to the new one, and
/// the new checkpoint.
struct ConsistencyFile {
  std::uint64_t old_size = 0;
  Proof proof;
  std::string checkpoint;
  [[nodiscard]] std::string dump() const;
  static ConsistencyFile parse(std::string_view text);
  static bool is(std::string_view text);
};

}  // namespace kmtool::tlog
