#include "common.hpp"

namespace kmtool::cmd {

namespace {

struct ListOptions {
  std::string role, state, within;
};

int run(Globals& globals, const ListOptions& o) {
  const auto format = chosen_format(globals);
  std::optional<Role> role;
  if (!o.role.empty()) role = parse_role(o.role);
  std::optional<State> state;
  if (!o.state.empty()) {
    state = state_from(o.state);
    if (!state) throw Error::usage("unknown state " + o.state, "states: pre-activation, active, suspended, deactivated, compromised, destroyed");
  }
  std::optional<std::int64_t> within;
  if (!o.within.empty()) within = parse_period(o.within, "--expiring-within");
  const auto context = op::Context::open(options_of(globals), op::Need::reader);
  std::vector<op::VersionRecord> keys;
  for (auto& version : context.versions()) {
    if (role.has_value() && role != version.role) continue;
    if (state && version.state != *state) continue;
    if (within && (!version.expires || version.state != State::active || *version.expires > context.now() + *within)) continue;
    keys.push_back(std::move(version));
  }
  std::sort(keys.begin(), keys.end(), [](const auto& a, const auto& b) { return std::tie(a.name, a.version) < std::tie(b.name, b.version); });
  if (format == "names") {
    std::string last;
    for (const auto& key : keys) {
      if (key.name != last) globals.out.line(key.name);
      last = key.name;
    }
    return 0;
  }
  if (keys.empty() && format == "table") note(globals, "no keys");
  print_keys(globals, context, keys);
  return 0;
}

}  // namespace

void add_list(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("list", "list the keys of the home (the token is not asked)");
  offer_formats(sub, globals, {"table", "json", "names"});
  auto o = std::make_shared<ListOptions>();
  sub->add_option("--role", o->role, "only keys of this role")->type_name("ROLE");
  sub->add_option("--state", o->state, "only versions in this state")->type_name("STATE");
  sub->add_option("--expiring-within", o->within, "only active versions whose period ends within this time")->type_name("DURATION");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
