#include "registry.hpp"

#include <malloc.h>
#include <sys/stat.h>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::serve {
namespace {

constexpr std::int64_t second = 1'000'000'000;
/// Longer than the kernel's clock of files ticks.
constexpr std::int64_t young = second / 10;

std::int64_t nanoseconds(const struct timespec& time) { return time.tv_sec * second + time.tv_nsec; }

std::int64_t now() {
  struct timespec time {};
  clock_gettime(CLOCK_REALTIME, &time);
  return nanoseconds(time);
}

}  // namespace

apikey::RateGate::Answer Loaded::ask(const apikey::KeyEntry&, std::uint32_t index, std::int64_t microseconds, bool only_look) {
  RateSlot* slot = slots[index].get();
  if (slot == nullptr) return {};
  const std::lock_guard hold(slot->mutex);
  const bool given = only_look ? slot->bucket.peek(slot->rate, microseconds) : slot->bucket.take(slot->rate, microseconds);
  return given ? Answer{} : Answer{false, slot->bucket.retry_after(slot->rate, microseconds)};
}

Registry::Registry(const Options& options, State& state, Log log)
    : file_(std::filesystem::absolute(options.snapshot)), state_(&state), clock_(options.clock), log_(std::move(log)) {
  for (const auto& pem : options.signers) signers_.push_back(crypto::PublicKey::read_pem(pem));
}

Registry::Identity Registry::look() const {
  struct stat status {};
  if (stat(file_.c_str(), &status) != 0) return {};
  if (!S_ISREG(status.st_mode)) throw Error::config(printable(file_.string()) + " is not a regular file");
  return {static_cast<std::uint64_t>(status.st_dev), static_cast<std::uint64_t>(status.st_ino), status.st_size,
          nanoseconds(status.st_mtim), nanoseconds(status.st_ctim)};
}

void Registry::poll(bool always) {
  look_and_load(always);
  watch_clock();
  free_retired();
}

void Registry::look_and_load(bool always) {
  try {
    const Identity found = look();
    const auto steady = std::chrono::steady_clock::now();
    const bool first = generation_.load() == 0 && last_error_.empty();
    const bool retry = state_failed() && steady >= retry_at_;
    const bool again = again_at_ && steady >= *again_at_;
    if (!first && !always && !again && !retry && found == seen_) return;
    retry_at_ = steady + std::chrono::seconds(1);
    if (found != seen_ || again) again_at_.reset();
    // Once more, when a change would show: by the kernel's own time, which nobody can set.
    if (found != seen_ && std::abs(now() - found.changed) < young) again_at_ = steady + std::chrono::nanoseconds(young);
    seen_ = found;
    load();
  } catch (const Error& error) {
    not_accepted(error);
  } catch (const std::exception& error) {
    not_accepted(Error::internal(error.what()));
  }
}

void Registry::watch_clock() {
  std::shared_ptr<Loaded> current;
  {
    const std::lock_guard hold(mutex_);
    current = current_;
  }
  const UnixTime now = clock_();
  known_.look(now, std::chrono::steady_clock::now());
  const UnixTime known = latest(now, current.get());
  const bool behind = apikey::Request::seconds_behind(now, known) > 0;
  if (behind && !told_of_clock_) {
    log_("warning: this host's clock says " + rfc3339(now) + ", but by itself or by the snapshot it has been " + rfc3339(known) +
         ": whether keys have ended is judged by that; set the clock right; where that time was the wrong one, publish a snapshot");
  }
  if (behind || known == now) told_of_clock_ = behind;  // once, until it has caught up
  if (current) watch_expiry(current->snapshot.header, known);
}

void Registry::watch_expiry(const apikey::SnapshotHeader& header, UnixTime now) {
  const auto sequence = header.sequence;
  const auto created = header.created, not_after = header.not_after;
  const UnixTime left = not_after - now;
  // Said once each: in the last fifth of its time, and when it is over.
  const auto say = [&](Told what, const std::string& line) {
    if (told_sequence_ == sequence && told_ >= what) return;
    told_sequence_ = sequence;
    told_ = what;
    log_(line);
  };
  if (told_sequence_ == sequence && told_ == Told::over && left > 0) told_ = Told::nothing;  // only a clock that was wrong for a while
  const std::string name = "snapshot " + std::to_string(sequence);
  if (left <= 0) {
    say(Told::over, "warning: " + name + " has expired; everything is denied until a newer one comes");
  } else if (left < (not_after - created) / 5) {
    say(Told::ends, "warning: " + name + " expires at " + rfc3339(not_after) + ", and no newer one has come");
  }
}

void Registry::load() {
  const std::string text = read_file(file_, apikey::largest_snapshot);
  if (take_again(text)) return;
  auto next = std::make_shared<Loaded>();
  next->snapshot = apikey::read_snapshot(text, printable(file_.string()), signers_);
  next->size = text.size();
  accept(next);
}

