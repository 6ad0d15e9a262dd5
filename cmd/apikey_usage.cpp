#include <fmt/format.h>

#include <algorithm>

#include "apikey.hpp"
#include "kmtool/apikey/usage.hpp"
#include "kmtool/core/count.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {

namespace {

struct UsageOptions {
  std::string id, since = "24h";
  std::vector<std::string> spools;
  bool record = false, by_app = false;
};

constexpr std::size_t parts = 24;

Json usage_json(const apikey::KeyUsage& usage) {
  const auto time = [](const std::optional<UnixTime>& at) { return at ? Json(rfc3339(*at)) : Json(nullptr); };
  Json json{{"id", usage.id}, {"app", usage.app}, {"environment", usage.environment}, {"state", usage.state}, {"allowed", usage.allowed}, {"denied", usage.denied}, {"denied_by", Json::object()}};
  for (const auto& [rule, count] : usage.denied_by) json["denied_by"][rule] = count;
  json["last_used"] = time(usage.seen.last_allowed);
  json["last_denied"] = time(usage.seen.last_denied);
  json["distinct_sources"] = usage.seen.sources;
  json["more_sources"] = usage.seen.more_sources;
  json["peak"] = usage.seen.peak;
  json["peak_at"] = usage.seen.peak > 0 ? Json(rfc3339(usage.seen.peak_at)) : Json(nullptr);
  json["series"] = usage.series;
  if (!usage.sources.empty()) {
    json["sources"] = Json::array();
    for (const auto& source : usage.sources) json["sources"].push_back({{"address", source.address}, {"count", source.count}, {"first", rfc3339(source.first)}, {"last", rfc3339(source.last)}});
  }
  return json;
}

/// One line an application and environment.
std::vector<apikey::KeyUsage> by_application(const std::vector<apikey::KeyUsage>& all) {
  std::vector<apikey::KeyUsage> sums;
  for (const auto& usage : all) {
    auto sum = std::find_if(sums.begin(), sums.end(), [&](const auto& each) { return each.app == usage.app; });
    if (sum == sums.end()) {
      sums.push_back(usage);
      sums.back().id = sums.back().environment = sums.back().state = "";
      continue;
    }
    sum->allowed += usage.allowed;
    sum->denied += usage.denied;
    for (const auto& [rule, count] : usage.denied_by) sum->denied_by[rule] += count;
    for (std::size_t i = 0; i < sum->series.size(); ++i) sum->series[i] += usage.series[i];
    sum->seen.sources = std::max(sum->seen.sources, usage.seen.sources);
    if (usage.seen.peak > sum->seen.peak) {
      sum->seen.peak = usage.seen.peak;
      sum->seen.peak_at = usage.seen.peak_at;
    }
    for (auto [to, from] : {std::pair{&sum->seen.last_allowed, usage.seen.last_allowed}, std::pair{&sum->seen.last_denied, usage.seen.last_denied}}) {
      if (from && (!*to || **to < *from)) *to = from;
    }
  }
  return sums;
}

void print(Globals& globals, const std::vector<apikey::KeyUsage>& list, const std::vector<apikey::Anomaly>& anomalies, bool sources) {
  Table table({{"ID"}, {"APP"}, {"ENVIRONMENT"}, {"STATE"}, {"ALLOWED", true}, {"DENIED", true}, {"SOURCES", true}, {"PEAK/S", true}, {"LAST USED"}, {"OVER TIME"}, {"DENIED BY", false, true}});
  for (const auto& usage : list) {
    std::vector<std::string> denied;
    for (const auto& [rule, count] : usage.denied_by) denied.push_back(fmt::format("{} {}", rule, count));
    table.row({usage.id, usage.app, usage.environment, usage.state, std::to_string(usage.allowed), std::to_string(usage.denied),
               fmt::format("{}{}", usage.seen.sources, usage.seen.more_sources > 0 ? "+" : ""), std::to_string(usage.seen.peak), usage.seen.last_allowed ? rfc3339(*usage.seen.last_allowed) : "-",
               apikey::sparkline(usage.series), join(denied, ", ")});
  }
  if (!table.empty()) globals.out.table(table);
  Table addresses({{"SOURCE"}, {"ALLOWED", true}, {"FIRST SEEN"}, {"LAST SEEN"}});
  for (const auto& usage : list) {
    for (const auto& source : usage.sources) addresses.row({source.address, std::to_string(source.count), rfc3339(source.first), rfc3339(source.last)});
  }
  if (sources && !addresses.empty()) globals.out.table(addresses);
  for (const auto& anomaly : anomalies) {
    warn(globals, anomaly.kind + ": " + (anomaly.id == apikey::unknown_id ? "" : anomaly.id + " of " + anomaly.app + " (" + anomaly.environment + "): ") + anomaly.text);
  }
}

void take_spools(Globals& globals, op::Context& context, const UsageOptions& o, Json& json) {
  if (o.spools.empty()) return;
  if (globals.dry_run) {
    note(globals, "dry run: no spool was taken");
    return;
  }
  const auto taken = apikey::ingest(context, {o.spools.begin(), o.spools.end()});
  json["ingested"] = {{"batches", taken.batches}, {"requests", taken.requests}, {"torn", taken.torn}};
  note(globals, fmt::format("took {} with {}", counted(taken.batches, "batch", "batches"), counted(taken.requests, "request")));
  for (const auto& file : taken.torn) warn(globals, printable(file) + " ends in the middle of a batch: a crash cut it off, and that interval is not counted");
}

int report(Globals& globals, op::Context& context, const UsageOptions& o, Json json) {
  const UnixTime now = context.now();
  const auto since = parse_rfc3339(o.since) ? parse_time(o.since, "--since") : now - parse_period(o.since, "--since");
  if (since >= now) throw Error::usage("--since is not in the past");
  auto list = apikey::usage(context, {o.id, since, parts});
  auto anomalies = apikey::anomalies(context);
  if (!o.id.empty()) std::erase_if(anomalies, [&](const auto& each) { return each.id != o.id; });
  if (o.by_app) list = by_application(list);
  if (!json_wanted(globals)) {
    print(globals, list, anomalies, !o.id.empty());
    return 0;
  }
  json["since"] = rfc3339(since);
  json["until"] = rfc3339(now);
  json["keys"] = Json::array();
  for (const auto& usage : list) json["keys"].push_back(usage_json(usage));
  json["anomalies"] = Json::array();
  for (const auto& anomaly : anomalies) json["anomalies"].push_back({{"kind", anomaly.kind}, {"id", anomaly.id}, {"app", anomaly.app}, {"environment", anomaly.environment}, {"text", anomaly.text}});
  globals.out.json(json);
  return 0;
}

int run(Globals& globals, const UsageOptions& o) {
  Json json = Json::object();
  if (!o.record) {
    auto context = op::Context::open(options_of(globals), op::Need::reader);
    op::prove_reader(context);
    take_spools(globals, context, o, json);
    return report(globals, context, o, std::move(json));
  }
  return op::recorded(options_of(globals), op::Need::mutation, "apikey usage --record", "totals", [&](op::Context& context) {
    take_spools(globals, context, o, json);
    const bool recorded = apikey::record_totals_now(context);
    json["recorded"] = recorded && !globals.dry_run;
    if (!recorded) note(globals, "nothing was counted since the last totals");
    if (recorded) note(globals, globals.dry_run ? "the totals would go into the journal" : "the totals are in the journal");
    return report(globals, context, o, std::move(json));
  });
}

}  // namespace

void add_apikey_usage(CLI::App& apikey, Globals& globals, Action& action) {
  auto* sub = apikey.add_subcommand("usage", "who used which key how often, what was denied, and what is unusual");
  auto o = std::make_shared<UsageOptions>();
  sub->add_option("id", o->id, "only this key, with its sources")->type_name("ID");
  sub->add_option("--since", o->since, "from when on: a duration, or a time (24h)")->type_name("24h|TIME");
  sub->add_flag("--by-app", o->by_app, "one line an application");
  repeatable(sub->add_option("--ingest", o->spools, "first take what a gateway counted: its --state folder, or a usage-*.jsonl of it")->type_name("DIR"));
  sub->add_flag("--record", o->record, "write the totals into the journal now (publish does it once a day)");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
