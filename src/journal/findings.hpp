#pragma once
#include <mutex>
#include <string>
#include <vector>

namespace kmtool::journal {

/// What verifying finds, from several threads; the first few are kept.
class Findings {
 public:
  void add(std::string what) {
    const std::lock_guard lock(mutex_);
    if (kept_.size() < most) {
      kept_.push_back(std::move(what));
    } else {
      ++more_;
    }
  }
  [[nodiscard]] bool any() {
    const std::lock_guard lock(mutex_);
    return !kept_.empty();
  }
  std::vector<std::string> kept() { return std::move(kept_); }  ///< once all threads are done
  [[nodiscard]] std::size_t more() const { return more_; }

 private:
  static constexpr std::size_t most = 16;
  std::mutex mutex_;
  std::vector<std::string> kept_;
  std::size_t more_ = 0;
};

}  // namespace kmtool::journal
