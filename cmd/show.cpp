#include "common.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/words.hpp"
#include "kmtool/crypto/public_key.hpp"
#include "kmtool/keys/adopt.hpp"
#include "kmtool/transfer/kek.hpp"

namespace kmtool::cmd {

namespace {

struct ShowOptions {
  std::string key;
  bool uri = false, pem = false, request = false;
};

void print_details(Globals& globals, const op::Context& context, const op::VersionRecord& version) {
  const auto key = context.find_key(version.name);
  Table table({{"FIELD"}, {"VALUE"}});
  table.row({"key", version.label()});
  table.row({"role", std::string(to_text(version.role))});
  table.row({"type", std::string(to_text(version.type)) + " (" + std::to_string(strength_of(version.type)) + " bits of strength)"});
  table.row({"state", std::string(to_text(version.state))});
  table.row({"created", rfc3339(version.created)});
  if (version.activate_at) table.row({"activates", rfc3339(*version.activate_at)});
  if (version.activated) table.row({"activated", rfc3339(*version.activated)});
  if (version.expires) table.row({"originator period ends", rfc3339(*version.expires)});
  table.row({"exportable", version.extractable ? "yes, wrapped under a KEK" : "no"});
  table.row({"backed up", version.backed_up ? "yes" : "not at birth"});
  table.row({"origin", version.origin});
  if (version.changed) table.row({"last change", rfc3339(*version.changed) + (version.reason.empty() ? "" : ": " + version.reason)});
  if (version.deactivate_at) table.row({"overlap ends", rfc3339(*version.deactivate_at)});
  for (const auto& flaw : keys::readable_flaws(version)) table.row({"flaw", flaw});
  table.row({"token serial", version.token_serial});
  table.row({"id", hex(version.id)});
  if (key && !key->owner.empty()) table.row({"owner", key->owner});
  if (key && !key->application.empty()) table.row({"application", key->application});
  if (version.public_spki) {
    const auto fingerprint = crypto::PublicKey::from_spki(*version.public_spki).fingerprint();
    table.row({"public key", "sha256 " + fingerprint});
    if (version.role == Role::transport) table.row({"in words", words_of(from_hex(fingerprint).value())});
  }
  for (const auto& waiver : version.waivers) table.row({"waiver", waiver.rule + ": " + waiver.reason});
  table.row({"uri", keys::uri_of(context, version)});
  globals.out.table(table, false);
}

/// The one form that needs the token: the site's signature.
int show_request(Globals& globals, const ShowOptions& o) {
  return op::recorded(options_of(globals), op::Need::mutation, "show --request", o.key, [&](op::Context& context) {
    const auto text = transfer::make_request(context, o.key);
    if (json_wanted(globals)) {
      globals.out.json(Json{{"key", context.resolve(o.key).label()}, {"request", text}});
    } else {
      globals.out.raw(view(text));
    }
    say_dry_run(globals);
    return 0;
  });
}

int run(Globals& globals, const ShowOptions& o) {
  if (o.request) return show_request(globals, o);
  const auto context = op::Context::open(options_of(globals), op::Need::reader);
  const auto version = context.resolve(o.key);
  if (o.pem && !version.public_spki) {
    throw Error::usage(version.label() + " is a secret key; it has no public half", "sign and transport keys have one");
  }
  if (json_wanted(globals)) {
    auto json = keys::to_json(context, version);
    json["strength"] = strength_of(version.type);
    const auto key = context.find_key(version.name);
    json["owner"] = key ? key->owner : "";
    json["application"] = key ? key->application : "";
    json["waivers"] = Json::array();
    for (const auto& waiver : version.waivers) json["waivers"].push_back({{"rule", waiver.rule}, {"reason", waiver.reason}});
    json["flaws"] = keys::readable_flaws(version);
    json["reason"] = version.reason;
    json["changed"] = version.changed ? Json(rfc3339(*version.changed)) : Json(nullptr);
    json["deactivate_at"] = version.deactivate_at ? Json(rfc3339(*version.deactivate_at)) : Json(nullptr);
    if (version.public_spki) json["public"] = crypto::PublicKey::from_spki(*version.public_spki).pem();
    globals.out.json(Json{{"keys", Json::array({json})}});
  } else if (o.uri) {
    globals.out.line(keys::uri_of(context, version));
  } else if (o.pem) {
    globals.out.raw(view(crypto::PublicKey::from_spki(*version.public_spki).pem()));
  } else {
    print_details(globals, context, version);
  }
  return 0;
}

}  // namespace

void add_show(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("show", "show one key version (the token is not asked)");
  auto o = std::make_shared<ShowOptions>();
  sub->add_option("key", o->key, "NAME (the active version) or NAME@VERSION")->required()->type_name("KEY");
  auto* uri = sub->add_flag("--uri", o->uri, "only its PKCS#11 URI (RFC 7512), for applications");
  auto* pem = sub->add_flag("--public", o->pem, "only its public key, PEM")->excludes(uri);
  sub->add_flag("--request", o->request, "of a transport key: a signed request, from which another site exports a KEK to it (needs the token)")
      ->excludes(uri)
      ->excludes(pem);
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
