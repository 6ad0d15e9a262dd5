#include "journal/verify_tree.hpp"

#include <bit>

#include "kmtool/core/encoding.hpp"

namespace kmtool::journal {

namespace {

std::string number(std::uint64_t n) { return std::to_string(n); }

}  // namespace

// -- the tree ----------------------------------------------------------------------------------------------------------------

Tree::Tree(Database& db, std::uint64_t newest, Findings& findings)
    : findings_(findings), hashes_(db, "SELECT id, hash FROM hashes ORDER BY id"), notes_(db, "SELECT size, note FROM checkpoints ORDER BY size"), newest_(newest) {
  more_hashes_ = hashes_.step();
  step_notes();
}

void Tree::step_notes() {
  more_notes_ = notes_.step();
  if (more_notes_) ++checkpoints_;
}

void Tree::add(const Leaves& leaves, Stretch& to) {
  to.first = next_;
  to.before = levels_;
  for (const auto& leaf : leaves.leaves) {
    add_leaf(leaf, to);
    ++next_;
    add_notes(leaf, to);
  }
  to.end = next_;
}

void Tree::add_leaf(const Leaves::Leaf& leaf, Stretch& to) {
  const std::uint64_t n = next_;
  const auto stored = take_hash(next_id_++);
  auto hash = leaf.hash;
  bool as_stored = true;
  if (!stored) {
    findings_.add("the tree has no hash of entry " + number(n) + ": the entry was appended behind kmtool's back, or the hash removed");
    as_stored = false;
  } else if (!leaf.there) {
    hash = *stored;
  } else if (hash != *stored) {
    findings_.add("entry " + number(n) + " is not what was recorded: it was altered, or another put in its place");
    hash = *stored;  // so that what else is wrong shows
  }
  to.hashes.push_back(hash);
  std::size_t level = 0;
  for (; ((n >> level) & 1) != 0; ++level) {
    hash = tlog::node_hash(levels_[level], hash);
    to.hashes.push_back(hash);
    const auto kept = take_hash(next_id_++);
    if (as_stored && (!kept || *kept != hash)) {
      findings_.add("the tree's hash over entries " + number(n + 1 - (std::uint64_t{2} << level)) + " to " + number(n) + " was altered");
    }
  }
  levels_[level] = hash;
}

std::optional<tlog::Hash> Tree::take_hash(std::uint64_t id) {
  if (!more_hashes_ || static_cast<std::uint64_t>(hashes_.integer(0)) != id) return std::nullopt;
  std::optional<tlog::Hash> found;
  const auto bytes = hashes_.blob(1);
  if (bytes.size() == sizeof(tlog::Hash)) std::copy(bytes.begin(), bytes.end(), found.emplace().begin());
  more_hashes_ = hashes_.step();
  return found;
}

void Tree::add_notes(const Leaves::Leaf& leaf, Stretch& to) {
  bool covered = false;
  while (more_notes_ && static_cast<std::uint64_t>(notes_.integer(0)) <= next_) {
    const auto size = static_cast<std::uint64_t>(notes_.integer(0));
    if (size == next_) {
      covered = true;
      const auto note = notes_.blob(1);
      to.note_bytes.append(reinterpret_cast<const char*>(note.data()), note.size());
      to.notes.emplace_back(size, to.note_bytes.size());
    } else {
      findings_.add("there is a checkpoint over " + std::to_string(notes_.integer(0)) + " entries");
    }
    step_notes();
  }
  if (!leaf.there) return;
  if (leaf.closes && !covered && next_ <= newest_) findings_.add("the checkpoint over the first " + number(next_) + " entries is missing");
  if (covered && !leaf.closes) findings_.add("a checkpoint over the first " + number(next_) + " entries stands where none was made");
}

void Tree::finish() {
  if (more_hashes_) findings_.add("the tree speaks of more than " + number(next_) + " entries: entries were removed from the journal's end");
  for (; more_notes_; step_notes()) {
    findings_.add("there is a checkpoint over " + number(static_cast<std::uint64_t>(notes_.integer(0))) + " entries, the journal has " + number(next_) +
                  ": entries were removed from its end, or the checkpoint altered");
  }
  if (newest_ == 0) findings_.add("the journal has no signed checkpoint");
}

// -- checkpoints -------------------------------------------------------------------------------------------------------------

namespace {

/// The complete subtrees that a tree falls into, smallest first.
struct Peaks {
  std::array<const tlog::Hash*, 64> at;
  std::size_t count = 0;
};

/// The roots of a stretch's checkpoints, a few at a time: hashes that do not wait for each other keep the processor busier.
class Roots {
 public:
  explicit Roots(const Stretch& stretch) : stretch_(stretch), hash_(stretch.hashes.data()), next_(stretch.first) {
    for (std::size_t level = 0; level < levels_.size(); ++level) levels_[level] = &stretch.before[level];
  }

