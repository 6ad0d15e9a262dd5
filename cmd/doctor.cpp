#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "common.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/op/admin.hpp"
#include "kmtool/op/objects.hpp"

namespace kmtool::cmd {

namespace {

struct DoctorOptions {
  bool repair = false, accept = false;
  std::string reason;
};

const char* word(op::Check::Verdict verdict) {
  switch (verdict) {
    case op::Check::Verdict::ok: return "ok";
    case op::Check::Verdict::note: return "note";
    case op::Check::Verdict::bad: return "BAD";
  }
  return "BAD";
}

/// SoftHSM's own file, mended before any login is tried.
std::vector<std::string> mend_token(const op::Options& options) {
  const auto home = home::open_home(options.paths);
  if (!home.config.embedded || home::check_token_object(home.paths, true) == home::TokenObject::whole) return {};
  return {"put back token.object from the copy that the home keeps"};
}

/// Keys that an accepted restore found on the token: nobody should have to look for them.
void say_found(Globals& globals, const std::vector<pkcs11::Object>& found) {
  if (found.empty()) return;
  std::set<std::string> labels;
  for (const auto& object : found) labels.insert(object.label.empty() ? op::describe(object) : printable(object.label));
  constexpr std::size_t most = 10;
  std::vector<std::string> shown(labels.begin(), std::next(labels.begin(), static_cast<std::ptrdiff_t>(std::min(most, labels.size()))));
  if (labels.size() > most) shown.push_back("…");
  note(globals, "on the token, and not in this journal: " + join(shown, ", ") + "; kmtool adopt NAME --label LABEL (or --all) brings back what is this home's");
}

int print(Globals& globals, const std::vector<op::Check>& checks, const std::vector<std::string>& repairs) {
  bool bad = false;
  Json json{{"healthy", true}, {"repaired", repairs}, {"checks", Json::array()}};
  Table table({{"VERDICT"}, {"WHAT"}, {"DETAIL", false, true}});
  for (const auto& check : checks) {
    bad = bad || check.verdict == op::Check::Verdict::bad;
    json["checks"].push_back({{"verdict", check.verdict == op::Check::Verdict::bad ? "bad" : word(check.verdict)}, {"what", check.what}, {"detail", check.detail}});
    table.row({word(check.verdict), check.what, check.detail});
  }
  json["healthy"] = !bad;
  if (json_wanted(globals)) {
    globals.out.json(json);
  } else {
    for (const auto& line : repairs) globals.out.line("repaired: " + line);
    globals.out.table(table);
  }
  return bad ? 1 : 0;
}

/// What could be looked at stands above the error: on standard error, for standard output stays empty; with --json in the error's warnings.
[[noreturn]] void fail(Globals& globals, const op::Examination& found, const std::vector<std::string>& repairs) {
  if (json_wanted(globals)) {
    for (const auto& line : repairs) note(globals, "repaired: " + line);
    for (const auto& check : found.checks) (check.verdict == op::Check::Verdict::bad ? warn : note)(globals, check.what + ": " + check.detail);
  } else {
    print(globals, found.checks, repairs);
    globals.out.flush(STDERR_FILENO);
  }
  throw Error(*found.failure);
}

int report(Globals& globals, op::Context& context, const std::vector<std::string>& repairs) {
  const auto found = op::examine(context);
  if (!found.failure) return print(globals, found.checks, repairs);
  const auto exit = found.failure->exit();
  if (!context.options.skip_anchor && (exit == ExitCode::damaged || exit == ExitCode::refused)) context.refused("doctor", "", *found.failure);
  fail(globals, found, repairs);
}

op::Context open(Globals& globals, const op::Options& options, op::Need need, const std::vector<std::string>& repairs) {
  try {
    return op::Context::open_recorded(options, need, "doctor", "");
  } catch (const Error& error) {
    fail(globals, op::examine_files(options, error), repairs);
  }
}

int look(Globals& globals, const op::Options& options) {
  auto context = open(globals, options, op::Need::token, {});
  const int exit = report(globals, context, {});
  say_dry_run(globals);
  return exit;
}

int run(Globals& globals, const DoctorOptions& o) {
  auto options = options_of(globals);
  if (o.accept != !o.reason.empty()) throw Error::usage("--accept-rollback and --reason TEXT go together");
  options.skip_anchor = o.accept;
  if (globals.dry_run || (!o.repair && !o.accept)) {
    options.settled = true;
    return look(globals, options);
  }
  std::vector<std::string> repairs;
  try {
    repairs = mend_token(options);
  } catch (const Error& error) {
    fail(globals, op::examine_files(options, error), {});
  }
  options.any_policy = true;
  options.repair = o.repair;
  auto context = open(globals, options, op::Need::mutation, repairs);
  if (o.accept) {
    say_found(globals, op::accept_rollback(context, o.reason));
    repairs.push_back("the rollback anchor now stands at this home's journal");
  }
  for (auto& line : op::repairs_of(context)) repairs.push_back(std::move(line));
  return report(globals, context, repairs);
}

}  // namespace

void add_doctor(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("doctor", "examine home, journal and token; finish or undo what a crash left");
  auto o = std::make_shared<DoctorOptions>();
  sub->add_flag("--repair", o->repair, "finish or undo unfinished work; put back a lost token.object");
  sub->add_flag("--accept-rollback", o->accept, "this older home is the genuine one: move the token's anchor to it");
  sub->add_option("--reason", o->reason, "why, for the journal")->type_name("TEXT");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
