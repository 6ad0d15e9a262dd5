#include "kmtool/apikey/usage.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "apikey/deltas.hpp"
#include "apikey/totals.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"

namespace kmtool::apikey {

namespace {

constexpr std::size_t most_named_apps = 300;  // of an entry in the journal, which is under 60 KB
constexpr std::int64_t period = 86400;
constexpr std::string_view denied_word = "denied.";

std::uint64_t denied_of(const std::map<std::string, std::uint64_t>& counts) {
  std::uint64_t sum = 0;
  for (const auto& [what, count] : counts) sum += what.starts_with(denied_word) ? count : 0;
  return sum;
}

void count_into(KeyUsage& usage, const journal::UsageStore::Count& count, const UsageRequest& request, UnixTime now) {
  if (count.what == "allowed") usage.allowed += count.count;
  if (count.what.starts_with(denied_word)) {
    usage.denied += count.count;
    usage.denied_by[count.what.substr(denied_word.size())] += count.count;
  }
  const std::int64_t span = std::max<std::int64_t>(now - request.since, 1);
  const std::int64_t at = std::max<std::int64_t>(count.hour - request.since, 0) * static_cast<std::int64_t>(request.parts) / span;
  usage.series[std::min(static_cast<std::size_t>(at), request.parts - 1)] += count.count;
}

}  // namespace

std::vector<KeyUsage> usage(op::Context& reader, const UsageRequest& request) {
  const UnixTime now = reader.now();
  std::vector<KeyUsage> list;
  std::map<std::string, std::size_t> place;
  const auto add = [&](KeyUsage usage) {
    usage.series.resize(request.parts);
    place[usage.id] = list.size();
    list.push_back(std::move(usage));
  };
  if (!request.id.empty() && request.id != unknown_id) find_api_key(reader, request.id);  // says that there is none
  for (const auto& record : api_keys(reader)) {
    if (!request.id.empty() && record.entry.id != request.id) continue;
    KeyUsage usage;
    usage.id = record.entry.id;
    usage.app = record.entry.app;
    usage.environment = record.entry.environment;
    usage.state = record.state(now);
    add(std::move(usage));
  }
  auto store = journal::UsageStore::open_existing(usage_database(reader.home));
  if (!store) return list;
  const auto seen = store->seen();
  if (seen.contains(unknown_id) && (request.id.empty() || request.id == unknown_id)) {
    KeyUsage nobody;
    nobody.id = unknown_id;
    nobody.state = "no key of ours";
    add(std::move(nobody));
  }
  for (auto& usage : list) {
    const auto found = seen.find(usage.id);
    if (found != seen.end()) usage.seen = found->second;
    if (usage.id == request.id) usage.sources = store->sources(usage.id);
  }
  for (const auto& count : store->counts(request.id, request.since - request.since % 3600)) {
    const auto found = place.find(count.key);
    if (found != place.end()) count_into(list[found->second], count, request, now);
  }
  return list;
}

std::string sparkline(const std::vector<std::uint64_t>& series) {
  static constexpr std::array<const char*, 8> blocks{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const std::uint64_t most = series.empty() ? 0 : *std::max_element(series.begin(), series.end());
  std::string text;
  for (const auto value : series) text += value == 0 ? " " : blocks[static_cast<std::size_t>((value * 8 - 1) / most)];
  return text;
}

Ingested ingest(op::Context& reader, const std::vector<std::filesystem::path>& spools) {
  auto store = journal::UsageStore::open(usage_database(reader.home));
  std::map<std::string, bool> known_ids;
  const auto known = [&](const std::string& id) {
    const auto [at, fresh] = known_ids.emplace(id, false);
    if (fresh) at->second = reader.journal().proven("apikey", id).has_value();
    return at->second;
  };
  Ingested result;
  for (const auto& spool : spools) {
    if (!std::filesystem::exists(spool)) throw Error::missing("there is no spool " + spool.string(), "name the --state folder of apikey serve, or a usage-*.jsonl of it");
    read_spool(
        spool, [&](const std::string& id) { return store.last_batch(id); },
        [&](UsageBatch&& batch) {
          if (!store.add_batch(batch.spool, batch.batch, reader.now(), deltas_of(batch.keys, batch.to, known))) return;
          ++result.batches;
          for (const auto& [id, count] : batch.keys) result.requests += count.allowed + count.all_denied();
        },
        [&](const std::filesystem::path& file) { result.torn.push_back(file.string()); });
  }
  store.prune(reader.now());
  return result;
}

Totals record_totals(op::Context& context, bool now_anyway) {
  Totals totals;
  const auto last = context.journal().proven("apikey-usage", "totals");
  const Json before = last ? last->json() : Json::object();
  if (!now_anyway && last && parse_rfc3339(before.value("until", "")).value_or(0) > context.now() - period) return totals;
  const auto store = journal::UsageStore::open_existing(usage_database(context.home));
  if (!store) return totals;
  std::string text;
  std::uint64_t allowed = 0, denied = 0;
  std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> apps;
  for (const auto& [id, counts] : store->totals()) {
    for (const auto& [what, count] : counts) text += fmt::format("{} {} {}\n", id, what, count);
    const auto row = context.journal().proven("apikey", id);
    auto& app = apps[row ? row->json().value("app", "") : "-"];
    const auto yes = counts.contains("allowed") ? counts.at("allowed") : 0;
    app.first += yes;
    app.second += denied_of(counts);
    allowed += yes;
    denied += denied_of(counts);
  }
  const auto digest = hex(crypto::sha256(view(text)));
  if (text.empty() || before.value("digest", "") == digest) return totals;
  Json row{{"until", rfc3339(context.now())}, {"allowed", allowed}, {"denied", denied}, {"digest", digest}, {"applications", Json::object()}};
  if (apps.size() <= most_named_apps) {
    for (const auto& [name, counts] : apps) row["applications"][name] = {{"allowed", counts.first}, {"denied", counts.second}};
  }
  totals.details = row;
  totals.changes.push_back({"apikey-usage", "totals", std::move(row)});
  return totals;
}

bool record_totals_now(op::Context& context) {
  auto totals = record_totals(context, true);
  if (totals.changes.empty()) return false;
  if (!context.options.dry_run) context.note("apikey usage --record", "totals", std::move(totals.details), std::move(totals.changes));
  return true;
}

}  // namespace kmtool::apikey
