#include "apikey.hpp"

namespace kmtool::cmd {

namespace {

struct RevokeOptions {
  std::string id, reason;
};

int run(Globals& globals, const RevokeOptions& o) {
  return op::recorded(options_of(globals), op::Need::mutation, "apikey revoke", o.id, [&](op::Context& context) {
    const auto record = apikey::revoke(context, o.id, o.reason);
    if (json_wanted(globals)) {
      globals.out.json(apikey_json(record, context.now()));
    } else {
      globals.out.line("revoked " + record.entry.id + " of " + record.entry.app + " (" + record.entry.environment + ")");
      note(globals, "gateways deny it once they have a new snapshot: kmtool apikey publish");
    }
    say_dry_run(globals);
    return 0;
  });
}

}  // namespace

void add_apikey_revoke(CLI::App& apikey, Globals& globals, Action& action) {
  auto* sub = apikey.add_subcommand("revoke", "end a key for ever");
  auto o = std::make_shared<RevokeOptions>();
  sub->add_option("id", o->id, "the key's id")->required()->type_name("ID");
  sub->add_option("--reason", o->reason, "why; it stands in the journal")->required()->type_name("TEXT");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
