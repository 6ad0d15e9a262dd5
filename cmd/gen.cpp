#include "common.hpp"
#include "gen_spec.hpp"
#include "kek.hpp"
#include "kept.hpp"
#include "share.hpp"

namespace kmtool::cmd {

namespace {

struct GenOptions {
  std::string spec, name, role, type, backup, cryptoperiod, owner, application, activate_at;
  std::vector<std::string> keks;
  op::KekDestinations to;
  QuorumOptions quorum;
  bool exportable = false;
  int count = 1;
};

keys::GenRequest request_of(const GenOptions& o) {
  keys::GenRequest request;
  request.name = o.name;
  request.role = parse_role(o.role);
  std::optional<KeyType> type;
  if (!o.type.empty()) {
    type = key_type_from(o.type);
    if (!type) {
      std::string known;
      for (const KeyType each : types_of(request.role)) known += (known.empty() ? "" : ", ") + std::string(to_text(each));
      throw Error::usage("unknown key type " + o.type, "a " + o.role + " key can be " + known);
    }
  }
  request.type = require_type(request.role, type);
  request.exportable = o.exportable;
  if (!o.backup.empty()) request.backup = o.backup;
  request.keks = o.keks;
  request.to = o.to;
  const bool public_keys = !o.to.public_keys.empty() || !o.to.fingerprints.empty() || !o.to.algorithm.empty();
  if (public_keys && request.role != Role::kek) {
    throw Error::usage("only a kek goes to a public key", "back a " + o.role + " key up under a kek: --backup FILE --kek KEK");
  }
  const bool to_somebody = !o.keks.empty() || public_keys;
  if (o.backup.empty() == to_somebody) {
    throw Error::usage(request.role == Role::kek ? "--backup FILE goes with --kek PARENT, or with --to-public-key PEM --fingerprint HEX"
                                                 : "--backup FILE and --kek KEK go together");
  }
  if (o.exportable && request.backup) throw Error::usage("--exportable and --backup exclude each other", "a key backed up at birth need not be exportable");
  if (!o.cryptoperiod.empty()) request.cryptoperiod = parse_period(o.cryptoperiod, "--cryptoperiod");
  request.owner = o.owner;
  request.application = o.application;
  if (!o.activate_at.empty()) request.activate_at = parse_time(o.activate_at, "--activate-at");
  if (o.count < 1 || o.count > 100000) throw Error::usage("--count must be from 1 to 100000");
  request.count = o.count;
  return request;
}

int run(Globals& globals, const GenOptions& o) {
  if (!o.spec.empty()) return gen_from_spec(globals, o.spec);
  if (o.name.empty()) throw Error::usage("which key?", "kmtool gen NAME --role ROLE, or --spec FILE");
  if (o.role.empty()) throw Error::usage("what is the key for?", "--role is one of kek, data, mac, sign, transport");
  auto request = request_of(o);
  ask_fingerprints(globals, request.to);
  const auto options = options_of(globals);
  return op::recorded(options, op::Need::mutation, "gen", request.name, [&](op::Context& context) {
    std::optional<share::Maker> maker;
    if (const auto quorum = quorum_of(o.quorum)) {
      if (!request.backup || request.role != Role::kek)
        throw Error::usage("--quorum goes with the --backup of a kek", "keys are backed up under a kek, which has the quorum");
      request.layer = maker.emplace(context, *quorum, *request.backup).layer();
    }
    const auto made = keys::generate(context, request);
    if (maker) maker->keep();
    const auto shares = maker ? maker->shares() : std::vector<share::WrittenShare>{};
    for (const auto& text : maker ? maker->warnings() : std::vector<std::string>{}) warn(globals, text);
    if (json_wanted(globals)) {
      Json json{{"keys", keys_json(context, made.keys)}};
      if (made.bundle)
        json["backup"] = {{"bundle", made.bundle->id},
                          {"out", made.bundle->path},
                          {"records", made.bundle->records},
                          {"kept", kept_json(globals, made.bundle->path, made.kept)}};
      if (made.bundle && !made.recipients.empty()) json["backup"]["recipients"] = recipients_json(made.recipients);
      if (maker) json["backup"]["shares"] = shares_json(shares);
      globals.out.json(json);
    } else {
      print_keys(globals, context, made.keys);
      if (made.bundle) globals.out.line("backup     " + made.bundle->path);
      print_recipients(globals, made.recipients);
      print_shares(globals, shares);
    }
    if (made.bundle) say_kept(globals, made.bundle->path, made.kept);
    say_dry_run(globals);
    return 0;
  });
}

}  // namespace

void add_gen(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("gen", "generate keys inside the token");
  auto o = std::make_shared<GenOptions>();
  auto* name = sub->add_option("name", o->name, "the new key's name")->type_name("NAME");
  auto* role = sub->add_option("--role", o->role, "what the key is for: kek, data, mac, sign, transport")->type_name("ROLE");
  auto* spec = sub->add_option("--spec", o->spec, "make the keys of this list that do not exist yet (kmtool-spec(5))")->type_name("FILE")->excludes(name)->excludes(role);
  sub->add_option("--type", o->type, "aes-256, hmac-sha256, ec-p256, rsa-4096 … (the role's default)")->type_name("TYPE");
  sub->add_flag("--exportable", o->exportable, "the key may leave the token, wrapped under a KEK");
  sub->add_option("--backup", o->backup, "back the key up at birth into this bundle; it can never leave the token again")->type_name("FILE");
  repeatable(sub->add_option("--kek", o->keks, "the KEK of the backup; may be repeated")->type_name("KEK"));
  add_public_destinations(sub, o->to);
  add_quorum(sub, o->quorum);
  sub->add_option("--cryptoperiod", o->cryptoperiod, "originator usage period, e.g. 90d (the policy's)")->type_name("DURATION");
  sub->add_option("--owner", o->owner, "who answers for the key")->type_name("TEXT");
  sub->add_option("--application", o->application, "what uses the key")->type_name("TEXT");
  sub->add_option("--activate-at", o->activate_at, "becomes active then; until then pre-activation")->type_name("TIME");
  sub->add_option("--count", o->count, "as many keys: NAME-0001 …")->type_name("N");
  for (auto* option : sub->get_options()) {
    if (option->get_group() == "Options" && option != name && option != role && option != spec && option != sub->get_help_ptr()) spec->excludes(option);
  }
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
