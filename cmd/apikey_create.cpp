#include "apikey.hpp"

namespace kmtool::cmd {

namespace {

struct CreateOptions {
  apikey::CreateRequest request;
  std::vector<std::string> ip, referrer, android, ios, scope, window;
  std::string rate, expires, not_before, out;
};

/// A duration from now, or a time.
std::optional<UnixTime> moment(const std::string& text, const std::string& option, UnixTime now) {
  if (text.empty()) return std::nullopt;
  if (const auto time = parse_rfc3339(text)) return parse_time(text, option);
  return now + parse_period(text, option);
}

void fill(CreateOptions& o) {
  auto& restrictions = o.request.restrictions;
  for (const auto& text : o.ip) restrictions.ip.push_back(apikey::Network::parse(text));
  for (const auto& text : o.referrer) restrictions.referrer.push_back(apikey::ReferrerPattern::parse(text));
  for (const auto& text : o.android) restrictions.android.push_back(apikey::AndroidApp::parse(text));
  for (const auto& text : o.ios) {
    if (!apikey::is_ios_bundle(text)) throw Error::usage("--ios: not a bundle id such as com.example.App", "letters, digits and hyphens between dots; no wildcard");
    restrictions.ios.push_back(text);
  }
  for (const auto& text : o.scope) {
    if (!apikey::is_scope(text)) throw Error::usage("--scope: not the name of a scope", "at most 64 of letters, digits and ._:/- , a letter or digit first");
    restrictions.scopes.push_back(text);
  }
  for (const auto& text : o.window) restrictions.windows.push_back(apikey::TimeWindow::parse(text));
  if (!o.rate.empty()) restrictions.rate = apikey::Rate::parse(o.rate);
  const UnixTime now = system_clock()();
  o.request.expires = moment(o.expires, "--expires", now);
  o.request.not_before = moment(o.not_before, "--not-before", now);
  if (!o.out.empty()) o.request.out = o.out;
}

int run(Globals& globals, CreateOptions& o) {
  fill(o);
  const auto target = o.request.app + "/" + o.request.environment;
  return op::recorded(options_of(globals), op::Need::mutation, "apikey create", target, [&](op::Context& context) {
    print_issued(globals, context, apikey::create(context, o.request), o.request.out);
    return 0;
  });
}

}  // namespace

void add_apikey_create(CLI::App& apikey, Globals& globals, Action& action) {
  auto* sub = apikey.add_subcommand("create", "issue a key for an application; it is shown once");
  auto o = std::make_shared<CreateOptions>();
  sub->add_option("--app", o->request.app, "the application; it has one live key in each environment")->required()->type_name("APP");
  sub->add_option("--environment", o->request.environment, "such as production (default)")->type_name("NAME");
  repeatable(sub->add_option("--ip", o->ip, "addresses it may be used from")->type_name("CIDR"));
  repeatable(sub->add_option("--referrer", o->referrer, "pages it may be used from: [http[s]://]HOST[:PORT][/PATH]")->type_name("PATTERN"));
  repeatable(sub->add_option("--android", o->android, "Android apps")->type_name("PACKAGE=CERT-SHA256"));
  repeatable(sub->add_option("--ios", o->ios, "iOS apps")->type_name("BUNDLE-ID"));
  repeatable(sub->add_option("--scope", o->scope, "what it may be used for")->type_name("SCOPE"));
  repeatable(sub->add_option("--window", o->window, "when it may be used: [DAYS] HH:MM-HH:MM[+HH:MM]")->type_name("WINDOW"));
  sub->add_option("--rate", o->rate, "how often: 60/min, 600/min:50")->type_name("RATE");
  sub->add_option("--expires", o->expires, "when it ends: a duration from now, or a time")->type_name("90d|TIME");
  sub->add_option("--not-before", o->not_before, "when it begins: a duration from now, or a time")->type_name("1d|TIME");
  sub->add_flag("--unrestricted", o->request.restrictions.unrestricted, "it may be used from every address (audit finds such keys)");
  sub->add_flag("--keep", o->request.keep, "also keep it, sealed, for apikey exec --set VAR=@ENVIRONMENT");
  sub->add_option("--out", o->out, "write it to a file (0600) instead of standard output")->type_name("FILE");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
