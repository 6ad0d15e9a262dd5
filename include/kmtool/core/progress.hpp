#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

namespace kmtool {

/// Told of long work: what is being done, how much is done, how much there is (0: unknown). Called on one thread.
using Progress = std::function<void(const std::string& what, std::uint64_t done, std::uint64_t total)>;

/// Set by SIGINT/SIGTERM; long work asks at clean points and throws Error{busy,"stopped"} through throw_if_stopped().
class StopToken {
 public:
  void request() noexcept { stopped_.store(true); }
  [[nodiscard]] bool requested() const noexcept { return stopped_.load(); }

 private:
  std::atomic<bool> stopped_{false};
};

}  // namespace kmtool
