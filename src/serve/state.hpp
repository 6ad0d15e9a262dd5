#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "kmtool/core/lock.hpp"

namespace kmtool::serve {

/// The highest snapshot that was ever served, kept in the file `sequence` of the state folder: a restart with an older snapshot
/// must not revive a key that was revoked since. One line of JSON in one spelling:
///   {"kmserve":1,"home":"UUID","sequence":12,"digest":"<SHA-256 of the snapshot, hex>"}
class State {
 public:
  /// Makes the folder where it is not there (0700) and locks it. Throws busy (75) where another server has it; config (78) where
  /// others could write it; damaged (65) for a file that is not ours (removing it is the operator's decision); io (74).
  explicit State(const std::filesystem::path& folder);

  /// Nothing was served yet: home() is empty then.
  [[nodiscard]] const std::string& home() const noexcept { return home_; }
  [[nodiscard]] std::uint64_t sequence() const noexcept { return sequence_; }

  /// May this snapshot be served? Throws refused (77): it is older, of another home, or another one of the same number (a home that
  /// was put back from a backup goes on from where it was; `apikey publish` again gives it a new number).
  void require(const std::string& home, std::uint64_t sequence, const std::string& digest) const;
  /// Remembers a snapshot for which require() does not throw. Throws io (74) where it could not be made durable; the memory then
  /// stays as it was, and the caller must deny.
  void advance(const std::string& home, std::uint64_t sequence, const std::string& digest);

  /// Usage is spooled beside it.
  [[nodiscard]] const std::filesystem::path& folder() const noexcept { return folder_; }

 private:
  std::filesystem::path folder_;
  FileLock lock_;
  std::string home_, digest_;
  std::uint64_t sequence_ = 0;
};

}  // namespace kmtool::serve
