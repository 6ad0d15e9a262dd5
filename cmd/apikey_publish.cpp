#include "apikey.hpp"

namespace kmtool::cmd {

namespace {

struct PublishOptions {
  std::string out, not_after;
};

int run(Globals& globals, const PublishOptions& o) {
  apikey::PublishRequest request;
  request.out = o.out;
  if (!o.not_after.empty()) request.not_after = parse_rfc3339(o.not_after) ? parse_time(o.not_after, "--not-after") : system_clock()() + parse_period(o.not_after, "--not-after");
  return op::recorded(options_of(globals), op::Need::mutation, "apikey publish", o.out, [&](op::Context& context) {
    const auto published = apikey::publish(context, request);
    if (published.warning) warn(globals, *published.warning);
    if (json_wanted(globals)) {
      globals.out.json(Json{{"out", published.path}, {"sequence", published.sequence}, {"keys", published.keys}, {"not_after", rfc3339(published.not_after)}, {"digest", published.digest}});
    } else {
      globals.out.line("snapshot " + std::to_string(published.sequence) + " of " + std::to_string(published.keys) + (published.keys == 1 ? " key" : " keys") + ", good until " +
                       rfc3339(published.not_after) + ": " + published.path);
    }
    say_dry_run(globals);
    return 0;
  });
}

}  // namespace

void add_apikey_publish(CLI::App& apikey, Globals& globals, Action& action) {
  auto* sub = apikey.add_subcommand("publish", "the registry as a signed file, for gateways that have neither token nor home");
  auto o = std::make_shared<PublishOptions>();
  sub->add_option("--out", o->out, "the snapshot; an older one of this home is replaced")->required()->type_name("FILE");
  sub->add_option("--not-after", o->not_after, "from when on it means deny (default: the policy's, 2d)")->type_name("2d|TIME");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
