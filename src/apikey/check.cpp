#include <fmt/format.h>

#include "apikey/deltas.hpp"
#include "kmtool/apikey/usage.hpp"

namespace kmtool::apikey {

namespace {

/// Rate limits of a host where every check is a process of its own: the buckets lie in the usage database.
class StoredGate : public RateGate {
 public:
  explicit StoredGate(journal::UsageStore& store) : store_(store) {}
  Answer ask(const KeyEntry& key, std::uint32_t, std::int64_t microseconds, bool only_look) override {
    const Rate& rate = key.restrictions->rate.value();
    Answer answer;
    store_.with_bucket(key.id, !only_look, [&](std::int64_t& units, std::int64_t& at) {
      TokenBucket bucket{units, at};
      answer.allowed = only_look ? bucket.peek(rate, microseconds) : bucket.take(rate, microseconds);
      if (!answer.allowed) answer.retry_after = bucket.retry_after(rate, microseconds);
      units = bucket.units;
      at = bucket.at;
    });
    return answer;
  }

 private:
  journal::UsageStore& store_;
};

/// Nothing was counted yet: every bucket is full.
class FullGate : public RateGate {
 public:
  Answer ask(const KeyEntry&, std::uint32_t, std::int64_t, bool) override { return {}; }
};

/// A row that is parsed where the id has none, so that unknown ids cost what known ones do.
const journal::Item& decoy() {
  static const journal::Item item = [] {
    ApiKeyRecord record;
    record.entry.id = id_text(0);
    record.entry.app = record.entry.environment = "default";
    Restrictions restrictions;
    restrictions.ip = {Network::parse("192.0.2.0/24")};
    record.entry.restrictions = std::move(restrictions);
    return journal::Item{"apikey", record.entry.id, dump_json(*record.change().value), 0};
  }();
  return item;
}

KeyTable table_for(op::Context& reader, std::string_view key) {
  const auto parts = parse_key(key);
  if (parts.form != KeyParts::Form::ok) return KeyTable();
  const auto& other = decoy();
  const auto row = reader.journal().proven("apikey", std::string(parts.id));
  auto record = ApiKeyRecord::from(row ? *row : other);
  std::vector<KeyEntry> entries;
  if (row) entries.push_back(std::move(record.entry));
  return KeyTable(std::move(entries));
}

}  // namespace

std::vector<journal::UsageStore::Delta> deltas_of(const UsageCounts& counts, UnixTime time, const std::function<bool(const std::string&)>& known) {
  std::map<std::string, UsageCount> merged;
  for (const auto& [id, count] : counts) merged[id == unknown_id || known(id) ? id : unknown_id].add(count);
  std::vector<journal::UsageStore::Delta> deltas;
  for (const auto& [id, count] : merged) {
    journal::UsageStore::Delta delta;
    delta.key = id;
    delta.hour = time - time % 3600;
    if (count.allowed > 0) delta.counts["allowed"] = count.allowed;
    for (std::size_t rule = 0; rule < rule_count; ++rule) {
      if (count.denied[rule] > 0) delta.counts[fmt::format("denied.{}", to_text(static_cast<Rule>(rule)))] = count.denied[rule];
    }
    delta.last_allowed = count.last_allowed;
    delta.last_denied = count.last_denied;
    for (const auto& [address, source] : count.sources) delta.sources.push_back({address.text(), source.count, source.first, source.last});
    delta.more_sources = count.more_sources;
    delta.peak = count.peak;
    delta.peak_at = count.peak_at;
    deltas.push_back(std::move(delta));
  }
  return deltas;
}

std::filesystem::path usage_database(const home::Home& home) { return home.paths.root / "usage.db"; }

Verdict check(op::Context& reader, std::string_view key, const Request& request, KeyTable& table) {
  table = table_for(reader, key);
  auto store = journal::UsageStore::open(usage_database(reader.home));
  StoredGate gate(store);
  const auto verdict = decide(table, key, request, &gate);
  UsageCounter counter;
  counter.count(verdict, request);
  store.add(deltas_of(counter.take(), request.time, [](const std::string&) { return true; }));
  return verdict;
}

Explanation explain_here(op::Context& reader, std::string_view key, const Request& request, KeyTable& table) {
  table = table_for(reader, key);
  auto store = journal::UsageStore::open_existing(usage_database(reader.home));
  if (!store) {
    FullGate full;
    return explain(table, key, request, &full);
  }
  StoredGate gate(*store);
  return explain(table, key, request, &gate);
}

}  // namespace kmtool::apikey
