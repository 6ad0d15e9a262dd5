#include "common.hpp"
#include "kmtool/core/count.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/transfer/transfer.hpp"

namespace kmtool::cmd {

namespace {

struct UnwrapOptions {
  transfer::UnwrapRequest request;
  std::string file, signer;
};

int run(Globals& globals, UnwrapOptions& o) {
  auto& request = o.request;
  request.file = o.file;
  if (!o.signer.empty()) request.signer = o.signer;
  if (request.check && (request.activate || !request.as.empty())) throw Error::usage("--check restores nothing; --as and --activate do not go with it");
  const auto options = options_of(globals);
  return op::recorded(options, op::Need::mutation, request.check ? "unwrap --check" : "unwrap", o.file, [&](op::Context& context) {
    const auto done = transfer::unwrap(context, request);
    if (json_wanted(globals)) {
      globals.out.json(Json{{"keys", keys_json(context, done.keys)}, {"checked", done.checked}, {"compared", done.compared}});
    } else if (request.check && !done.checked) {
      globals.out.line("would open " + counted(done.keys.size(), "key") + ", and compare those that are on the token; nothing was unwrapped");
    } else if (done.checked) {
      globals.out.line(std::to_string(done.keys.size()) + (done.keys.size() == 1 ? " key opens" : " keys open") + "; " +
                       std::to_string(done.compared.size()) + " compared with the token's and the same; nothing was kept");
    } else {
      print_keys(globals, context, done.keys);
      if (!request.activate) note(globals, "restored keys only decrypt and verify; --activate restores one for full use while its period lasts");
    }
    say_dry_run(globals);
    return 0;
  });
}

}  // namespace

void add_unwrap(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("unwrap", "restore keys from a bundle into the token");
  auto o = std::make_shared<UnwrapOptions>();
  sub->add_option("file", o->file, "the bundle")->required()->type_name("FILE");
  sub->add_option("names", o->request.names, "only these keys: NAME or NAME@VERSION")->type_name("KEY");
  sub->add_option("--as", o->request.as, "restore under this name")->type_name("NAME");
  sub->add_flag("--activate", o->request.activate, "for full use, while the originator period lasts");
  sub->add_flag("--check", o->request.check, "restore drill: open every record, compare with the token's key, keep nothing");
  sub->add_option("--signer", o->signer, "the public key that must have signed the bundle")->type_name("PEM");
  add_sessions(sub, o->request.sessions);
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
