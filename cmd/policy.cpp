#include "common.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/op/admin.hpp"

namespace kmtool::cmd {

namespace {

/// As policy.json has it.
std::string period_text(std::int64_t seconds) { return seconds == 0 ? "0" : duration_text(seconds); }

Json or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

/// Every field of policy.json under its own name.
void add_fields(Json& json, const policy::Policy& policy) {
  for (const char* name : {"cryptoperiods", "minimum_strength", "destroy_after"}) json[name] = Json::object();
  for (const Role role : all_roles()) {
    const std::string name(to_text(role));
    const auto& period = policy.cryptoperiods.at(role);
    json["cryptoperiods"][name] = {{"originator", duration_text(period.originator)}, {"recipient", period_text(period.recipient)}};
    json["minimum_strength"][name] = policy.minimum_strength.at(role);
    const auto destroyed = policy.destroy_after.find(role);
    if (destroyed != policy.destroy_after.end()) json["destroy_after"][name] = period_text(destroyed->second);
  }
  json["require_hardware"] = policy.require_hardware;
  json["min_validation"] = or_null(policy.min_validation);
  json["min_validation_level"] = policy.min_validation_level;
  json["forbidden_waivers"] = policy.forbidden_waivers;
  json["sessions"] = policy.sessions;
  json["checkpoint_sink"] = or_null(policy.checkpoint_sink);
  json["checkpoint_sink_wait"] = duration_text(policy.checkpoint_sink_wait);
  const auto& keys = policy.api_keys;
  json["api_keys"] = {{"prefix", keys.prefix},
                      {"allow_unrestricted", keys.allow_unrestricted},
                      {"longest_life", period_text(keys.longest_life)},
                      {"overlap", period_text(keys.overlap)},
                      {"snapshot_life", duration_text(keys.snapshot_life)}};
}

void add_rows(Table& table, const policy::Policy& policy) {
  for (const Role role : all_roles()) {
    const auto& period = policy.cryptoperiods.at(role);
    const auto destroyed = policy.destroy_after.find(role);
    std::string text = "protects " + duration_text(period.originator);
    if (period.recipient > 0) text += ", processes " + duration_text(period.recipient) + " longer";
    text += ", at least " + std::to_string(policy.minimum_strength.at(role)) + " bits";
    if (destroyed != policy.destroy_after.end()) {
      text += destroyed->second == 0 ? ", destroyed when it is deactivated"
                                     : ", destroyed " + duration_text(destroyed->second) + " after its deactivation";
    }
    table.row({std::string(to_text(role)), text});
  }
  const std::vector<std::string> forbidden(policy.forbidden_waivers.begin(), policy.forbidden_waivers.end());
  table.row({"hardware", policy.require_hardware ? "required" : "preferred"});
  table.row({"validation", policy.min_validation.empty() ? "reported"
                                                         : "at least " + policy.min_validation + " level " +
                                                               std::to_string(policy.min_validation_level)});
  table.row({"waivers forbidden for", forbidden.empty() ? "none" : join(forbidden, ", ")});
  table.row({"sessions", std::to_string(policy.sessions)});
  const auto wait = ", which may take " + duration_text(policy.checkpoint_sink_wait);
  table.row({"checkpoints are sent to", policy.checkpoint_sink.empty() ? "nowhere" : policy.checkpoint_sink + wait});
  const auto& keys = policy.api_keys;
  table.row({"api keys", "begin with " + keys.prefix + ", " + (keys.allow_unrestricted ? "may be" : "may not be") + " unrestricted, " +
                             (keys.longest_life == 0 ? "need no expiry" : "live " + duration_text(keys.longest_life) + " at most")});
  table.row({"api keys, rotated", keys.overlap == 0 ? "end at once" : "live " + duration_text(keys.overlap) + " more"});
  table.row({"api keys, published", "a snapshot is good for " + duration_text(keys.snapshot_life)});
}

int show(Globals& globals) {
  auto context = op::Context::open(options_of(globals), op::Need::reader);
  const auto& policy = context.home.policy;
  const auto& digest = context.home.policy_digest;
  const bool accepted = op::policy_accepted(context);
  const bool missing = op::policy_missing(context);
  if (json_wanted(globals)) {
    Json json{{"digest", digest}, {"accepted", accepted}, {"missing", missing}};
    add_fields(json, policy);
    globals.out.json(json);
    return 0;
  }
  Table table({{"FIELD"}, {"VALUE"}});
  table.row({"file", context.home.paths.policy().string() + (missing ? " is missing or empty: what follows are the defaults" : "")});
  table.row({"digest", digest + (accepted ? ", accepted" : missing ? ", NOT accepted: kmtool doctor says what to do" : ", NOT accepted: kmtool policy accept")});
  add_rows(table, policy);
  globals.out.table(table, false);
  return 0;
}

int accept(Globals& globals) {
  auto options = options_of(globals);
  options.any_policy = true;
  return op::recorded(options, op::Need::mutation, "policy accept", "", [&](op::Context& context) {
    const auto [changed, untold] = op::accept_policy(context);
    if (json_wanted(globals)) {
      globals.out.json(Json{{"digest", context.home.policy_digest}, {"changed", changed}, {"untold", or_null(untold)}});
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