  static constexpr std::size_t together = 4;

  /// Of checkpoints `from` to `from + together - 1`, as far as there are so many.
  void next(std::size_t from, std::array<tlog::Hash, together>& roots) {
    std::array<Peaks, together> peaks;
    std::size_t longest = 0;
    for (std::size_t i = 0; i < together && from + i < stretch_.notes.size(); ++i) {
      go_to(stretch_.notes[from + i].first, peaks[i]);
      longest = std::max(longest, peaks[i].count);
      roots[i] = *peaks[i].at[0];
    }
    for (std::size_t step = 1; step < longest; ++step) {
      for (std::size_t i = 0; i < together; ++i) {
        if (step < peaks[i].count) roots[i] = tlog::node_hash(*peaks[i].at[step], roots[i]);
      }
    }
  }

 private:
  void go_to(std::uint64_t size, Peaks& peaks) {
    for (; next_ < size; ++next_) {
      const auto completed = static_cast<std::size_t>(std::countr_one(next_));
      for (std::size_t level = 0; level <= completed; ++level) levels_[level] = hash_++;
    }
    peaks.count = 0;
    for (std::uint64_t rest = size; rest != 0; rest &= rest - 1) peaks.at[peaks.count++] = levels_[static_cast<std::size_t>(std::countr_zero(rest))];
  }

  const Stretch& stretch_;
  const tlog::Hash* hash_;
  std::uint64_t next_;
  std::array<const tlog::Hash*, 64> levels_{};
};

/// What a checkpoint begins with, up to its first signature's name.
void body_of(const std::string& origin, std::uint64_t size, const tlog::Hash& root, std::string& text) {
  text.assign(origin).push_back('\n');
  text.append(number(size)).push_back('\n');
  text.append(base64(root)).append("\n\n\xe2\x80\x94 ");
}

}  // namespace

Checkpoints::Outcome Checkpoints::outcome_of(const Stretch& stretch) const {
  Outcome outcome;
  outcome.end = stretch.end;
  Roots roots(stretch);
  std::array<tlog::Hash, Roots::together> found{};
  std::string text;
  for (std::size_t i = 0; i < stretch.notes.size(); ++i) {
    if (i % Roots::together == 0) roots.next(i, found);
    const auto size = stretch.notes[i].first;
    const auto& root = found[i % Roots::together];
    const auto note = stretch.note(i);
    body_of(request_.origin, size, root, text);
    if (note.starts_with(text)) {
      outcome.newest = size;
      outcome.root = root;
      if (outcome.bad.empty()) outcome.good_before = size;
    } else {
      outcome.bad.push_back({size, std::string(note)});
    }
    if (!request_.all_signatures) continue;
    ++outcome.signatures;
    if (!genuine(size, note)) findings_.add("the checkpoint over the first " + number(size) + " entries is not signed by this home's log signer of that time");
  }
  return outcome;
}

void Checkpoints::check(const Stretch& stretch) {
  auto outcome = outcome_of(stretch);
  const std::lock_guard lock(mutex_);
  settle(stretch.first, std::move(outcome));
}

void Checkpoints::settle(std::uint64_t first, Outcome outcome) {
  waiting_.emplace(first, std::move(outcome));
  for (auto at = waiting_.find(next_); at != waiting_.end(); at = waiting_.find(next_)) {
    const auto& settled = at->second;
    const auto good_before = settled.good_before != 0 ? settled.good_before : newest_;
    for (const auto& bad : settled.bad) judge(bad, good_before);
    if (settled.newest != 0) {
      newest_ = settled.newest;
      newest_root_ = settled.root;
    }
    signatures_ += settled.signatures;
    next_ = settled.end;
    waiting_.erase(at);
  }
}

void Checkpoints::judge(const Bad& bad, std::uint64_t good_before) {
  if (!genuine(bad.size, bad.note)) {
    findings_.add("the checkpoint over the first " + number(bad.size) + " entries was altered");
  } else if (!other_entries_) {
    other_entries_ = true;  // and so are all later ones
    findings_.add("the checkpoint over the first " + number(bad.size) + " entries is genuine, but these are not the entries it was signed over: " +
                  (good_before + 1 == bad.size ? "entry " + number(good_before) : "something among entries " + number(good_before) + " to " + number(bad.size - 1)) +
                  " was altered, and the tree's hashes were made to fit");
  }
}

bool Checkpoints::genuine(std::uint64_t size, std::string_view text) const {
  try {
    const std::string note(text);
    return tlog::parse_checkpoint(tlog::Note::parse(note).text).size == size && request_.signature && request_.signature(size, note);
  } catch (const Error&) {
    return false;
  }
}

void Checkpoints::report(Verified& to) const {
  to.signatures = signatures_;
  to.size = newest_;
  to.root = newest_root_;
}

}  // namespace kmtool::journal
