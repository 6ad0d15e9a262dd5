#include "kmtool/keys/state.hpp"

#include "common.hpp"
#include "kmtool/core/count.hpp"
#include "kmtool/domain/name.hpp"

namespace kmtool::cmd {

namespace {

struct StateOptions {
  std::string key, verb, reason;
};

/// Destroying is asked about, with everything that would be lost in sight; before the lock is taken, for a person may think about it. The
/// request is then for this very version as it is now, whatever its name means by the time of the answer.
void confirm_destruction(Globals& globals, keys::StateRequest& request) {
  auto context = op::Context::open(options_of(globals), op::Need::reader);
  const auto version = context.resolve(request.key);
  keys::Confirmed seen{version.id, version.state, keys::losses(context, version)};
  for (const auto& loss : seen.losses) warn(globals, loss);
  const auto what = version.state == State::destroyed ? version.label() + " is destroyed: destroy again what came back of it? it" : "destroy " + version.label() + "? its objects on the token";
  if (!confirm(globals, what + " cannot be brought back")) throw Error(ExitCode::no, "declined", "nothing was destroyed", "");
  request.key = version.label();
  request.confirmed = std::move(seen);
}

void print(Globals& globals, const op::Context& context, const keys::StateResult& result) {
  if (json_wanted(globals)) {
    Json json{{"keys", keys_json(context, {result.version})}, {"affected", Json::array()}};
    if (result.replaced) json["keys"].push_back(keys::to_json(context, *result.replaced));
    for (const auto& copy : result.also) json["keys"].push_back(keys::to_json(context, copy));
    json["same_key"] = Json::array();
    for (const auto& copy : result.others) json["same_key"].push_back(copy.label());
    for (const auto& bundle : result.affected)
      json["affected"].push_back({{"id", bundle.id}, {"path", bundle.path}, {"records", bundle.records}});
    json["exposed"] = result.exposed;
    globals.out.json(json);
    return;
  }
  globals.out.line(result.version.label() + " is " + std::string(to_text(result.version.state)));
  if (result.replaced) globals.out.line(result.replaced->label() + " is " + std::string(to_text(result.replaced->state)));
  for (const auto& copy : result.also) globals.out.line(copy.label() + " is " + std::string(to_text(copy.state)) + ": it is the same key");
  for (const auto& bundle : result.affected)
    globals.out.line("affected: " + bundle.path + " (" + counted(bundle.records, "record") + ")");
  for (const auto& label : result.exposed)
    globals.out.line("exposed: " + label + " was under it and is active: kmtool rotate " + name_in(label));
}

int run(Globals& globals, const StateOptions& o) {
  const auto transition = keys::transition_from(o.verb);
  if (!transition)
    throw Error::usage("unknown change of state " + o.verb, "activate, suspend, resume, deactivate, compromise or destroy");
  keys::StateRequest request{o.key, *transition, o.reason};
  request.tell_loss = [&](const std::string& loss) { warn(globals, loss); };
  if (*transition == keys::Transition::destroy && !globals.yes && !globals.dry_run) confirm_destruction(globals, request);
  return op::recorded(options_of(globals), op::Need::mutation, "state " + o.verb, o.key, [&](op::Context& context) {
    const auto result = keys::change_state(context, request);
    print(globals, context, result);
    for (const auto& copy : result.others) {
      const bool can = transition_allowed(copy.state, result.version.state);
      warn(globals, copy.label() + " is the same key, and stays " + std::string(to_text(copy.state)) + (can ? ": kmtool state " + copy.label() + " " + o.verb + " --reason TEXT" : ""));
    }
    say_dry_run(globals);
    return 0;
  });
}

}  // namespace

void add_state(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("state", "change the state of a key version (SP 800-57)");
  auto o = std::make_shared<StateOptions>();
  sub->add_option("key", o->key, "NAME (the active version) or NAME@VERSION")->required()->type_name("KEY");
  sub->add_option("change", o->verb, "activate, suspend, resume, deactivate, compromise or destroy")
      ->required()
      ->type_name("CHANGE");
  sub->add_option("--reason", o->reason, "why, for the journal")->required()->type_name("TEXT");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
