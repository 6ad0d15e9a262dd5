#include "common.hpp"
#include "kept.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/transfer/transfer.hpp"

namespace kmtool::cmd {

namespace {

struct WrapOptions {
  transfer::WrapRequest request;
  std::string role, out;
};

int run(Globals& globals, WrapOptions& o) {
  auto& request = o.request;
  request.out = o.out;
  if (request.all != request.keys.empty()) {
    throw Error::usage(request.all ? "name keys or say --all, not both" : "which keys?", "kmtool wrap NAME… or --all");
  }
  if (!o.role.empty()) {
    if (!request.all) throw Error::usage("--role goes with --all");
    request.role = parse_role(o.role);
  }
  auto options = options_of(globals);
  options.many_objects = request.all || request.keys.size() > 8;
  options.sessions = request.sessions;
  const auto target = request.all ? std::string("--all") : join(request.keys, " ");
  return op::recorded(options, op::Need::mutation, "wrap", target, [&](op::Context& context) {
    const auto made = transfer::wrap(context, request);
    for (const auto& label : made.exposed) warn(globals, label + " was under a compromised kek: the bundle calls it compromised; kmtool rotate " + name_in(label));
    if (json_wanted(globals)) {
      Json json{{"bundle", made.bundle.id}, {"out", made.bundle.path}, {"records", made.bundle.records}, {"recipients", Json::array()}};
      for (const auto& recipient : made.recipients) {
        json["recipients"].push_back({{"kek", recipient.kek}, {"id", hex(recipient.id)}, {"algorithm", to_text(recipient.algorithm)}, {"strength", recipient.strength}});
      }
      json["skipped"] = made.skipped;
      json["kept"] = kept_json(globals, made.bundle.path, made.kept);
      globals.out.json(json);
    } else {
      globals.out.line(std::to_string(made.bundle.records) + (made.bundle.records == 1 ? " key" : " keys") + " wrapped under " +
                       join(made.bundle.keks, ", ") + " into " + made.bundle.path);
      for (const auto& skipped : made.skipped) warn(globals, "left out " + skipped);
    }
    say_kept(globals, made.bundle.path, made.kept);
    say_dry_run(globals);
    return 0;
  });
}

}  // namespace

void add_wrap(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("wrap", "wrap keys under a KEK into a sealed and signed bundle");
  auto o = std::make_shared<WrapOptions>();
  sub->add_option("keys", o->request.keys, "NAME or NAME@VERSION, one or more")->type_name("KEY");
  sub->add_flag("--all", o->request.all, "every exportable key");
  sub->add_option("--role", o->role, "with --all: only keys of this role")->type_name("ROLE");
  repeatable(sub->add_option("--kek", o->request.keks, "the KEK; may be repeated: each can open the bundle")->required()->type_name("KEK"));
  sub->add_option("--out", o->out, "the bundle to write")->required()->type_name("FILE");
  add_sessions(sub, o->request.sessions);
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
