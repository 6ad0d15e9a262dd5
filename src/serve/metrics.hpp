#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kmtool/apikey/decision.hpp"
#include "kmtool/core/time.hpp"

namespace kmtool::serve {

/// Why the gateway itself denies, before or instead of a key's rules. The words are a contract (headers, metrics).
enum class Refusal : std::uint8_t {
  two_keys,     ///< different keys in one request
  forwarded,    ///< a trusted proxy's X-Forwarded-For has no address where the client's should be
  no_snapshot,  ///< none was accepted yet
  snapshot_expired,
  clock,     ///< this host's clock is before the snapshot was made: no expiry could be judged
  state,     ///< the state folder cannot be written
  internal,  ///< a fault of kmtool
};
inline constexpr std::size_t refusal_count = 7;
std::string_view to_text(Refusal refusal);

/// Upper bounds of the histogram's buckets, in microseconds.
inline constexpr std::array<std::int64_t, 12> latency_bounds{5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10000, 100000, 1000000};

/// One thread's counters: written by it alone, read by whoever answers /metrics.
struct alignas(64) Counters {
  using Counter = std::atomic<std::uint64_t>;
  std::array<Counter, apikey::rule_count> rules{};  ///< none: allowed
  std::array<Counter, refusal_count> refusals{};
  std::vector<Counter> bad_requests;  ///< in the order of head_refusals()
  std::array<Counter, latency_bounds.size() + 1> latency{};
  Counter latency_sum{0};  ///< nanoseconds
  Counter connections{0}, open{0}, evicted{0}, timed_out{0};

  Counters();
  static void add(Counter& counter, std::uint64_t n = 1) {
    counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void observe(std::int64_t nanoseconds);
  void bad_request(std::string_view why);
};

/// What else /metrics tells.
struct Facts {
  bool ready = false;  ///< checks are decided by a snapshot
  std::uint64_t keys = 0, sequence = 0;
  UnixTime created = 0, not_after = 0, loaded = 0;
  bool file_accepted = false;  ///< the file that lies there now is the one that is served
  std::uint64_t reloads = 0, reload_failures = 0, usage_batches = 0, usage_failures = 0;
  UnixTime clock_behind = 0;  ///< seconds
  double process_start = 0;
};

/// Prometheus' text format 0.0.4. No label comes from a request or from a key: their number is fixed.
std::string metrics_text(const std::vector<std::unique_ptr<Counters>>& threads, const Facts& facts);

/// Sums for the summary at the end.
struct Totals {
  std::uint64_t allowed = 0, denied = 0, bad_requests = 0, connections = 0;
};
Totals totals_of(const std::vector<std::unique_ptr<Counters>>& threads);

}  // namespace kmtool::serve
