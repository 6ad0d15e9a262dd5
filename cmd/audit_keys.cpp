#include "audit.hpp"
#include "kmtool/apikey/findings.hpp"
#include "kmtool/audit/keys.hpp"
#include "kmtool/core/count.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/pkcs11/survey.hpp"
#include "kmtool/pkcs11/uri.hpp"

namespace kmtool::cmd {

namespace {

struct KeysOptions {
  std::string module, module_args, uri, label, serial, fail_on, out;
  bool probe = false, no_login = false;
};

// -- any token, without a home ----------------------------------------------------------------------------------------------

bool names_token(const KeysOptions& o) { return !o.module.empty() || !o.uri.empty() || !o.label.empty() || !o.serial.empty() || !o.module_args.empty() || o.no_login; }

pkcs11::TokenSelector selector_of(const KeysOptions& o, std::string& module, std::string& pin_source) {
  if (o.uri.empty()) return {o.label, o.serial, {}, {}};
  if (!o.label.empty() || !o.serial.empty()) throw Error::usage("--token-uri names the token; leave out --token-label and --token-serial");
  const auto uri = pkcs11::parse_token_uri(o.uri);
  if (module.empty()) module = uri.module_path;
  if (pin_source.empty()) pin_source = uri.pin_source;
  return uri.token;
}

pkcs11::Token open_token(Globals& globals, const KeysOptions& o) {
  std::string module = o.module, pin_source = globals.pin_source;
  const auto selector = selector_of(o, module, pin_source);
  if (module.empty()) throw Error::usage("which PKCS#11 module?", "give --module PATH; without it and without --token-… the home's token is audited");
  const auto path = std::filesystem::absolute(module).lexically_normal();
  pkcs11::require_module_file(path.string());
  pkcs11::OpenOptions how;
  how.careful = globals.no_input;
  how.login = !o.no_login;
  SecretBytes pin;
  if (how.login && pin_source != "protected") {
    pin = home::read_pin(pin_source.empty() ? home::PinSource{} : home::PinSource::parse(pin_source), globals.no_input);
    how.pin = &pin;
  }
  return pkcs11::Token::open({path.string(), o.module_args}, selector, how);
}

// -- printing ---------------------------------------------------------------------------------------------------------------

std::string name_of(const policy::ObjectRef& object) {
  if (object.object_class == "token") return "(token)";
  if (!object.label.empty()) return object.label;
  return object.id.empty() ? "(no name)" : "id " + object.id;
}

void print_probe(Globals& globals, const pkcs11::Trials& probe) {
  Table table({{"TRIED ON THE TOKEN", false, true}, {"ANSWER"}, {"BY", false, true}});
  for (const auto& trial : probe.trials) {
    const bool allowed = trial.answer == pkcs11::Trial::Answer::allowed;
    const char* answer = trial.answer == pkcs11::Trial::Answer::not_tried ? "not tried" : allowed ? (trial.bad ? "YES" : "yes") : "no";
    table.row({trial.question, answer, trial.detail});
  }
  globals.out.table(table);
  globals.out.line("objects before " + std::to_string(probe.objects_before) + ", after " + std::to_string(probe.objects_after) + "\n");
}

std::string summary_of(const audit::KeysReport& report) {
  std::vector<std::string> parts;
  std::size_t waived = 0;
  for (const auto& finding : report.findings) waived += finding.waived.empty() ? 0 : 1;
  for (const auto severity : {policy::Severity::critical, policy::Severity::high, policy::Severity::medium, policy::Severity::low}) {
    if (const auto n = report.count(severity); n > 0) parts.push_back(std::to_string(n) + " " + std::string(to_text(severity)));
  }
  if (waived > 0) parts.push_back(std::to_string(waived) + " waived");
  return counted(report.objects.size(), "object") + " (" + counted(report.keys(), "key") + ") on token " + printable(report.token.label) + ": " +
         (parts.empty() ? "nothing found" : join(parts, ", "));
}

void print_table(Globals& globals, const audit::KeysReport& report) {
  if (report.probe) print_probe(globals, *report.probe);
  Table table({{"SEVERITY"}, {"RULE"}, {"OBJECT"}, {"EVIDENCE", false, true}});
  for (const auto& finding : report.findings) {
    const std::string severity(to_text(finding.severity));
    table.row({finding.waived.empty() ? severity : "(" + severity + ")", finding.rule + "/" + finding.check, name_of(finding.object), finding.waived.empty() ? finding.evidence : finding.evidence + " [waived: " + finding.waived + "]"});
  }
  if (!table.empty()) globals.out.table(table);
  const bool more = globals.verbose > 0;
  for (const auto& finding : report.findings) {
    if (finding.path.empty() && !more) continue;
    globals.out.line("\n" + finding.rule + "/" + finding.check + (finding.attack.empty() ? "" : " (" + finding.attack + ")") + ": " + printable(name_of(finding.object)));
    for (std::size_t i = 0; i < finding.path.size(); ++i) globals.out.line("  " + std::to_string(i + 1) + ". " + printable(finding.path[i]));
    globals.out.line("  why: " + printable(finding.why));
    globals.out.line("  fix: " + printable(finding.fix));
  }
  globals.out.line((table.empty() ? "" : "\n") + summary_of(report));
  if (!more && !table.empty()) note(globals, "-v says of each why it matters and what mends it; kmtool-rules(7) has them all");
}

int print(Globals& globals, const KeysOptions& o, const audit::KeysReport& report, const std::string& format) {
  if (format == "json") globals.out.json(audit::keys_json(report));
  if (format == "sarif") globals.out.json(audit::keys_sarif(report));
  if (format == "html") globals.out.raw(view(audit::keys_html(report)));
  if (format == "table") print_table(globals, report);
  if (report.probe && report.probe->objects_before != report.probe->objects_after) {
    warn(globals, "the token had " + std::to_string(report.probe->objects_before) + " objects before the probe and has " + std::to_string(report.probe->objects_after) + " now: another program is at work, or the token left some");
  }
  return !o.fail_on.empty() && report.fails(*policy::severity_from(o.fail_on)) ? 1 : 0;
}

int run(Globals& globals, const KeysOptions& o) {
  const auto format = chosen_format(globals);
  if (o.no_login && o.probe) throw Error::usage("--probe makes session objects and needs a login", "leave out --no-login");
  auto options = options_of(globals);
  if (names_token(o)) {
    auto token = open_token(globals, o);
    auto report = audit::audit_token(token, o.probe, options.clock(), options.progress);
    audit::waive(report, policy::default_policy(), options.waivers);
    return print(globals, o, report, format);
  }
  options.many_objects = true;
  return op::recorded(options, op::Need::token, "audit keys", "", [&](op::Context& context) {
    auto report = audit::audit_keys(context, o.probe);
    for (auto& finding : apikey::findings(context)) report.findings.push_back(std::move(finding));
    policy::sort_findings(report.findings);
    audit::waive(report, context.home.policy, context.options.waivers);
    return print(globals, o, report, format);
  });
}

}  // namespace

void add_audit_keys(CLI::App& audit, Globals& globals, Action& action) {
  auto* sub = audit.add_subcommand("keys", "what is wrong with the keys on a token: any token, no home needed");
  offer_formats(sub, globals, {"table", "json", "sarif", "html"});
  auto o = std::make_shared<KeysOptions>();
  sub->add_option("--fail-on", o->fail_on, "exit with 1 where something of this severity or worse is found: low, medium, high, critical")
      ->type_name("SEVERITY")
      ->check(CLI::IsMember({"low", "medium", "high", "critical"}));
  sub->add_flag("--probe", o->probe, "try the known attacks on the token, with throwaway session objects");
  sub->add_option("--module", o->module, "without a home: the PKCS#11 module")->type_name("FILE");
  sub->add_option("--module-args", o->module_args, "initialisation arguments that the module wants (NSS)")->type_name("ARGS");
  sub->add_option("--token-uri", o->uri, "without a home: the token, as an RFC 7512 URI")->type_name("URI");
  sub->add_option("--token-label", o->label, "without a home: the token's label")->type_name("LABEL");
  sub->add_option("--token-serial", o->serial, "without a home: the token's serial number")->type_name("SERIAL");
  sub->add_flag("--no-login", o->no_login, "without a home: what everybody sees who reaches the token, without a PIN");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
