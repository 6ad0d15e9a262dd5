#pragma once
#include <array>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "answer.hpp"
#include "kmtool/apikey/usage_spool.hpp"
#include "question.hpp"
#include "registry.hpp"

namespace kmtool::serve {

/// What one thread of the server has for itself.
struct Desk {
  Counters* counters = nullptr;
  Registry::View view;
  /// When the request that is answered was read, and when it had been: the clocks are looked at once a request.
  UnixTime time = 0;
  std::chrono::steady_clock::time_point begun, done;
};

/// Decides requests, counts them, and keeps the registry fresh on threads of its own. Knows nothing of sockets.
class Gateway {
 public:
  /// Opens state and signers, and has looked at the snapshot once when it returns. Throws as run() does.
  Gateway(const Options& options, const Log& log);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  [[nodiscard]] Desk desk();
  /// Which paths a listener answers.
  enum class Door { checks, admin, both };
  /// Answers a request; whatever happens, the answer is no unless a key was found and all its rules held. Every path of a door
  /// for checks is a check, but for /metrics and /healthz of `both`, and these too where the request came through a proxy.
  void answer(const Head& head, const Peer& peer, Door door, Desk& desk, Answer& answer) noexcept;
  /// Lets go of a snapshot that was replaced, on a thread that nobody asks.
  void freshen(Desk& desk) const { registry_.refresh(desk.view); }
  /// Looks at the snapshot now.
  void poke();
  /// Ends the threads and writes the last usage; throws io (74) where that fails.
  void finish();
  [[nodiscard]] Totals totals() const { return totals_of(counters_); }

 private:
  void check(const Head& head, const Peer& peer, Desk& desk, Answer& answer);
  void decide(const Question& question, Desk& desk, Answer& answer);
  /// `latest`: the registry's.
  [[nodiscard]] std::optional<Refusal> not_ready(const Loaded* loaded, UnixTime now, UnixTime latest) const;
  void refuse(Refusal refusal, Desk& desk, Answer& answer);
  void admin(std::string_view path, Desk& desk, Answer& answer);
  void metrics(Answer& answer) const;
  void health(Desk& desk, Answer& answer) const;
  void flush();
  template <typename Work>
  void every(std::chrono::milliseconds interval, bool& poke, Work work);

  Options options_;
  Log log_;
  TrustedProxies trusted_;
  State state_;
  Registry registry_;
  std::vector<std::unique_ptr<Counters>> counters_;
  double started_ = 0;
  /// Counts by the last digit of the id, so that threads seldom wait for each other.
  struct alignas(64) Shard {
    std::mutex mutex;
    apikey::UsageCounter counter;
  };
  Shard& shard_of(std::string_view id) { return usage_[static_cast<unsigned char>(id.back()) % usage_.size()]; }
  std::array<Shard, 16> usage_;
  UnixTime usage_from_ = 0;  ///< of the thread that flushes
  apikey::SpoolWriter spool_;
  std::atomic<std::uint64_t> batches_{0}, batch_failures_{0};
  std::mutex wake_mutex_;
  std::condition_variable wake_;
  bool stopping_ = false, poked_ = false, never_ = false;
  std::size_t desks_ = 0;
  std::thread loader_, flusher_;
};

}  // namespace kmtool::serve
