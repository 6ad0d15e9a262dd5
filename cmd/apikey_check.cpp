#include <chrono>
#include <cstdlib>
#include <cstring>

#include "apikey.hpp"
#include "kmtool/apikey/snapshot.hpp"
#include "kmtool/apikey/usage.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {

namespace {

constexpr std::size_t longest_input = 4096;

struct CheckOptions {
  bool key_stdin = false;
  std::string key_env, ip, referrer, android_package, android_cert, ios_bundle, snapshot, signer;
  std::vector<std::string> scopes;
};

SecretBytes key_of(const CheckOptions& o) {
  if (o.key_stdin == !o.key_env.empty()) throw Error::usage("where is the key?", "give it with --key-stdin or --key-env VARIABLE; never on the command line");
  if (o.key_stdin) return read_secret_input(longest_input);
  const char* value = std::getenv(o.key_env.c_str());
  if (value == nullptr) {
    const bool key = apikey::parse_form(o.key_env).form == apikey::KeyParts::Form::ok;
    throw key ? Error::usage("--key-env was given a key, not a variable's name", "it is in this shell's history now: rotate it; --key-stdin reads a key")
              : Error::missing("the environment has no " + printable(o.key_env));
  }
  return SecretBytes(view(value));
}

apikey::Request request_of(const CheckOptions& o) {
  using std::chrono::system_clock;
  apikey::Request request;
  if (!o.ip.empty()) request.set_client(o.ip);
  request.referrer = o.referrer;
  request.android_package = o.android_package;
  request.android_certificate = o.android_cert;
  request.ios_bundle = o.ios_bundle;
  for (const auto& scope : o.scopes) request.scopes.push_back(scope);
  request.time = kmtool::system_clock()();
  request.microseconds = std::chrono::duration_cast<std::chrono::microseconds>(system_clock::now().time_since_epoch()).count();
  return request;
}

void require_consistent(const CheckOptions& o) {
  if (o.snapshot.empty() && !o.signer.empty()) throw Error::usage("--signer says whose snapshot it must be, and there is none", "name it with --snapshot, or leave --signer out: this home decides then");
}

/// A snapshot has no counts: the one rule that cannot be held here is named. serve holds it.
Json unchecked(const Globals& globals, const apikey::Verdict& verdict) {
  if (!verdict.allowed || !verdict.key->restrictions->rate) return Json::array();
  warn(globals, "the rate limit of " + verdict.key->restrictions->rate->text() + " was not looked at: a snapshot has no counts; kmtool apikey serve holds it");
  return Json::array({"rate"});
}

/// The snapshot's keys, where one was named. It was signed when it was made: that time has come, whatever the clock says.
apikey::Snapshot open_snapshot(const CheckOptions& o, apikey::Request& request) {
  if (o.signer.empty()) throw Error::usage("--snapshot needs --signer", "name the document signer of the home that published it: signers/document.pem");
  auto snapshot = apikey::read_snapshot_file(o.snapshot, {crypto::PublicKey::read_pem(o.signer)});
  request.latest = snapshot.header.created;
  apikey::require_usable(snapshot.header, request.ends_by(), "", 0);
  return snapshot;
}

/// The home's keys: its journal says when the newest entry was made.
op::Context open_home(Globals& globals, apikey::Request& request) {
  auto context = op::Context::open(options_of(globals), op::Need::reader);
  op::prove_reader(context);
  request.latest = op::recorded_at(context);
  return context;
}

void warn_of_clock(Globals& globals, const CheckOptions& o, const apikey::Request& request) {
  if (request.clock_behind() == 0) return;
  warn(globals, "the clock says " + rfc3339(request.time) + ", but " + (o.snapshot.empty() ? "the journal's newest entry" : "the snapshot") + " was made at " +
                    rfc3339(request.latest) + ": whether keys have ended is judged by that; set the clock right, or where that one was wrong " +
                    (o.snapshot.empty() ? "record something under the right clock (kmtool apikey publish)" : "publish a new snapshot"));
}

Json verdict_json(const apikey::Verdict& verdict) {
  Json json{{"allowed", verdict.allowed},
            {"id", verdict.key != nullptr ? Json(verdict.key->id) : Json(nullptr)},
            {"app", verdict.key != nullptr ? Json(verdict.key->app) : Json(nullptr)},
            {"environment", verdict.key != nullptr ? Json(verdict.key->environment) : Json(nullptr)},
            {"reason", verdict.reason()},
            {"rule", apikey::to_text(verdict.rule)}};
  if (verdict.rule == apikey::Rule::rate) json["retry_after"] = verdict.retry_after;
  return json;
}

std::string verdict_line(const apikey::Verdict& verdict) {
  if (verdict.allowed) return "allowed: " + verdict.key->id + " of " + verdict.key->app + " (" + verdict.key->environment + ")";
  return "denied by " + std::string(apikey::to_text(verdict.rule)) + ": " + verdict.reason();
}

int check(Globals& globals, const CheckOptions& o) {
  require_consistent(o);
  const auto key = key_of(o);
  const std::string_view text(reinterpret_cast<const char*>(key.reveal().data()), key.size());
  auto request = request_of(o);
  apikey::KeyTable table;
  apikey::Verdict verdict;
  if (!o.snapshot.empty()) {
    table = open_snapshot(o, request).table;
    verdict = apikey::decide(table, text, request, nullptr);
  } else {
    auto context = open_home(globals, request);
    verdict = globals.dry_run ? apikey::explain_here(context, text, request, table).verdict : apikey::check(context, text, request, table);
  }
  warn_of_clock(globals, o, request);
  auto json = verdict_json(verdict);
  if (!o.snapshot.empty()) json["unchecked"] = unchecked(globals, verdict);
  if (json_wanted(globals)) {
    globals.out.json(json);
  } else {
    globals.out.line(verdict_line(verdict));
  }
  return verdict.allowed ? 0 : 1;
}

int explain(Globals& globals, const CheckOptions& o) {
  require_consistent(o);
  const auto key = key_of(o);
  const std::string_view text(reinterpret_cast<const char*>(key.reveal().data()), key.size());
  auto request = request_of(o);
  apikey::KeyTable table;
  apikey::Explanation explanation;
  if (!o.snapshot.empty()) {
    table = open_snapshot(o, request).table;
    explanation = apikey::explain(table, text, request, nullptr);
  } else {
    auto context = open_home(globals, request);
    explanation = apikey::explain_here(context, text, request, table);
  }
  warn_of_clock(globals, o, request);
  auto json = verdict_json(explanation.verdict);
  json["rules"] = Json::array();
  Table rows({{"RULE"}, {"VERDICT"}, {"PROVEN BY"}, {"WHY", false, true}});
  for (const auto& rule : explanation.rules) {
    json["rules"].push_back({{"rule", apikey::to_text(rule.rule)}, {"verdict", apikey::to_text(rule.says)}, {"advisory", rule.advisory}, {"detail", rule.detail}});
    rows.row({std::string(apikey::to_text(rule.rule)), std::string(apikey::to_text(rule.says)), rule.advisory ? "the client's word (advisory)" : "this host", rule.detail});
  }
  if (json_wanted(globals)) {
    globals.out.json(json);
  } else {
    globals.out.table(rows);
    globals.out.line(verdict_line(explanation.verdict));
  }
  return explanation.verdict.allowed ? 0 : 1;
}

void add_options(CLI::App* sub, const std::shared_ptr<CheckOptions>& o) {
  sub->add_flag("--key-stdin", o->key_stdin, "the key is on standard input");
  sub->add_option("--key-env", o->key_env, "the key is in this environment variable")->type_name("VARIABLE");
  sub->add_option("--ip", o->ip, "the client's address")->type_name("ADDRESS");
  sub->add_option("--referrer", o->referrer, "the Referer that the client sent")->type_name("URL");
  sub->add_option("--android-package", o->android_package, "the X-Android-Package that it sent")->type_name("PACKAGE");
  sub->add_option("--android-cert", o->android_cert, "the X-Android-Cert that it sent (SHA-256)")->type_name("DIGEST");
  sub->add_option("--ios-bundle", o->ios_bundle, "the X-Ios-Bundle-Identifier that it sent")->type_name("BUNDLE-ID");
  repeatable(sub->add_option("--scope", o->scopes, "what the key is needed for")->type_name("SCOPE"));
  sub->add_option("--snapshot", o->snapshot, "decide by a published snapshot: needs no home; nothing is counted, no rate limit looked at")->type_name("FILE");
  sub->add_option("--signer", o->signer, "with --snapshot: who must have signed it")->type_name("PEM");
}

}  // namespace

void add_apikey_check(CLI::App& apikey, Globals& globals, Action& action) {
  auto* sub = apikey.add_subcommand("check", "may this request use this key? exit 0 yes, 1 no; needs no token");
  auto o = std::make_shared<CheckOptions>();
  add_options(sub, o);
  sub->callback([&globals, &action, o] { action = [&globals, o] { return check(globals, *o); }; });
}

void add_apikey_explain(CLI::App& apikey, Globals& globals, Action& action) {
  auto* sub = apikey.add_subcommand("explain", "what every rule says of a request; nothing is counted");
  auto o = std::make_shared<CheckOptions>();
  add_options(sub, o);
  sub->callback([&globals, &action, o] { action = [&globals, o] { return explain(globals, *o); }; });
}

}  // namespace kmtool::cmd
