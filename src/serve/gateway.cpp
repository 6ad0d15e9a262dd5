#include "gateway.hpp"

#include <sys/random.h>

#include <charconv>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::serve {
namespace {

using namespace std::chrono_literals;

/// A revoked key must be denied within a second of its snapshot: looking this often leaves nearly all of it to read and verify.
constexpr auto look_interval = 20ms;

/// Names a spool: unique, not secret.
std::string spool_id() {
  std::array<std::uint8_t, 16> bytes{};
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    throw Error::internal("the kernel gives no random numbers");
  return uuid_text(bytes);
}

std::string_view explanation(Refusal refusal) {
  switch (refusal) {
    case Refusal::two_keys:
      return "different keys in one request";
    case Refusal::forwarded:
      return "the proxy names no client address";
    case Refusal::no_snapshot:
      return "no snapshot is served";
    case Refusal::snapshot_expired:
      return "the snapshot has expired";
    case Refusal::clock:
      return "this host's clock is behind the snapshot's";
    case Refusal::state:
      return "the state folder cannot be written";
    case Refusal::internal:
      break;
  }
  return "internal fault";
}

void say_no(Answer& answer, int status, std::string_view rule, std::string_view reason) {
  answer.status = status;
  answer.add("X-Kmtool-Rule", rule);
  answer.add("X-Kmtool-Reason", reason);
  answer.body.assign(reason).append("\n");
}

/// As Address::text(), without the C library's formatting for the address that nearly every client has.
std::string text_of(const apikey::Address& address) {
  if (address.v6) return address.text();
  std::array<char, 16> text{};
  char* at = text.data();
  for (std::size_t i = 0; i < 4; ++i) {
    if (i > 0) *at++ = '.';
    at = std::to_chars(at, text.data() + text.size(), address.bytes.at(i)).ptr;
  }
  return {text.data(), at};
}

void fill(const apikey::Verdict& verdict, const Question& question, Answer& answer) {
  if (verdict.key != nullptr) {
    answer.add("X-Kmtool-Id", verdict.key->id);
    answer.add("X-Kmtool-App", verdict.key->app);
    answer.add("X-Kmtool-Environment", verdict.key->environment);
  }
  if (question.client.address) answer.add("X-Kmtool-Client", text_of(*question.client.address));
  if (verdict.allowed) {
    answer.status = 200;
    return;
  }
  // Whether an id exists is nobody's business who has not its key.
  apikey::Verdict told = verdict;
  if (told.rule == apikey::Rule::secret) told.rule = apikey::Rule::unknown;
  int status = apikey::is_unauthenticated(told.rule) ? 401 : 403;
  if (told.rule == apikey::Rule::rate) {
    answer.add("Retry-After", std::to_string(told.retry_after));
    if (question.profile != Profile::nginx) status = 429;
  }
  if (status == 401)
    answer.add("WWW-Authenticate",
               question.key.empty() ? "Bearer realm=\"kmtool\"" : "Bearer realm=\"kmtool\", error=\"invalid_token\"");
  say_no(answer, status, apikey::to_text(told.rule), told.reason());
}

}  // namespace

Gateway::Gateway(const Options& options, const Log& log)
    : options_(options), log_(log), trusted_(options.trusted_proxies), state_(options.state), registry_(options_, state_, log_), spool_(state_.folder(), spool_id) {
  for (int i = 0; i < options.threads; ++i) counters_.push_back(std::make_unique<Counters>());
  started_ = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  usage_from_ = options_.clock();
  registry_.poll();
  loader_ = std::thread([this] { every(look_interval, poked_, [this](bool poked) { registry_.poll(poked); }); });
  flusher_ = std::thread([this] { every(options_.flush_interval, never_, [this](bool) { flush(); }); });
}

Gateway::~Gateway() {
  try {
    finish();
  } catch (const std::exception& error) {
    log_(std::string("usage was not written: ") + error.what());
  }
}

template <typename Work>
void Gateway::every(std::chrono::milliseconds interval, bool& poke, Work work) {
  for (;;) {
    bool poked = false;
    {
      std::unique_lock hold(wake_mutex_);
      wake_.wait_for(hold, interval, [this, &poke] { return stopping_ || poke; });
      if (stopping_) return;
      poked = std::exchange(poke, false);
    }
    try {
      work(poked);
    } catch (const std::exception& error) {
      log_(std::string("warning: ") + error.what());
    }
  }
}

Desk Gateway::desk() {
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
  const std::lock_guard hold(wake_mutex_);
  Desk desk;
  desk.counters = counters_.at(desks_++).get();
  return desk;
}

void Gateway::poke() {
  const std::lock_guard hold(wake_mutex_);
  poked_ = true;
  wake_.notify_all();
}

void Gateway::finish() {
  {
    const std::lock_guard hold(wake_mutex_);
    if (stopping_) return;
    stopping_ = true;
    wake_.notify_all();
  }
  loader_.join();
  flusher_.join();
  flush();
}

