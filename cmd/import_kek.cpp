#include "common.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/share/quorum.hpp"
#include "kmtool/transfer/kek.hpp"

namespace kmtool::cmd {

namespace {

struct ImportOptions {
  transfer::ImportKekRequest request;
  std::string file, signer;
  std::vector<std::string> shares;
};

void print(Globals& globals, const op::Context& context, const ImportOptions& o, const transfer::ImportKekResult& done) {
  if (o.request.check && !done.checked) {
    globals.out.line("would open " + done.kek.label() + ", with " + done.opened_by + ", and hold its two keys against each other; nothing was unwrapped");
  } else if (done.checked) {
    globals.out.line("opens      " + done.kek.label() + ", with " + done.opened_by + "; its two keys belong together; nothing was kept");
    globals.out.line(done.compared ? "compared   with the kek on this token: the same" : "compared   with nothing: this kek is not on this token");
  } else {
    print_keys(globals, context, {done.kek});
    globals.out.line("opened by  " + done.opened_by);
  }
  globals.out.line("signed by  " + printable(done.signer));
  for (const auto& waiver : done.waived) globals.out.line("waived     at the exporting site: " + waiver.rule + ": " + waiver.reason);
  for (const auto& violation : done.reported) warn(globals, violation.rule + ": " + violation.what);
  if (o.request.check) return;
  if (done.kek.state != State::active) note(globals, "the kek only unwraps here; --activate imports one for full use while its period lasts");
  if (!done.pinned) note(globals, "to restore bundles under it without --signer each time: kmtool signer trust " + printable(o.signer) + " --name N");
}

int run(Globals& globals, ImportOptions& o) {
  auto& request = o.request;
  request.file = o.file;
  if (!o.signer.empty()) request.signer = o.signer;
  if (request.check && (request.activate || !request.as.empty())) throw Error::usage("--check imports nothing; --as and --activate do not go with it");
  return op::recorded(options_of(globals), op::Need::mutation, request.check ? "import-kek --check" : "import-kek", o.file, [&](op::Context& context) {
    const auto opener = share::opener(context, {o.shares.begin(), o.shares.end()});
    request.before_open = opener.before_open;
    request.take_off = opener.take_off;
    const auto done = transfer::import_kek(context, request);
    if (json_wanted(globals)) {
      Json json{{"keys", keys_json(context, {done.kek})}, {"opened_by", done.opened_by}, {"signer", done.signer}, {"checked", done.checked}, {"compared", done.compared}, {"reported", Json::array()}};
      for (const auto& violation : done.reported) json["reported"].push_back({{"rule", violation.rule}, {"what", violation.what}});
      json["waived"] = Json::array();
      for (const auto& waiver : done.waived) json["waived"].push_back({{"rule", waiver.rule}, {"reason", waiver.reason}});
      globals.out.json(json);
    } else {
      print(globals, context, o, done);
    }
    say_dry_run(globals);
    return 0;
  });
}

}  // namespace

void add_import_kek(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("import-kek", "bring a KEK in that another token exported");
  auto o = std::make_shared<ImportOptions>();
  sub->add_option("file", o->file, "the bundle")->required()->type_name("FILE");
  sub->add_option("--signer", o->signer, "the exporting site's public key, which must have signed it (else a pinned one)")->type_name("PEM");
  sub->add_option("--using", o->request.using_key, "the transport key or parent KEK that shall open it (the first that can)")->type_name("KEY");
  repeatable(sub->add_option("--share", o->shares, "a custodian's share; as often as the quorum needs")->type_name("FILE"));
  sub->add_option("--as", o->request.as, "import under this name")->type_name("NAME");
  sub->add_flag("--activate", o->request.activate, "for full use, while the originator period lasts");
  sub->add_flag("--check", o->request.check, "drill: open it, prove it, compare it with the KEK on this token, keep nothing");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
