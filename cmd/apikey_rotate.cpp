#include "apikey.hpp"

namespace kmtool::cmd {

namespace {

struct RotateOptions {
  apikey::RotateRequest request;
  std::string overlap, expires, out;
};

int run(Globals& globals, RotateOptions& o) {
  auto& request = o.request;
  if (!o.overlap.empty()) request.overlap = o.overlap == "0" ? 0 : parse_period(o.overlap, "--overlap");
  if (!o.expires.empty()) request.expires = parse_rfc3339(o.expires) ? parse_time(o.expires, "--expires") : system_clock()() + parse_period(o.expires, "--expires");
  if (!o.out.empty()) request.out = o.out;
  return op::recorded(options_of(globals), op::Need::mutation, "apikey rotate", request.id, [&](op::Context& context) {
    print_issued(globals, context, apikey::rotate(context, request), request.out);
    return 0;
  });
}

}  // namespace

void add_apikey_rotate(CLI::App& apikey, Globals& globals, Action& action) {
  auto* sub = apikey.add_subcommand("rotate", "a new key with the same restrictions; the old one lives on for a while");
  auto o = std::make_shared<RotateOptions>();
  sub->add_option("id", o->request.id, "the key's id")->required()->type_name("ID");
  sub->add_option("--overlap", o->overlap, "how long the old one lives on (default: the policy's, 7d; 0: it ends now)")->type_name("DURATION");
  sub->add_option("--expires", o->expires, "when the new one ends (default: after as long a life as the old one's)")->type_name("90d|TIME");
  sub->add_flag("--keep", o->request.keep, "also keep it, sealed, for apikey exec (one that is kept stays so)");
  sub->add_option("--out", o->out, "write it to a file (0600) instead of standard output")->type_name("FILE");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
