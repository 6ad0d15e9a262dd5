#pragma once
#include <array>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "journal/findings.hpp"
#include "journal/pipe.hpp"
#include "journal/sqlite.hpp"
#include "kmtool/journal/verify.hpp"
#include "kmtool/tlog/tree.hpp"

// What verify() does is spread over threads: one reads the entries and hashes them, one holds these hashes and the subtrees that they
// complete against the stored ones, and the others hold every checkpoint against the tree. That is most of the hashing: a root over n
// entries is one hash for each bit in n, and none of it is another root's too.

namespace kmtool::journal {

/// Entries on their way from the reader to the tree.
struct Leaves {
  struct Leaf {
    tlog::Hash hash;
    bool there, closes;  ///< not there: the entry is missing; closes: it carries a catalog root, so a checkpoint stands behind it
  };
  std::vector<Leaf> leaves;
  void clear() { leaves.clear(); }
};

/// A stretch of the tree and the checkpoints that end in it.
struct Stretch {
  std::uint64_t first = 0, end = 0;         ///< numbers of its first leaf, and of the one behind its last
  std::array<tlog::Hash, 64> before{};      ///< the last complete subtree of each level that ends before it
  std::vector<tlog::Hash> hashes;           ///< of its leaves and the subtrees they complete, as they are stored
  std::string note_bytes;                   ///< the checkpoints' texts, one after another
  std::vector<std::pair<std::uint64_t, std::size_t>> notes;  ///< each's number of entries, and its end in `note_bytes`

  void clear() {
    hashes.clear();
    note_bytes.clear();
    notes.clear();
  }
  [[nodiscard]] std::string_view note(std::size_t i) const {
    const std::size_t begin = i == 0 ? 0 : notes[i - 1].second;
    return std::string_view(note_bytes).substr(begin, notes[i].second - begin);
  }
};

/// Makes the tree of the leaves and holds it against what the database stores. Has a connection of its own.
class Tree {
 public:
  Tree(Database& db, std::uint64_t newest, Findings& findings);
  /// One stretch; its checkpoints are another's to check.
  void add(const Leaves& leaves, Stretch& to);
  /// After the last entry.
  void finish();
  [[nodiscard]] std::uint64_t checkpoints() const { return checkpoints_; }  ///< how many there are

 private:
  void add_leaf(const Leaves::Leaf& leaf, Stretch& to);
  void add_notes(const Leaves::Leaf& leaf, Stretch& to);
  void step_notes();
  std::optional<tlog::Hash> take_hash(std::uint64_t id);

  Findings& findings_;
  Statement hashes_, notes_;
  bool more_hashes_ = false, more_notes_ = false;
  std::uint64_t next_ = 0, next_id_ = 0, newest_ = 0, checkpoints_ = 0;
  std::array<tlog::Hash, 64> levels_{};  ///< of the last complete subtrees, one a level
};

/// Holds checkpoints against the tree. check() from any number of threads, stretch by stretch in any order.
class Checkpoints {
 public:
  Checkpoints(const VerifyRequest& request, Findings& findings) : request_(request), findings_(findings) {}
  void check(const Stretch& stretch);
  /// Of what was checked: signatures, and the newest checkpoint that fits the tree. Once all is checked.
  void report(Verified& to) const;

 private:
  struct Bad {
    std::uint64_t size;
    std::string note;
  };
  struct Outcome {
    std::uint64_t end = 0;
    std::uint64_t newest = 0;       ///< the newest checkpoint that fits
    tlog::Hash root{};
    std::uint64_t good_before = 0;  ///< the last one that fits before the first that does not
    std::vector<Bad> bad;
    std::uint64_t signatures = 0;
  };
  Outcome outcome_of(const Stretch& stretch) const;
  void settle(std::uint64_t first, Outcome outcome);
  void judge(const Bad& bad, std::uint64_t good_before);
  [[nodiscard]] bool genuine(std::uint64_t size, std::string_view text) const;

  const VerifyRequest& request_;
  Findings& findings_;
  std::mutex mutex_;
  std::map<std::uint64_t, Outcome> waiting_;  ///< of stretches before which one is still being checked
  std::uint64_t next_ = 0, newest_ = 0, signatures_ = 0;
  tlog::Hash newest_root_{};
  bool other_entries_ = false;
};

}  // namespace kmtool::journal
