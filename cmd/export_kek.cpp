#include "kek.hpp"
#include "kept.hpp"
#include "share.hpp"
#include "kmtool/transfer/kek.hpp"

namespace kmtool::cmd {

namespace {

struct ExportOptions {
  transfer::ExportKekRequest request;
  std::string out;
  QuorumOptions quorum;
};

int run(Globals& globals, ExportOptions& o) {
  auto& request = o.request;
  request.out = o.out;
  ask_fingerprints(globals, request.to);
  return op::recorded(options_of(globals), op::Need::mutation, "export-kek", request.kek, [&](op::Context& context) {
    std::optional<share::Maker> maker;
    if (const auto quorum = quorum_of(o.quorum)) request.layer = maker.emplace(context, *quorum, request.out).layer();
    const auto made = transfer::export_kek(context, request);
    if (maker) maker->keep();
    const auto shares = maker ? maker->shares() : std::vector<share::WrittenShare>{};
    for (const auto& text : maker ? maker->warnings() : std::vector<std::string>{}) warn(globals, text);
    if (json_wanted(globals)) {
      Json json{{"bundle", made.bundle.id}, {"out", made.bundle.path}, {"kek", made.kek.label()}, {"recipients", recipients_json(made.recipients)}, {"waivers", Json::array()}, {"kept", kept_json(globals, made.bundle.path, made.kept)}};
      for (const auto& waiver : made.waivers) json["waivers"].push_back({{"rule", waiver.rule}, {"reason", waiver.reason}});
      if (maker) json["shares"] = shares_json(shares);
      globals.out.json(json);
    } else {
      globals.out.line("exported   " + made.kek.label() + " into " + made.bundle.path);
      print_recipients(globals, made.recipients);
      print_shares(globals, shares);
      for (const auto& waiver : made.waivers) globals.out.line("waived     " + waiver.rule + ": " + waiver.reason);
    }
    say_kept(globals, made.bundle.path, made.kept);
    say_dry_run(globals);
    return 0;
  });
}

}  // namespace

void add_export_kek(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("export-kek", "wrap a KEK for another token: under a parent KEK, or to a public key there");
  auto o = std::make_shared<ExportOptions>();
  sub->add_option("kek", o->request.kek, "the KEK: NAME (the active version) or NAME@VERSION")->required()->type_name("KEK");
  repeatable(sub->add_option("--to-kek", o->request.to.parents, "a parent KEK that both tokens have; may be repeated")->type_name("KEK"));
  add_public_destinations(sub, o->request.to);
  add_quorum(sub, o->quorum);
  sub->add_option("--out", o->out, "the bundle to write")->required()->type_name("FILE");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
