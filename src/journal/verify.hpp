#pragma once
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kmtool/tlog/tree.hpp"

namespace kmtool::journal {

/// A stretch of the journal on its way from the reader to the tree.
struct Batch {
  std::uint64_t first = 0;
  std::string bytes;               ///< each entry behind the 0x00 of its leaf hash; a missing entry has nothing
  std::vector<std::size_t> ends;   ///< of each entry in `bytes`
  std::vector<std::pair<bool, tlog::Hash>> stored;  ///< from stored_count(first) on; false: not there, or malformed
  std::string note_bytes;          ///< checkpoints over so many entries, one after another
  std::vector<std::pair<std::uint64_t, std::size_t>> notes;  ///< each with its end in `note_bytes`

  void clear() {
    bytes.clear();
    ends.clear();
    stored.clear();
    note_bytes.clear();
    notes.clear();
  }
  /// The size and text of a checkpoint.
  [[nodiscard]] std::pair<std::uint64_t, std::string_view> note(std::size_t i) const {
    const std::size_t begin = i == 0 ? 0 : notes[i - 1].second;
    return {notes[i].first, std::string_view(note_bytes).substr(begin, notes[i].second - begin)};
  }
};

/// Batches from one thread to another, few at a time.
class Pipe {
 public:
  /// Gives the batch away and makes it an empty one, whose memory has been used before. False once the other side has given up.
  bool put(Batch& batch) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return batches_.size() < most || closed_; });
    if (closed_) return false;
    batches_.push_back(std::move(batch));
    batch = {};
    if (!used_.empty()) {
      batch = std::move(used_.back());
      used_.pop_back();
    }
    batch.clear();
    changed_.notify_all();
    return true;
  }
  /// Takes the next one and gives the last one's memory back. False when nothing more comes.
  bool take(Batch& batch) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !batches_.empty() || closed_; });
    if (batches_.empty()) return false;
    used_.push_back(std::move(batch));
    batch = std::move(batches_.front());
    batches_.pop_front();
    changed_.notify_all();
    return true;
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

 private:
  static constexpr std::size_t most = 4;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> batches_;
  std::vector<Batch> used_;
  bool closed_ = false;
};

}  // namespace kmtool::journal
