#include "common.hpp"
#include "kmtool/crypto/public_key.hpp"
#include "kmtool/op/admin.hpp"
#include "kmtool/pkcs11/uri.hpp"

namespace kmtool::cmd {

namespace {

struct InitOptions {
  bool embedded = false, join = false;
  std::string module, module_args, uri, label, serial, validation;
};

op::InitRequest request_of(const InitOptions& o, op::Options& options) {
  op::InitRequest request;
  request.embedded = o.embedded;
  request.join = o.join;
  if (o.embedded && o.join) throw Error::usage("--embedded makes a new token; --join is for one that already has a home");
  if (!o.validation.empty()) request.validation = policy::Validation::parse(o.validation);
  if (o.embedded) {
    if (!o.module.empty() || !o.uri.empty() || !o.label.empty() || !o.serial.empty() || !o.module_args.empty()) {
      throw Error::usage("--embedded makes its own token; --module, --token-uri, --token-label and --token-serial do not go with it");
    }
    return request;
  }
  std::string module = o.module;
  if (!o.uri.empty()) {
    if (!o.label.empty() || !o.serial.empty()) throw Error::usage("--token-uri names the token; leave out --token-label and --token-serial");
    const auto uri = pkcs11::parse_token_uri(o.uri);
    request.token = uri.token;
    if (module.empty()) module = uri.module_path;
    if (options.pin_source.empty() && !uri.pin_source.empty()) options.pin_source = uri.pin_source;
  } else {
    request.token.label = o.label;
    request.token.serial = o.serial;
    if (o.label.empty()) throw Error::usage("which token?", "give --embedded, --token-uri URI, or --token-label L (and --token-serial S)");
  }
  if (module.empty()) throw Error::usage("which PKCS#11 module?", "give --module PATH, or --embedded for a software token inside the home");
  request.module = {std::filesystem::absolute(module).lexically_normal().string(), o.module_args};
  return request;
}

Json token_json(const pkcs11::TokenInfo& token) {
  return {{"label", token.label}, {"serial", token.serial}, {"model", token.model}, {"hardware", token.hardware}};
}

int run(Globals& globals, const InitOptions& o) {
  auto options = options_of(globals);
  const auto request = request_of(o, options);
  if (globals.dry_run) {
    const auto token = op::rehearse_init(options, request);
    if (json_wanted(globals)) {
      globals.out.json(Json{{"home", options.paths.root.string()}, {"home_id", nullptr}, {"embedded", request.embedded}, {"token", token ? token_json(*token) : Json(nullptr)}, {"signers", Json::object()}, {"anchor", nullptr}});
    } else {
      globals.out.line("home     " + options.paths.root.string() + ", " + (request.embedded ? "with a software token inside it" : "on a token of " + request.module.path));
      if (token) globals.out.line("token    " + token->label + " (serial " + token->serial + "), " + (token->hardware ? "hardware" : "software"));
    }
    say_dry_run(globals);
    return 0;
  }
  const auto made = op::init(options, request);
  if (json_wanted(globals)) {
    Json json;
    json["home"] = options.paths.root.string();
    json["home_id"] = made.home_id;
    json["embedded"] = request.embedded;
    json["token"] = token_json(made.token);
    json["signers"] = Json::object();
    for (const auto& signer : made.signers) json["signers"][signer.use] = crypto::PublicKey::from_spki(signer.spki).fingerprint();
    json["anchor"] = made.anchored ? "ok" : "not supported";
    globals.out.json(json);
    return 0;
  }
  globals.out.line("home     " + options.paths.root.string());
  globals.out.line("token    " + made.token.label + " (serial " + made.token.serial + "), " + (made.token.hardware ? "hardware" : "software"));
  for (const auto& signer : made.signers) {
    globals.out.line("signer   " + signer.use + ": " + std::string(to_text(signer.type)) + " " + crypto::PublicKey::from_spki(signer.spki).fingerprint());
  }
  if (request.embedded) {
    warn(globals, "the token is software and lies in the home with its PIN: whoever copies the home has the keys; use a hardware module for production");
  } else if (!made.token.hardware) {
    warn(globals, "this token calls itself software; hardware is preferred (G-HW)");
  }
  if (!made.anchored) warn(globals, "this token cannot keep a rollback anchor: a restored old copy of the home would not be noticed");
  return 0;
}

}  // namespace

void add_init(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("init", "make a home: its token, signers, policy and journal");
  auto o = std::make_shared<InitOptions>();
  sub->add_flag("--embedded", o->embedded, "make a SoftHSM token inside the home (software: to learn and to test)");
  sub->add_option("--module", o->module, "the PKCS#11 module of an HSM")->type_name("FILE");
  sub->add_option("--module-args", o->module_args, "initialisation arguments that the module wants (NSS)")->type_name("ARGS");
  sub->add_option("--token-uri", o->uri, "the token, as an RFC 7512 URI")->type_name("URI");
  sub->add_option("--token-label", o->label, "the token's label")->type_name("LABEL");
  sub->add_option("--token-serial", o->serial, "the token's serial number")->type_name("SERIAL");
  sub->add_option("--validation", o->validation, "what is known of the module's certificate, e.g. 'FIPS 140-3:3:CMVP-4567'")->type_name("STANDARD:LEVEL:CERTIFICATE");
  sub->add_flag("--join", o->join, "put another home on a token that already has one");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
