#include "kmtool/rotate/monitor.hpp"

#include <algorithm>

#include "common.hpp"
#include "kmtool/apikey/usage.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {

namespace {

struct MonitorOptions {
  std::string warning, critical, unverified;
};

/// `0` switches a check off.
void read(const std::string& text, const std::string& option, std::int64_t& to) {
  if (!text.empty()) to = text == "0" ? 0 : parse_period(text, option);
}

/// API keys: what is unusual about their use. A journal that is broken has been said already, and nothing in it is believed.
void add_api_keys(op::Context& context, rotate::MonitorReport& report) {
  if (report.performance.starts_with("journal=")) return;
  const auto anomalies = apikey::anomalies(context);
  report.performance += " apikey_anomalies=" + std::to_string(anomalies.size());
  if (anomalies.empty()) return;
  std::map<std::string, std::size_t> kinds;
  for (const auto& anomaly : anomalies) {
    ++kinds[anomaly.kind];
    report.lines.push_back("api key " + (anomaly.id == apikey::unknown_id ? std::string("(none of ours)") : anomaly.id + " of " + anomaly.app) + ": " + anomaly.kind + ": " + anomaly.text);
  }
  std::vector<std::string> texts;
  texts.reserve(kinds.size());
  for (const auto& [kind, count] : kinds) texts.push_back("API keys: " + kind + (count > 1 ? " (" + std::to_string(count) + ")" : ""));
  report.text = report.status == 0 ? join(texts, ", ") : report.text + ", " + join(texts, ", ");
  report.status = std::max(report.status, 1);
}

int run(Globals& globals, const MonitorOptions& o) {
  rotate::MonitorRequest request;
  read(o.warning, "--warning", request.warning);
  read(o.critical, "--critical", request.critical);
  read(o.unverified, "--unverified", request.unverified);
  auto context = op::Context::open(options_of(globals), op::Need::reader);
  auto report = rotate::monitor(context, request);
  add_api_keys(context, report);
  static const char* const words[] = {"OK", "WARNING", "CRITICAL"};
  if (json_wanted(globals)) {
    globals.out.json(Json{{"status", report.status}, {"text", report.text}, {"performance", report.performance}, {"findings", report.lines}});
    return report.status;
  }
  // `|` begins the performance data, on further lines too: none may stand in the text.
  const auto plain = [](const std::string& line) {
    std::string text = printable(line);
    std::ranges::replace(text, '|', '/');
    return text;
  };
  globals.out.line(std::string("KMTOOL ") + words[report.status] + " - " + plain(report.text) + " | " + report.performance);
  if (globals.verbose > 0) {
    for (const auto& line : report.lines) globals.out.line(plain(line));
  }
  return report.status;
}

}  // namespace

void add_monitor(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("monitor", "Nagios/Icinga plugin: expiring keys, unverified bundles, a broken journal");
  auto o = std::make_shared<MonitorOptions>();
  sub->add_option("--warning", o->warning, "warn of active keys that expire within this time (30d)")->type_name("DURATION");
  sub->add_option("--critical", o->critical, "critical: active keys that expire within this time (7d)")->type_name("DURATION");
  sub->add_option("--unverified", o->unverified, "warn of bundles that nobody verified for this long (90d; 0: never)")->type_name("DURATION");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
