#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/op/kek_out.hpp"
#include "kmtool/rotate/hooks.hpp"
#include "kmtool/share/quorum.hpp"
#include "kmtool/transfer/rewrap.hpp"

namespace kmtool::rotate {

/// What `rotate` is asked for: names, or everything, or what is due.
struct Request {
  std::vector<std::string> names;
  bool all = false, due = false;
  std::int64_t within = 0;                      ///< seconds: with `due`, also what will be due in this time
  std::optional<std::filesystem::path> backup;  ///< for one key that needs a backup at birth
  std::vector<std::string> keks;                ///< its KEKs (a KEK's parents) in place of those on record
  op::KekDestinations to;                       ///< of a KEK's backup: the public keys in place of those on record
  std::optional<share::QuorumRequest> quorum;   ///< of a KEK's backup
  bool no_quorum = false;                       ///< `--quorum none`: the old one's backups need none, where the record does not say
  std::vector<std::filesystem::path> rewrap;
  bool rewrap_all = false;
  std::string hook;                      ///< COMMAND and its words
  std::optional<std::int64_t> overlap;   ///< seconds
  int sessions = 0;
  int max_failures = 0;  ///< 0: no limit
};

struct Rotated {
  std::string name;
  int from = 0, to = 0;
};
struct Failed {
  std::string name, code, message, hint;
};
struct BackedUp {
  std::string key, file;  ///< label of the new version; absolute path
  std::string kept;       ///< where the bundle that lay there is now; empty: none lay there, or it holds nothing that is not elsewhere
  std::vector<share::WrittenShare> shares = {};
};
/// What was done (in a dry run: what would be).
struct Report {
  std::vector<Rotated> rotated;
  std::vector<BackedUp> backups;
  std::vector<transfer::Rewrapped> rewrapped;
  std::vector<transfer::NotRewrapped> left;  ///< bundles that still depend on an old KEK, and why
  std::vector<Failed> failed;
  std::vector<std::string> not_tried;  ///< names: an error or a signal ended the command before them
  std::vector<std::string> activated, deactivated, destroyed;
  std::vector<OwedHook> owed;  ///< hooks to run once the lock is released
  std::vector<std::string> notes;
  std::size_t not_due = 0;
  std::string open;  ///< the KEK whose bundles are being moved to its new version; it stays here where an error ends that
  [[nodiscard]] bool idle() const {
    return rotated.empty() && rewrapped.empty() && failed.empty() && activated.empty() && deactivated.empty() && destroyed.empty() && owed.empty();
  }
};

/// What is odd about the clock: it is more than a minute behind the latest time among the journal's newest 1,000
/// entries. Empty when nothing is.
std::string clock_oddity(op::Context& context);

/// Rotates. Each key stands alone: one that fails is named in the report and does not stop the others. A fault of token, disk or
/// machine (69, 70, 74, 75) ends everything and is thrown; the report then says what was done before it. A KEK's rotation is on record
/// until no bundle needs an old version: `due`, or rotating it again with bundles that are still to be moved, goes on and makes no version.
void rotate(op::Context& context, const Request& request, Report& report);

}  // namespace kmtool::rotate
