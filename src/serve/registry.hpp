#pragma once
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kmtool/apikey/snapshot.hpp"
#include "kmtool/serve/serve.hpp"
#include "known_time.hpp"
#include "metrics.hpp"
#include "state.hpp"

namespace kmtool::serve {

/// A key's bucket; it lives on when a new snapshot comes.
struct RateSlot {
  std::mutex mutex;
  apikey::Rate rate;
  apikey::TokenBucket bucket;
};

/// A snapshot that was accepted. Immutable but for the buckets.
struct Loaded final : apikey::RateGate {
  apikey::Snapshot snapshot;
  std::size_t size = 0;  ///< of the file, bytes
  UnixTime at = 0;
  std::vector<std::shared_ptr<RateSlot>> slots;  ///< by index; null where no rate is set

  Answer ask(const apikey::KeyEntry& key, std::uint32_t index, std::int64_t microseconds, bool only_look) override;
};

/// How far the clocks of this host and of the one that published may differ, in seconds.
constexpr UnixTime clock_tolerance = 300;

/// Which snapshot is served. One thread calls poll(); any may ask.
class Registry {
 public:
  /// Reads the signers' keys; throws missing (66), damaged (65).
  Registry(const Options& options, State& state, Log log);

  /// Looks at the file and takes it where it has changed: signature, then sequence; then it is served, and the sequence written to
  /// the state folder. What is served now stays until then. `always`: read it even if it looks the same.
  void poll(bool always = false);

  /// A thread's own reference, renewed when there is a new one.
  struct View {
    std::uint64_t generation = 0;
    std::shared_ptr<Loaded> loaded;
  };
  void refresh(View& view) const {
    if (view.generation != generation_.load(std::memory_order_acquire)) renew(view);
  }
  /// A time that has come, whatever the clock says now: it was there before, or the snapshot was signed then.
  [[nodiscard]] UnixTime latest(UnixTime now, const Loaded* loaded) const noexcept {
    const UnixTime seen = std::max(now, known_.get());
    return loaded == nullptr ? seen : std::max(seen, loaded->snapshot.header.created);
  }
  /// The state folder cannot be written: everything is denied.
  [[nodiscard]] bool state_failed() const noexcept { return state_failed_.load(std::memory_order_acquire); }
  void tell(Facts& facts) const;

 private:
  /// What tells one file from another.
  struct Identity {
    std::uint64_t device = 0, inode = 0;
    std::int64_t size = -1, modified = 0, changed = 0;  ///< nanoseconds
    bool operator==(const Identity&) const = default;
  };
  [[nodiscard]] Identity look() const;
  void look_and_load(bool always);
  void load();
  /// The same file again: true, and nothing to do but what could not be remembered.
  bool take_again(const std::string& text);
  void settled();
  void say_serving(const Loaded& loaded) const;
  void watch_clock();
  void watch_expiry(const apikey::SnapshotHeader& header, UnixTime now);
  void free_retired();
  void accept(const std::shared_ptr<Loaded>& next);
  void remember(const Loaded& loaded);
  void fill_slots(Loaded& next);
  void not_accepted(const Error& error);
  void renew(View& view) const;

  std::filesystem::path file_;
  std::vector<crypto::PublicKey> signers_;
  State* state_;
  Clock clock_;
  Log log_;
  Identity seen_;
  std::optional<std::chrono::steady_clock::time_point> again_at_;  ///< the file was so young that a change would not show
  std::chrono::steady_clock::time_point retry_at_{};  ///< of a state folder that could not be written
  std::string last_error_;
  enum class Told { nothing, ends, over } told_ = Told::nothing;  ///< of the snapshot of this number:
  std::uint64_t told_sequence_ = 0;
  bool told_of_clock_ = false;
  KnownTime known_;
  using Slots = std::vector<std::pair<std::uint64_t, std::shared_ptr<RateSlot>>>;
  Slots slots_;  ///< sorted by the number of the id
  std::vector<std::shared_ptr<Loaded>>
      retired_;  ///< replaced; freed here when no thread looks into them, not on a thread that answers
  std::atomic<std::uint64_t> generation_{0};
  std::atomic<bool> state_failed_{false};
  mutable std::mutex mutex_;  ///< of what follows
  std::shared_ptr<Loaded> current_;
  bool file_accepted_ = false;
  std::uint64_t reloads_ = 0, failures_ = 0;
};

}  // namespace kmtool::serve
