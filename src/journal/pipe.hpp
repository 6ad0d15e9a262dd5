#pragma once
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <utility>
#include <vector>

namespace kmtool::journal {

/// Work from one thread to others, a few pieces at a time. T has clear(), after which its memory is used again.
template <class T>
class Pipe {
 public:
  /// Gives the piece away and makes it an empty one. False once the other side has given up.
  bool put(T& piece) {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [this] { return pieces_.size() < most || closed_; });
    if (closed_) return false;
    pieces_.push_back(std::move(piece));
    piece = {};
    if (!used_.empty()) {
      piece = std::move(used_.back());
      used_.pop_back();
    }
    lock.unlock();
    more_.notify_one();
    piece.clear();
    return true;
  }
  /// Takes the next piece and gives the last one's memory back. False when nothing more comes.
  bool take(T& piece) {
    std::unique_lock lock(mutex_);
    more_.wait(lock, [this] { return !pieces_.empty() || closed_; });
    if (pieces_.empty()) return false;
    if (used_.size() < most) used_.push_back(std::move(piece));
    piece = std::move(pieces_.front());
    pieces_.pop_front();
    lock.unlock();
    room_.notify_one();
    return true;
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    more_.notify_all();
    room_.notify_all();
  }

 private:
  static constexpr std::size_t most = 4;
  std::mutex mutex_;
  std::condition_variable more_, room_;
  std::deque<T> pieces_;
  std::vector<T> used_;
  bool closed_ = false;
};

/// The first exception of several threads: the later ones come from it.
class FirstFailure {
 public:
  void keep() {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
  /// Once all threads are done.
  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr failure_;
};

}  // namespace kmtool::journal
