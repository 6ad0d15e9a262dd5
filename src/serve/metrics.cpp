#include "metrics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "head.hpp"

namespace kmtool::serve {
namespace {

using Threads = std::vector<std::unique_ptr<Counters>>;

template <typename Pick>
std::uint64_t sum(const Threads& threads, Pick pick) {
  std::uint64_t total = 0;
  for (const auto& thread : threads) total += pick(*thread).load(std::memory_order_relaxed);
  return total;
}

class Text {
 public:
  void family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    append("# HELP {0} {1}\n# TYPE {0} {2}\n", name, help, type);
  }
  template <typename Value>
  void value(const std::string& labels, Value what) {
    append("{}{} {}\n", name_, labels.empty() ? labels : "{" + labels + "}", what);
  }
  template <typename Value>
  void single(std::string_view name, std::string_view type, std::string_view help, Value what) {
    family(name, type, help);
    value({}, what);
  }
  void raw(std::string_view text) { out_.append(text); }
  std::string take() { return std::move(out_); }

 private:
  template <typename... Args>
  void append(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
  }
  std::string out_, name_;
};

void checks(Text& text, const Threads& threads) {
  text.family("kmtool_apikey_checks_total", "counter", "Checks by verdict and by the rule that denied.");
  for (std::size_t i = 0; i < apikey::rule_count; ++i) {
    const auto rule = static_cast<apikey::Rule>(i);
    text.value(fmt::format("verdict=\"{}\",rule=\"{}\"", i == 0 ? "allowed" : "denied", apikey::to_text(rule)),
               sum(
                   threads, [i](Counters & c) -> auto& { return c.rules[i]; }));
  }
  for (std::size_t i = 0; i < refusal_count; ++i) {
    text.value(fmt::format("verdict=\"denied\",rule=\"{}\"", to_text(static_cast<Refusal>(i))),
               sum(
                   threads, [i](Counters & c) -> auto& { return c.refusals[i]; }));
  }
}

void latency(Text& text, const Threads& threads) {
  constexpr std::string_view name = "kmtool_apikey_check_seconds";
  text.family(name, "histogram", "Time to read and decide one check, without the network.");
  std::uint64_t below = 0;
  for (std::size_t i = 0; i <= latency_bounds.size(); ++i) {
    below += sum(
        threads, [i](Counters & c) -> auto& { return c.latency[i]; });
    const std::string bound =
        i < latency_bounds.size() ? fmt::format("{}", static_cast<double>(latency_bounds[i]) / 1e6) : "+Inf";
    text.raw(fmt::format("{}_bucket{{le=\"{}\"}} {}\n", name, bound, below));
  }
  const auto nanoseconds = sum(
      threads, [](Counters & c) -> auto& { return c.latency_sum; });
  text.raw(fmt::format("{0}_sum {1}\n{0}_count {2}\n", name, static_cast<double>(nanoseconds) / 1e9, below));
}

void connections(Text& text, const Threads& threads) {
  text.family("kmtool_http_bad_requests_total", "counter", "Requests that were refused before they were a check.");
  const auto& names = head_refusals();
  for (std::size_t i = 0; i < names.size(); ++i) {
    text.value(fmt::format("reason=\"{}\"", names[i]), sum(
                                                           threads, [i](Counters & c) -> auto& { return c.bad_requests[i]; }));
  }
  text.single("kmtool_http_connections_total", "counter", "Connections accepted.",
              sum(
                  threads, [](Counters & c) -> auto& { return c.connections; }));
  text.single("kmtool_http_connections_open", "gauge", "Connections open now.",
              sum(
                  threads, [](Counters & c) -> auto& { return c.open; }));
  text.single("kmtool_http_connections_evicted_total", "counter", "Idle connections closed to make room for others.",
              sum(
                  threads, [](Counters & c) -> auto& { return c.evicted; }));
  text.single("kmtool_http_connections_timed_out_total", "counter",
              "Connections closed because a head, a reader or an idle peer took too long.",
              sum(
                  threads, [](Counters & c) -> auto& { return c.timed_out; }));
}

void snapshot(Text& text, const Facts& facts) {
  text.single("kmtool_apikey_ready", "gauge", "1 while a snapshot is served, 0 while everything is denied.", facts.ready ? 1 : 0);
  text.single("kmtool_apikey_registry_keys", "gauge", "Keys in the snapshot that is served.", facts.keys);
  text.single("kmtool_apikey_snapshot_sequence", "gauge", "Number of the snapshot that is served.", facts.sequence);
  text.single("kmtool_apikey_snapshot_created_timestamp_seconds", "gauge", "When that snapshot was made.", facts.created);
  text.single("kmtool_apikey_snapshot_not_after_timestamp_seconds", "gauge",
              "When everything will be denied unless a newer one has come.", facts.not_after);
  text.single("kmtool_apikey_snapshot_loaded_timestamp_seconds", "gauge", "When that snapshot was loaded.", facts.loaded);
  text.single("kmtool_apikey_snapshot_file_accepted", "gauge", "1 when the file that lies there is the one that is served.",
              facts.file_accepted ? 1 : 0);
  text.single("kmtool_apikey_snapshot_reloads_total", "counter", "Snapshots that were accepted.", facts.reloads);
  text.single("kmtool_apikey_snapshot_reload_failures_total", "counter", "Snapshot files that were not accepted.",
              facts.reload_failures);
  text.single("kmtool_apikey_usage_batches_total", "counter", "Batches of usage written to the state folder.",
              facts.usage_batches);
  text.single("kmtool_apikey_usage_failures_total", "counter",
              "Batches of usage that could not be written and are kept for the next.", facts.usage_failures);
  text.single("kmtool_clock_behind_seconds", "gauge",
              "How far this host's clock is behind the time that has passed since it was right, or since the snapshot was made.", facts.clock_behind);
  text.single("process_start_time_seconds", "gauge", "When this process was started.", facts.process_start);
  text.family("kmtool_build_info", "gauge", "Which kmtool this is.");
  text.value("version=\"" KMTOOL_VERSION "\"", 1);
}

}  // namespace

