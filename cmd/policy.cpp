#include "common.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/op/admin.hpp"

namespace kmtool::cmd {

namespace {

int show(Globals& globals) {
  auto context = op::Context::open(options_of(globals), op::Need::reader);
  const auto& policy = context.home.policy;
  const bool accepted = op::policy_accepted(context);
  const bool missing = op::policy_missing(context);
  Json json{{"digest", context.home.policy_digest}, {"accepted", accepted}, {"missing", missing}, {"cryptoperiods", Json::object()}, {"minimum_strength", Json::object()}};
  Table table({{"FIELD"}, {"VALUE"}});
  table.row({"file", context.home.paths.policy().string() + (missing ? " is missing or empty: what follows are the defaults" : "")});
  table.row({"digest", context.home.policy_digest + (accepted ? ", accepted" : missing ? ", NOT accepted: kmtool doctor says what to do" : ", NOT accepted: kmtool policy accept")});
  for (const Role role : all_roles()) {
    const auto& period = policy.cryptoperiods.at(role);
    const std::string name(to_text(role));
    const std::string recipient = period.recipient == 0 ? "0" : duration_text(period.recipient);
    json["cryptoperiods"][name] = {{"originator", duration_text(period.originator)}, {"recipient", recipient}};
    json["minimum_strength"][name] = policy.minimum_strength.at(role);
    table.row({name, "protects " + duration_text(period.originator) + (period.recipient > 0 ? ", processes " + recipient + " longer" : "") + ", at least " +
                         std::to_string(policy.minimum_strength.at(role)) + " bits"});
  }
  const std::vector<std::string> forbidden(policy.forbidden_waivers.begin(), policy.forbidden_waivers.end());
  json["require_hardware"] = policy.require_hardware;
  json["min_validation"] = policy.min_validation.empty() ? Json(nullptr) : Json(policy.min_validation);
  json["min_validation_level"] = policy.min_validation_level;
  json["forbidden_waivers"] = forbidden;
  json["sessions"] = policy.sessions;
  json["checkpoint_sink"] = policy.checkpoint_sink.empty() ? Json(nullptr) : Json(policy.checkpoint_sink);
  json["checkpoint_sink_wait"] = duration_text(policy.checkpoint_sink_wait);
  table.row({"hardware", policy.require_hardware ? "required" : "preferred"});
  table.row({"validation", policy.min_validation.empty() ? "reported" : "at least " + policy.min_validation + " level " + std::to_string(policy.min_validation_level)});
  table.row({"waivers forbidden for", forbidden.empty() ? "none" : join(forbidden, ", ")});
  table.row({"checkpoints are sent to", policy.checkpoint_sink.empty() ? "nowhere" : policy.checkpoint_sink});
  if (json_wanted(globals)) {
    globals.out.json(json);
  } else {
    globals.out.table(table, false);
  }
  return 0;
}

int accept(Globals& globals) {
  auto options = options_of(globals);
  options.any_policy = true;
  return op::recorded(options, op::Need::mutation, "policy accept", "", [&](op::Context& context) {
    const auto [changed, untold] = op::accept_policy(context);
    if (json_wanted(globals)) {
      globals.out.json(Json{{"digest", context.home.policy_digest}, {"changed", changed}});
    } else {
      globals.out.line(changed ? "accepted policy " + context.home.policy_digest : "this policy was already accepted");
    }
    if (!untold.empty()) warn(globals, "the sink that was switched off was not told: " + untold);
    say_dry_run(globals);
    return 0;
  });
}

}  // namespace

void add_policy(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("policy", "show policy.json as it is understood, or accept a changed one");
  sub->require_subcommand(1);
  sub->add_subcommand("show", "show it")->callback([&globals, &action] { action = [&globals] { return show(globals); }; });
  sub->add_subcommand("accept", "record in the journal that this policy is meant")->callback([&globals, &action] {
    action = [&globals] { return accept(globals); };
  });
}

}  // namespace kmtool::cmd
