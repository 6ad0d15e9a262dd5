#include "kmtool/apikey/scan.hpp"

#include <fmt/format.h>

#include "apikey.hpp"
#include "kmtool/core/count.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {

namespace {

struct ScanOptions {
  std::vector<std::string> paths;
  bool git = false, issued_only = false;
  std::string rules;
};

/// Stored keys are recognised by what the token opens; issued ones need no token.
void gather(const Globals& globals, op::Context& context, bool with_stored, apikey::Needles& needles, apikey::ScanReport& report) {
  for (const auto& record : apikey::api_keys(context)) needles.add_issued(record, context.now());
  for (const auto& record : apikey::stored_keys(context)) {
    if (!record.issued.empty() || !with_stored) continue;
    try {
      if (!needles.add_stored(record, apikey::unseal_mark(context, record))) report.not_looked_for.push_back(record.id());
    } catch (const Error& error) {
      if (!apikey::of_this_record(error)) throw;
      report.lost.push_back({record.id(), error.message(), error.hint()});
    }
  }
  if (needles.size() == 0) warn(globals, "there is no key to look for");
}

bool has_stored(op::Context& context) {
  const auto all = apikey::stored_keys(context);
  return std::any_of(all.begin(), all.end(), [](const auto& record) { return record.issued.empty(); });
}

apikey::Needles needles_of(Globals& globals, const ScanOptions& o, apikey::ScanReport& report) {
  apikey::Needles needles;
  {
    auto reader = op::Context::open(options_of(globals), op::Need::reader);
    op::prove_reader(reader);
    if (o.issued_only || !has_stored(reader)) {
      gather(globals, reader, false, needles, report);
      return needles;
    }
  }
  auto context = op::Context::open_recorded(options_of(globals), op::Need::token, "apikey scan", "");
  gather(globals, context, true, needles, report);
  return needles;
}

std::string where_of(const apikey::ScanFinding& finding) {
  auto text = finding.path.empty() ? "object " + finding.object.substr(0, 12) : finding.path;
  return text + ":" + std::to_string(finding.hit.line) + ":" + std::to_string(finding.hit.column);
}

void print(Globals& globals, const apikey::ScanReport& report) {
  Table table({{"WHERE", false, true}, {"KEY"}, {"APP"}, {"STATE"}, {"AS"}, {"COMMIT"}});
  for (const auto& finding : report.findings) {
    const auto& hit = finding.hit;
    const std::string commit = finding.object.empty() ? "" : finding.commit.empty() ? "none leads to it" : finding.commit.substr(0, 12);
    table.row({where_of(finding), (hit.needle.stored ? "stored " : "issued ") + hit.needle.id, hit.needle.app, hit.needle.state, hit.encoding, commit});
  }
  if (!table.empty()) globals.out.table(table);
  for (const auto& finding : report.findings) {
    if (finding.hit.more > 0) note(globals, fmt::format("{} has {} {} more times", where_of(finding), finding.hit.needle.id, finding.hit.more));
  }
  note(globals, fmt::format("{} found in {}{}", report.findings.size(), counted(report.files, "file"), report.objects > 0 ? " and " + counted(report.objects, "git object") : ""));
}

int run(Globals& globals, const ScanOptions& o) {
  const auto format = chosen_format(globals);
  if (!o.rules.empty()) {
    std::string prefix(apikey::default_prefix);
    if (std::filesystem::exists(home::default_paths(globals.home).config())) prefix = home::open_home(home::default_paths(globals.home)).policy.api_keys.prefix;
    globals.out.raw(view(apikey::gitleaks_rule(prefix)));
    return 0;
  }
  if (o.paths.empty()) throw Error::usage("where to look?", "name files or folders: kmtool apikey scan .");
  apikey::ScanReport report;
  const auto needles = needles_of(globals, o, report);
  const auto progress = make_progress(globals);
  const auto tick = [&](std::uint64_t done) {
    if (globals.stop.requested()) throw Error::busy("stopped", "run it again");
    if (progress && done % 64 == 0) progress("looking", done, 0);
  };
  const std::vector<std::filesystem::path> paths(o.paths.begin(), o.paths.end());
  apikey::scan_paths(paths, needles, report, [&] { tick(report.files); });
  if (o.git) apikey::scan_git(paths, needles, report, [&] { tick(report.objects); });
  for (const auto& skipped : report.skipped) warn(globals, "skipped: " + printable(skipped));
  if (report.readable == 0 && report.objects == 0) {
    throw Error::missing("nothing of what was named could be looked at" + (report.unread.empty() ? "" : ": " + printable(report.unread.front())), "name regular files, or folders");
  }
  if (format == "json") globals.out.json(apikey::to_json(report));
  if (format == "sarif") globals.out.json(apikey::to_sarif(report));
  if (format == "table") print(globals, report);
  for (const auto& unread : report.unread) warn(globals, "not looked at: " + printable(unread));
  for (const auto& name : report.not_looked_for) warn(globals, "not looked for: " + name + " is shorter than 8 bytes");
  for (const auto& lost : report.lost) warn(globals, "not looked for: " + lost.id + ": " + lost.why + (lost.hint.empty() ? "" : " (" + lost.hint + ")"));
  if (o.issued_only) note(globals, "stored keys were not looked for (--issued-only)");
  const bool live = std::any_of(report.findings.begin(), report.findings.end(), [](const auto& finding) { return finding.hit.needle.live; });
  return live || !report.unread.empty() || !report.lost.empty() ? 1 : 0;
}

}  // namespace

void add_apikey_scan(CLI::App& apikey, Globals& globals, Action& action) {
  auto* sub = apikey.add_subcommand("scan", "find issued and stored keys in files and in git history; exit 1 when a live one is found");
  offer_formats(sub, globals, {"table", "json", "sarif"});
  auto o = std::make_shared<ScanOptions>();
  sub->add_option("paths", o->paths, "files and folders")->type_name("FILE");
  sub->add_flag("--git", o->git, "also every object of the git repositories they lie in");
  sub->add_flag("--issued-only", o->issued_only, "only keys issued here: needs no token");
  sub->add_option("--rules", o->rules, "print a rule for another scanner instead")->check(CLI::IsMember({"gitleaks"}))->type_name("SCANNER");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