void Gateway::flush() {
  apikey::UsageCounts counts;
  const UnixTime to = options_.clock();
  for (auto& shard : usage_) {
    const std::lock_guard hold(shard.mutex);
    counts.merge(shard.counter.take());  // an id is in one of them alone
  }
  if (counts.empty()) {
    usage_from_ = to;
    return;
  }
  try {
    spool_.write(counts, usage_from_, to);
    batches_.fetch_add(1);
    usage_from_ = to;
  } catch (...) {
    batch_failures_.fetch_add(1);
    for (auto& [id, count] : counts) {
      auto& shard = shard_of(id);
      const std::lock_guard hold(shard.mutex);
      shard.counter.put_back({{id, std::move(count)}});
    }
    throw;
  }
}

// -- answering ----------------------------------------------------------------------------------------------------------

void Gateway::answer(const Head& head, const Peer& peer, Door door, Desk& desk, Answer& answer) noexcept {
  try {
    desk.time = options_.clock();
    desk.begun = desk.done = std::chrono::steady_clock::now();
    const std::string_view path = path_of(head.target);
    const bool ours = path == "/metrics" || path == "/healthz";
    if (door == Door::admin || (door == Door::both && ours && !came_through_proxy(head))) return admin(path, desk, answer);
    check(head, peer, desk, answer);
    desk.done = std::chrono::steady_clock::now();
    desk.counters->observe(std::chrono::duration_cast<std::chrono::nanoseconds>(desk.done - desk.begun).count());
  } catch (...) {
    answer.status = 403;  // before anything that could fail in its turn
    Counters::add(desk.counters->refusals[static_cast<std::size_t>(Refusal::internal)]);
    answer.fields.clear();
    answer.body.clear();
    try {
      say_no(answer, 403, to_text(Refusal::internal), explanation(Refusal::internal));
    } catch (...) {
      return;  // the status says enough
    }
  }
}

void Gateway::check(const Head& head, const Peer& peer, Desk& desk, Answer& answer) {
  Question question;
  read_question(head, peer, trusted_, options_.query_key, question);
  question.attributes.time = desk.time;
  question.attributes.microseconds = std::chrono::duration_cast<std::chrono::microseconds>(desk.begun.time_since_epoch()).count();
  registry_.refresh(desk.view);
  question.attributes.latest = registry_.latest(desk.time, desk.view.loaded.get());
  if (const auto refusal = not_ready(desk.view.loaded.get(), desk.time, question.attributes.latest)) return refuse(*refusal, desk, answer);
  if (question.two_keys) return refuse(Refusal::two_keys, desk, answer);
  if (question.client.garbled) return refuse(Refusal::forwarded, desk, answer);
  decide(question, desk, answer);
}

void Gateway::decide(const Question& question, Desk& desk, Answer& answer) {
  Loaded& loaded = *desk.view.loaded;
  const auto verdict = apikey::decide(loaded.snapshot.table, question.key, question.attributes, &loaded);
  {
    auto& shard = shard_of(apikey::UsageCounter::id_of(verdict));
    const std::lock_guard hold(shard.mutex);
    shard.counter.count(verdict, question.attributes);
  }
  fill(verdict, question, answer);
  Counters::add(desk.counters->rules[verdict.allowed ? 0 : static_cast<std::size_t>(verdict.rule)]);
}

std::optional<Refusal> Gateway::not_ready(const Loaded* loaded, UnixTime now, UnixTime latest) const {
  if (registry_.state_failed()) return Refusal::state;
  if (loaded == nullptr) return Refusal::no_snapshot;
  if (latest >= loaded->snapshot.header.not_after) return Refusal::snapshot_expired;
  if (now < loaded->snapshot.header.created - clock_tolerance) return Refusal::clock;
  return std::nullopt;
}

void Gateway::refuse(Refusal refusal, Desk& desk, Answer& answer) {
  // Never 5xx: a proxy that is told to let requests through when the gateway fails would do so.
  say_no(answer, 403, to_text(refusal), explanation(refusal));
  Counters::add(desk.counters->refusals[static_cast<std::size_t>(refusal)]);
}

void Gateway::admin(std::string_view path, Desk& desk, Answer& answer) {
  if (path == "/metrics") return metrics(answer);
  if (path == "/healthz") return health(desk, answer);
  answer.status = 404;
  answer.body = "here are /metrics and /healthz\n";
}

void Gateway::metrics(Answer& answer) const {
  Facts facts;
  registry_.tell(facts);
  const UnixTime now = options_.clock(), latest = std::max(registry_.latest(now, nullptr), facts.created);
  facts.ready = facts.reloads > 0 && !registry_.state_failed() && latest < facts.not_after && now >= facts.created - clock_tolerance;
  facts.clock_behind = apikey::Request::seconds_behind(now, latest);
  facts.usage_batches = batches_.load();
  facts.usage_failures = batch_failures_.load();
  facts.process_start = started_;
  answer.status = 200;
  answer.type = "text/plain; version=0.0.4; charset=utf-8";
  answer.body = metrics_text(counters_, facts);
}

void Gateway::health(Desk& desk, Answer& answer) const {
  registry_.refresh(desk.view);
  const UnixTime now = options_.clock(), latest = registry_.latest(now, desk.view.loaded.get());
  const auto refusal = not_ready(desk.view.loaded.get(), now, latest);
  answer.status = refusal ? 503 : 200;
  answer.body = refusal ? std::string(explanation(*refusal)) + "\n" : "ok\n";
}

}  // namespace kmtool::serve