bool Registry::take_again(const std::string& text) {
  std::shared_ptr<Loaded> current;
  {
    const std::lock_guard hold(mutex_);
    current = current_;
  }
  if (!current || current->size != text.size() || hex(crypto::sha256(view(text))) != current->snapshot.digest) return false;
  const bool failed = state_failed();
  if (failed) remember(*current);
  settled();
  if (failed) say_serving(*current);
  return true;
}

void Registry::settled() {
  const std::lock_guard hold(mutex_);
  file_accepted_ = true;
  last_error_.clear();
}

void Registry::say_serving(const Loaded& loaded) const {
  const auto& header = loaded.snapshot.header;
  log_("serving snapshot " + std::to_string(header.sequence) + ": " + std::to_string(header.keys) + (header.keys == 1 ? " key" : " keys") +
       ", not after " + rfc3339(header.not_after));
}

void Registry::accept(const std::shared_ptr<Loaded>& next) {
  const auto& header = next->snapshot.header;
  state_->require(header.home, header.sequence, next->snapshot.digest);
  next->at = clock_();
  fill_slots(*next);
  // A newer snapshot was signed about now: nobody who sets this clock can bring that about, so a time that it once said wrongly is forgotten.
  if (std::abs(next->at - header.created) <= clock_tolerance && next->at < header.not_after) {
    known_.agreed(std::max(next->at, header.created), std::chrono::steady_clock::now());
  }
  {
    const std::lock_guard hold(mutex_);
    if (current_) retired_.push_back(std::move(current_));
    current_ = next;
    ++reloads_;
  }
  generation_.fetch_add(1, std::memory_order_acq_rel);
  // Served first: a slow disk must not keep a revoked key alive. Whoever could withhold the file after a crash in between could
  // have withheld it before; and where the sequence cannot be kept, everything is denied.
  remember(*next);
  settled();
  say_serving(*next);
}

void Registry::remember(const Loaded& loaded) {
  const auto& header = loaded.snapshot.header;
  try {
    state_->advance(header.home, header.sequence, loaded.snapshot.digest);
    state_failed_.store(false, std::memory_order_release);
  } catch (const Error&) {
    state_failed_.store(true, std::memory_order_release);
    throw;
  }
}

void Registry::fill_slots(Loaded& next) {
  // Both are sorted by id: one walk through each.
  const auto& entries = next.snapshot.table.entries();
  Slots kept;
  kept.reserve(slots_.size());
  auto old = slots_.begin();
  next.slots.resize(entries.size());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto& rate = entries[i].restrictions->rate;
    if (!rate) continue;
    const std::uint64_t id = apikey::id_number(entries[i].id).value_or(0);
    while (old != slots_.end() && old->first < id) ++old;
    std::shared_ptr<RateSlot> slot;
    if (old != slots_.end() && old->first == id && old->second->rate == *rate) slot = old->second;
    if (!slot) {
      slot = std::make_shared<RateSlot>();
      slot->rate = *rate;
    }
    next.slots[i] = slot;
    kept.emplace_back(id, std::move(slot));
  }
  slots_ = std::move(kept);
}

void Registry::free_retired() {
  const auto unused = [](const std::shared_ptr<Loaded>& each) { return each.use_count() == 1; };
  if (std::erase_if(retired_, unused) > 0) malloc_trim(0);  // a hundred thousand small pieces would else stay with the allocator
}

void Registry::not_accepted(const Error& error) {
  bool serving = false;
  {
    const std::lock_guard hold(mutex_);
    file_accepted_ = false;
    serving = current_ != nullptr;
    if (error.message() != last_error_) ++failures_;
  }
  if (error.message() == last_error_) return;
  last_error_ = error.message();
  log_("snapshot not accepted: " + printable(error.message()) + (error.hint().empty() ? "" : "; " + printable(error.hint())) +
       (serving && !state_failed() ? "; the one before it stays in force until it expires" : "; everything is denied"));
}

void Registry::renew(View& view) const {
  const std::lock_guard hold(mutex_);
  view.generation = generation_.load(std::memory_order_acquire);
  view.loaded = current_;
}

void Registry::tell(Facts& facts) const {
  const std::lock_guard hold(mutex_);
  facts.file_accepted = file_accepted_;
  facts.reloads = reloads_;
  facts.reload_failures = failures_;
  if (!current_) return;
  facts.keys = current_->snapshot.table.size();
  facts.sequence = current_->snapshot.header.sequence;
  facts.created = current_->snapshot.header.created;
  facts.not_after = current_->snapshot.header.not_after;
  facts.loaded = current_->at;
}

}  // namespace kmtool::serve
