#include <map>

#include "kmtool/audit/keys.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/crypto/digest.hpp"
#include "kmtool/pkcs11/uri.hpp"

namespace kmtool::audit {
namespace {

const char* level_of(policy::Severity severity) {
  switch (severity) {
    case policy::Severity::critical:
    case policy::Severity::high:
      return "error";
    case policy::Severity::medium:
      return "warning";
    case policy::Severity::low:
      break;
  }
  return "note";
}

/// GitHub's scale of 0.0 to 10.0.
const char* score_of(policy::Severity severity) {
  switch (severity) {
    case policy::Severity::critical:
      return "9.5";
    case policy::Severity::high:
      return "8.0";
    case policy::Severity::medium:
      return "5.5";
    case policy::Severity::low:
      break;
  }
  return "2.0";
}

std::string rule_id(const std::string& rule, const std::string& check) { return rule + "/" + check; }

Json rules_json() {
  Json rules = Json::array();
  for (const auto& check : policy::checks()) {
    Json rule{{"id", rule_id(check.rule, check.id)}, {"name", check.id}};
    rule["shortDescription"] = {{"text", check.title}};
    rule["fullDescription"] = {{"text", check.why}};
    rule["help"] = {{"text", std::string(check.fix)}};
    rule["defaultConfiguration"] = {{"level", level_of(check.severity)}};
    Json tags = Json::array({"security", check.rule});
    if (check.attack[0] != '\0') tags.push_back(std::string("attack-") + check.attack);
    rule["properties"] = {{"security-severity", score_of(check.severity)}, {"tags", std::move(tags)}};
    rules.push_back(std::move(rule));
  }
  return rules;
}

pkcs11::ObjectClass class_of(const std::string& name) {
  if (name == "secret-key") return pkcs11::ObjectClass::secret_key;
  if (name == "private-key") return pkcs11::ObjectClass::private_key;
  if (name == "public-key") return pkcs11::ObjectClass::public_key;
  if (name == "certificate") return pkcs11::ObjectClass::certificate;
  return name == "data" ? pkcs11::ObjectClass::data : pkcs11::ObjectClass::other;
}

Json location_of(const KeysReport& report, const policy::ObjectRef& object) {
  const std::string name = object.label.empty() ? object.id : printable(object.label);
  const bool token = object.object_class == "token";
  const auto uri = pkcs11::key_uri(report.token, token ? "" : object.label, from_hex(object.id).value_or(Bytes{}), class_of(object.object_class));
  Json location;
  location["physicalLocation"] = {{"artifactLocation", {{"uri", uri}}}};
  location["logicalLocations"] = Json::array({{{"name", name}, {"fullyQualifiedName", printable(report.token.label) + "/" + object.object_class + "/" + name + "/" + object.id}, {"kind", object.object_class}}});
  return location;
}

Json result_of(const KeysReport& report, const policy::Finding& finding, std::size_t rule) {
  Json result{{"ruleId", rule_id(finding.rule, finding.check)}, {"ruleIndex", rule}, {"level", level_of(finding.severity)}};
  const std::string name = finding.object.label.empty() ? "id " + finding.object.id : printable(finding.object.label);
  result["message"] = {{"text", name + ": " + finding.evidence + ". " + finding.why + ". Fix: " + finding.fix}};
  result["locations"] = Json::array({location_of(report, finding.object)});
  // One and the same from run to run, so that a finding can be followed.
  const std::string same = finding.rule + "\n" + finding.check + "\n" + report.token.serial + "\n" + finding.object.object_class + "\n" + finding.object.id + "\n" + printable(finding.object.label);
  result["partialFingerprints"] = {{"kmtoolFinding/v1", hex(crypto::sha256(view(same)))}};
  if (!finding.path.empty()) {
    Json steps = Json::array();
    for (const auto& step : finding.path) steps.push_back({{"location", {{"message", {{"text", step}}}}}});
    result["codeFlows"] = Json::array({{{"threadFlows", Json::array({{{"locations", std::move(steps)}}})}}});
  }
  if (!finding.waived.empty()) result["suppressions"] = Json::array({{{"kind", "external"}, {"justification", finding.waived}}});
  result["properties"] = {{"severity", to_text(finding.severity)}};
  if (!finding.attack.empty()) result["properties"]["attack"] = finding.attack;
  return result;
}

}  // namespace

Json keys_sarif(const KeysReport& report) {
  std::map<std::string, std::size_t> index;
  for (std::size_t i = 0; i < policy::checks().size(); ++i) index[policy::checks()[i].id] = i;
  Json run;
  run["tool"] = {{"driver", {{"name", "kmtool"}, {"version", KMTOOL_VERSION}, {"rules", rules_json()}}}};
  run["invocations"] = Json::array({{{"executionSuccessful", true}, {"endTimeUtc", rfc3339(report.time)}}});
  run["columnKind"] = "unicodeCodePoints";
  run["results"] = Json::array();
  for (const auto& finding : report.findings) run["results"].push_back(result_of(report, finding, index.at(finding.check)));
  run["properties"] = {{"token", printable(report.token.label)}, {"serial", printable(report.token.serial)}, {"objects", report.objects.size()}, {"keys", report.keys()}};
  Json sarif;
  sarif["$schema"] = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
  sarif["version"] = "2.1.0";
  sarif["runs"] = Json::array({std::move(run)});
  return sarif;
}

}  // namespace kmtool::audit
