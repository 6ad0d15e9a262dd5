#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "kmtool/core/progress.hpp"
#include "kmtool/journal/journal.hpp"

namespace kmtool::journal {

struct VerifyRequest {
  std::string origin;  ///< first line of every checkpoint
  /// Is this note, over that many entries, signed by the log signer of its time? Called from several threads.
  std::function<bool(std::uint64_t size, const std::string& note)> signature;
  bool all_signatures = false;  ///< asked for every checkpoint; else only to tell an altered checkpoint from altered entries
  Progress progress;
  StopToken* stop = nullptr;
};

/// What verify() found.
struct Verified {
  std::uint64_t entries = 0;
  std::uint64_t checkpoints = 0, signatures = 0;  ///< held against the tree; of these, signatures checked
  std::uint64_t size = 0;                         ///< entries under the newest checkpoint
  tlog::Hash root{};                              ///< and their root
  std::uint64_t unauthenticated = 0;              ///< entries made without a login
  std::uint64_t unproven = 0;                     ///< of these, those behind the newest checkpoint: nothing proves them yet
  std::uint64_t rows = 0;                         ///< of the catalog, as the entries give it
  std::vector<std::string> findings;              ///< what does not hold and where, the first few; empty: everything holds
  std::uint64_t more = 0;                         ///< further findings
};

/// Reads the whole journal once, in flat memory: numbers every entry, hashes it, holds it and every subtree against the stored hashes,
/// every checkpoint's size and root against the tree, every authenticated entry against the checkpoint that must cover it, and the
/// catalog against what the entries make of it. Who signed the newest checkpoint is check_head()'s question.
/// Of one moment, on a connection of its own, while others read and append; `file` is the database of a journal that was opened (and its
/// schema with it).
Verified verify(const std::filesystem::path& file, const VerifyRequest& request);

/// Reads stored subtree hashes, for proofs and tiles, on a connection of its own.
tlog::HashReader hash_reader(const std::filesystem::path& file);

}  // namespace kmtool::journal
