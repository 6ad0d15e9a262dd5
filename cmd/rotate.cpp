#include "kmtool/rotate/rotate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <utility>

#include "kek.hpp"
#include "kept.hpp"
#include "share.hpp"
#include "kmtool/core/count.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/home/pin_keeper.hpp"

namespace kmtool::cmd {

namespace {

struct RotateOptions {
  rotate::Request request;
  std::vector<std::string> rewrap;
  QuorumOptions quorum;
  std::string within, backup, overlap;
  bool no_wait = false;
};

std::vector<std::string> lines_of(const Globals& globals, const rotate::Report& report) {
  std::vector<std::string> lines;
  for (const auto& label : report.activated) lines.push_back(label + " is active");
  for (const auto& done : report.rotated) lines.push_back(label_of(done.name, done.from) + " -> " + label_of(done.name, done.to));
  for (const auto& backup : report.backups) {
    lines.push_back("backed up " + backup.key + " into " + printable(backup.file));
    if (kept_lies_there(globals, backup.file, backup.kept)) lines.push_back("kept the backup that lay there as " + printable(backup.kept));
    for (const auto& share : backup.shares) lines.push_back(share_line(share));
  }
  for (const auto& done : report.rewrapped) {
    lines.push_back(fmt::format("re-wrapped {} ({})", printable(done.file), counted(done.records, "key")));
  }
  for (const auto& label : report.deactivated) lines.push_back(label + " is deactivated");
  for (const auto& label : report.destroyed) lines.push_back(label + " is destroyed");
  for (const auto& left : report.left) {
    if (!left.failed) lines.push_back("still under an old kek: " + printable(left.file) + ": " + printable(left.why));
  }
  for (const auto& hook : report.owed) {
    if (globals.dry_run) lines.push_back("hook for " + hook.key + ": " + printable(hook.command));
  }
  if (!report.not_tried.empty()) lines.push_back("not tried: " + join(report.not_tried, ", "));
  return lines;
}

std::string summary_of(const rotate::Report& report, std::size_t hooks_failed) {
  std::string text = fmt::format("{} rotated, {} re-wrapped, {} failed, {} not due", report.rotated.size(), report.rewrapped.size(), report.failed.size(),
                                 report.not_due);
  if (!report.not_tried.empty()) text += fmt::format(", {} not tried", report.not_tried.size());
  if (hooks_failed > 0) text += ", " + counted(hooks_failed, "hook") + " failed";
  return text;
}

Json json_of(const Globals& globals, const rotate::Report& report, const std::vector<rotate::HookResult>& hooks) {
  Json json;
  json["rotated"] = Json::array();
  for (const auto& done : report.rotated) json["rotated"].push_back({{"name", done.name}, {"from", done.from}, {"to", done.to}});
  json["rewrapped"] = Json::array();
  for (const auto& done : report.rewrapped) {
    json["rewrapped"].push_back({{"file", done.file}, {"records", done.records}, {"kept", done.kept.empty() ? Json(nullptr) : Json(done.kept)}});
  }
  json["backups"] = Json::array();
  for (const auto& backup : report.backups) {
    json["backups"].push_back({{"key", backup.key}, {"file", backup.file}, {"kept", kept_json(globals, backup.file, backup.kept)}});
    if (!backup.shares.empty()) json["backups"].back()["shares"] = shares_json(backup.shares);
  }
  json["failed"] = Json::array();
  for (const auto& failed : report.failed) {
    json["failed"].push_back({{"name", failed.name}, {"code", failed.code}, {"message", failed.message}, {"hint", failed.hint}});
  }
  json["not_tried"] = report.not_tried;
  json["not_due"] = report.not_due;
  json["left"] = Json::array();
  for (const auto& left : report.left) json["left"].push_back({{"file", left.file}, {"why", left.why}});
  json["activated"] = report.activated;
  json["deactivated"] = report.deactivated;
  json["destroyed"] = report.destroyed;
  json["hooks"] = Json::array();
  for (const auto& hook : hooks) json["hooks"].push_back({{"key", hook.hook.key}, {"status", hook.status ? Json(*hook.status) : Json(nullptr)}});
  for (const auto& hook : report.owed) {
    if (globals.dry_run) json["hooks"].push_back({{"key", hook.key}, {"status", nullptr}});
  }
  return json;
}

/// nullopt: it is owed no more, somebody else was faster. Under its claim, so that no two run at a time.
std::optional<rotate::HookResult> run_hook(rotate::HookRunner& runner, const op::Options& options, const rotate::OwedHook& hook, std::vector<rotate::HookClaim>& claims) {
  const auto key = KeyRef::parse(hook.key).name;
  auto claim = rotate::HookClaim::take(options.paths, key);
  if (!claim) return rotate::HookResult{hook, {}, {}, true};
  try {
    auto reader = op::Context::open(options, op::Need::reader);
    if (!rotate::still_owed(reader, hook)) return std::nullopt;
  } catch (const Error&) {  // a home that cannot be read is for settling to say; the hook is owed as far as is known
  }
  claims.push_back(*std::move(claim));
  return runner.run(hook, options.paths.root.string());
}

std::vector<rotate::HookResult> run_hooks(Globals& globals, rotate::HookRunner* runner, const op::Options& options, const rotate::Report& report) {
  std::vector<rotate::HookResult> results;
  if (runner == nullptr || options.dry_run) return results;
  std::vector<rotate::HookClaim> claims;
  for (const auto& hook : report.owed) {
    if (auto result = run_hook(*runner, options, hook, claims)) results.push_back(*std::move(result));
  }
  const bool ran = std::ranges::any_of(results, [](const auto& result) { return !result.elsewhere; });
  if (ran) try {
    auto context = op::Context::open(options, op::Need::mutation);
    rotate::settle_hooks(context, results);
  } catch (const Error& error) {  // what was rotated is to be reported all the same
    for (auto& result : results) {
      if (result.what.empty() && !result.elsewhere) result.what = "ran, but that could not be recorded (" + error.message() + ")";
    }
  }
  for (const auto& result : results) {
    const auto& key = result.hook.key;
    if (result.elsewhere) {
      note(globals, "the hook for " + key + " is running (started by another kmtool), or an older one of that key is: it was not started beside it; kmtool rotate --due does it if it is owed then");
    } else if (!result.what.empty()) {
      const std::string instead = rotate::can_start(result.hook.command) ? "" : "; with --hook COMMAND another takes its place";
      warn(globals, "the hook for " + key + " " + result.what + "; kmtool rotate --due tries again" + instead);
    }
  }
  return results;
}

int print(Globals& globals, const RotateOptions& o, const rotate::Report& report, const std::vector<rotate::HookResult>& hooks) {
  const auto failed = static_cast<std::size_t>(std::count_if(hooks.begin(), hooks.end(), [](const auto& hook) { return !hook.what.empty(); }));
  for (const auto& text : report.notes) warn(globals, text);
  for (const auto& backup : report.backups) {
    if (!kept_lies_there(globals, backup.file, backup.kept)) say_kept(globals, backup.file, backup.kept);
  }
  if (json_wanted(globals)) {
    globals.out.json(json_of(globals, report, hooks));
  } else if (!o.request.due || !report.idle() || globals.verbose > 0) {
    for (const auto& line : lines_of(globals, report)) globals.out.line(line);
    globals.out.line(summary_of(report, failed));
  }
  for (const auto& one : report.failed) {
    warn(globals, one.name + " was not rotated: " + one.message + (one.hint.empty() ? "" : " (" + one.hint + ")"));
  }
  return report.failed.empty() && failed == 0 ? 0 : 1;
}

void read_options(RotateOptions& o) {
  if (!o.within.empty()) o.request.within = parse_period(o.within, "--within");
  if (!o.overlap.empty()) o.request.overlap = parse_period(o.overlap, "--overlap");
  if (!o.backup.empty()) o.request.backup = o.backup;
  o.request.no_quorum = o.quorum.quorum == "none";
  if (o.request.no_quorum && (!o.quorum.folder.empty() || !o.quorum.custodians.empty() || o.quorum.qr)) {
    throw Error::usage("--quorum none makes no shares", "leave out --shares, --custodian and --qr, or say --quorum M/N");
  }
  if (!o.request.no_quorum) o.request.quorum = quorum_of(o.quorum);
  for (const auto& file : o.rewrap) o.request.rewrap.emplace_back(file);
  if (!o.request.hook.empty()) rotate::hook_words(o.request.hook);
}

/// After a fault or Ctrl-C: the same command is right for --due and for one key that was not reached; else it would rotate a second time.
std::string how_to_go_on(const rotate::Request& request, const rotate::Report& report, bool dry_run) {
  if (dry_run) return {};
  std::string rest;
  if (!report.open.empty()) rest = "kmtool rotate --due goes on with the bundles of " + report.open;
  const bool more = request.all || report.rotated.size() < request.names.size();
  if (!request.due && more && !report.rotated.empty()) {
    rest += std::string(rest.empty() ? "" : ", and ") + "for the keys that are left name them: the same command would rotate those that are done again";
  }
  return rest;
}

int run(Globals& globals, RotateOptions& o) {
  read_options(o);
  ask_fingerprints(globals, o.request.to);
  auto options = options_of(globals);
  if (o.no_wait) options.lock_wait = std::chrono::milliseconds(0);
  // The runner is forked here: later, with the module loaded, nothing may be.
  // Not in a hook: one that rotates would be started again for what it rotated, without end.
  const bool in_hook = std::getenv("KMTOOL_TO") != nullptr;
  bool hooks = !in_hook && !o.request.hook.empty();
  if (!hooks && !in_hook) {  // what is due also runs hooks that are owed, and a rotation takes such a one over
    auto reader = op::Context::open(options, op::Need::reader);
    hooks = rotate::any_hook_owed(reader);
  }
  std::unique_ptr<rotate::HookRunner> runner;
  std::optional<home::PinKeeper> pin;  // the home is opened again for what the hooks did
  if (hooks) runner = std::make_unique<rotate::HookRunner>();
  if (hooks) pin.emplace();
  const auto target = o.request.due ? "--due" : o.request.all ? "--all" : join(o.request.names, " ");
  rotate::Report report;
  try {
    op::recorded(options, op::Need::mutation, "rotate", target, [&](op::Context& context) {
      rotate::rotate(context, o.request, report);
      return 0;
    });
  } catch (const Error& error) {
    const auto rest = how_to_go_on(o.request, report, globals.dry_run);
    if (error.code() == "stopped" && !report.idle() && !globals.dry_run) {  // part of it is done: that is the result, and "try again" would be wrong
      if (!report.owed.empty()) note(globals, "no hook was started: kmtool rotate --due starts them");
      print(globals, o, report, {});
      throw Error(ExitCode::no, error.code(), error.message(), rest.empty() ? "kmtool rotate --due goes on" : rest);
    }
    const bool quiet = std::exchange(globals.quiet, false);  // what was done is no chatter
    for (const auto& line : lines_of(globals, report)) note(globals, "done before the failure: " + line);
    globals.quiet = quiet;
    if (rest.empty()) throw;
    const bool only = error.hint().empty() || error.code() == "stopped";
    throw Error(error.exit(), error.code(), error.message(), only ? rest : error.hint() + "; " + rest);
  }
  if (in_hook && !report.owed.empty()) note(globals, "in a hook no other is started: kmtool rotate --due does it later");
  const int exit = print(globals, o, report, run_hooks(globals, runner.get(), options, report));
  say_dry_run(globals);
  return exit;
}

}  // namespace

void add_rotate(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("rotate", "make new versions of keys, and move bundles to a KEK's new version");
  auto o = std::make_shared<RotateOptions>();
  sub->add_option("keys", o->request.names, "names of keys")->type_name("KEY");
  sub->add_flag("--due", o->request.due, "every key whose originator period has ended, and what else has come due");
  sub->add_option("--within", o->within, "with --due: also what will be due in this time")->type_name("DURATION");
  sub->add_flag("--all", o->request.all, "every key that has an active version");
  sub->add_option("--backup", o->backup, "for a key whose old version is in a backup: the new version's bundle")->type_name("FILE");
  repeatable(sub->add_option("--kek", o->request.keks, "with --backup: its KEK in place of the one on record; may be repeated")->type_name("KEK"));
  add_public_destinations(sub, o->request.to);
  add_quorum(sub, o->quorum);
  sub->get_option("--quorum")
      ->description("the new version's backup can be opened only with M of N shares, such as 3/5; none: it needs none, where the record does not say")
      ->type_name("M/N|none");
  repeatable(sub->add_option("--rewrap", o->rewrap, "a KEK: re-wrap this bundle; may be repeated")->type_name("FILE"));
  sub->add_flag("--rewrap-all", o->request.rewrap_all, "a KEK: re-wrap every bundle of the catalog that depends on its old versions");
  sub->add_option("--hook", o->request.hook, "a program and its arguments, run after each rotated key (no shell)")->type_name("COMMAND");
  sub->add_option("--overlap", o->overlap, "the old version stays active beside the new one for this long")->type_name("DURATION");
  sub->add_flag("--no-wait", o->no_wait, "leave with 75 when another command holds the home");
  sub->add_option("--max-failures", o->request.max_failures, "stop after so many keys have failed")->type_name("N")->check(CLI::Range(1, 1000000));
  add_sessions(sub, o->request.sessions);
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