std::string_view to_text(Refusal refusal) {
  static constexpr std::string_view words[refusal_count] = {"two-keys", "forwarded", "no-snapshot", "snapshot-expired",
                                                            "clock",    "state",     "internal"};
  return words[static_cast<std::size_t>(refusal)];
}

Counters::Counters() : bad_requests(head_refusals().size()) {}

void Counters::observe(std::int64_t nanoseconds) {
  std::size_t i = 0;
  while (i < latency_bounds.size() && nanoseconds > latency_bounds[i] * 1000) ++i;
  add(latency[i]);
  add(latency_sum, static_cast<std::uint64_t>(std::max<std::int64_t>(nanoseconds, 0)));
}

void Counters::bad_request(std::string_view why) {
  const auto& names = head_refusals();
  const auto found = std::find(names.begin(), names.end(), why);
  if (found != names.end()) add(bad_requests[static_cast<std::size_t>(found - names.begin())]);
}

std::string metrics_text(const Threads& threads, const Facts& facts) {
  Text text;
  checks(text, threads);
  latency(text, threads);
  connections(text, threads);
  snapshot(text, facts);
  return text.take();
}

Totals totals_of(const Threads& threads) {
  Totals totals;
  for (std::size_t i = 0; i < apikey::rule_count; ++i) {
    (i == 0 ? totals.allowed : totals.denied) += sum(
        threads, [i](Counters & c) -> auto& { return c.rules[i]; });
  }
  for (std::size_t i = 0; i < refusal_count; ++i)
    totals.denied += sum(
        threads, [i](Counters & c) -> auto& { return c.refusals[i]; });
  for (std::size_t i = 0; i < head_refusals().size(); ++i) {
    totals.bad_requests += sum(
        threads, [i](Counters & c) -> auto& { return c.bad_requests[i]; });
  }
  totals.connections = sum(
      threads, [](Counters & c) -> auto& { return c.connections; });
  return totals;
}

}  // namespace kmtool::serve
