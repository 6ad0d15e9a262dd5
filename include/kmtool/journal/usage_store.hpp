#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/core/time.hpp"

namespace kmtool::journal {

/// Counts of API key use: HOME/usage.db, a database of its own. It is no part of the record (a stranger who is denied a million times must not
/// fill the journal): totals of it enter the journal once a period. Its size is bounded by the number of keys: an hour's counts become
/// a day's after 35 days and go after 400; sources are bounded for each key.
///
/// WAL, synchronous=NORMAL: a count costs no fsync. A killed process loses nothing, a power cut at most what came since the last checkpoint.
class UsageStore {
 public:
  /// Made (0600) where it is not there. Throws config (78) where it is no regular file of the user, damaged (65) with another schema.
  static UsageStore open(const std::filesystem::path& file);
  /// nullopt where there is none yet.
  static std::optional<UsageStore> open_existing(const std::filesystem::path& file);
  UsageStore(UsageStore&&) noexcept;
  UsageStore& operator=(UsageStore&&) noexcept;
  ~UsageStore();

  struct Source {
    std::string address;
    std::uint64_t count = 0;
    UnixTime first = 0, last = 0;
  };
  /// What came to one key's counts.
  struct Delta {
    std::string key;
    UnixTime hour = 0;                           ///< begin of the hour it is counted in
    std::map<std::string, std::uint64_t> counts; ///< `allowed`, `denied.ip` …
    std::optional<UnixTime> last_allowed, last_denied;
    std::vector<Source> sources;
    std::uint64_t more_sources = 0;
    std::uint64_t peak = 0;                      ///< requests within the second `peak_at`; those of several deltas are added up
    UnixTime peak_at = 0;
  };
  static constexpr std::size_t most_sources = 256;  ///< a key; requests from further addresses are only counted
  /// In one transaction.
  void add(const std::vector<Delta>& deltas);
  /// The same, and that this batch of a spool has been taken; does nothing and gives false where it was already.
  bool add_batch(const std::string& spool, std::uint64_t batch, UnixTime now, const std::vector<Delta>& deltas);
  [[nodiscard]] std::uint64_t last_batch(const std::string& spool) const;

  /// Reads, changes and writes a key's bucket of the rate limit in one transaction.
  void with_bucket(const std::string& key, bool write, const std::function<void(std::int64_t& units, std::int64_t& at)>& use);

  struct Count {
    std::string key;
    UnixTime hour = 0;
    std::string what;
    std::uint64_t count = 0;
  };
  /// Of one key, or of all (empty), from an hour on; sorted by key and hour.
  [[nodiscard]] std::vector<Count> counts(const std::string& key, UnixTime since) const;
  /// Sums over all time by key and word.
  [[nodiscard]] std::map<std::string, std::map<std::string, std::uint64_t>> totals() const;
  struct Seen {
    UnixTime first = 0;                          ///< when the key was counted first
    std::optional<UnixTime> last_allowed, last_denied;
    std::uint64_t more_sources = 0, peak = 0;
    UnixTime peak_at = 0;
    std::uint64_t sources = 0;                   ///< distinct ones that are kept
  };
  [[nodiscard]] std::map<std::string, Seen> seen() const;
  struct Peak {
    std::uint64_t count = 0;  ///< requests within one second
    UnixTime at = 0;
  };
  /// The busiest second of each key since then, at most 35 days back.
  [[nodiscard]] std::map<std::string, Peak> peaks(UnixTime since) const;
  [[nodiscard]] std::vector<Source> sources(const std::string& key) const;  ///< newest first-seen first

  /// A whole copy into a new file (0600), while others count.
  void copy_to(const std::filesystem::path& file) const;

  /// Folds hours into days, forgets what is too old.
  void prune(UnixTime now);

 private:
  struct Impl;
  explicit UsageStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace kmtool::journal
