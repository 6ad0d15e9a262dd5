#include "kmtool/audit/keys.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::audit {
namespace {

const char* text_of(pkcs11::Trial::Answer answer) {
  switch (answer) {
    case pkcs11::Trial::Answer::allowed:
      return "allowed";
    case pkcs11::Trial::Answer::refused:
      return "refused";
    case pkcs11::Trial::Answer::not_tried:
      break;
  }
  return "not tried";
}

/// Labels are foreign text, perhaps no UTF-8: escaped where JSON could not carry them.
std::string safe(const std::string& text) { return is_utf8(text) ? text : printable(text); }

Json finding_json(const policy::Finding& finding) {
  Json json{{"rule", finding.rule}, {"check", finding.check}, {"severity", to_text(finding.severity)}};
  json["object"] = {{"label", safe(finding.object.label)}, {"id", finding.object.id}, {"class", finding.object.object_class}};
  json["evidence"] = finding.evidence;
  json["why"] = finding.why;
  json["fix"] = finding.fix;
  if (!finding.attack.empty()) json["attack"] = finding.attack;
  if (!finding.path.empty()) json["path"] = finding.path;
  if (!finding.waived.empty()) json["waived"] = finding.waived;
  return json;
}

}  // namespace

Json keys_json(const KeysReport& report) {
  const auto& token = report.token;
  Json json;
  json["token"] = {{"label", safe(token.label)}, {"serial", safe(token.serial)}, {"manufacturer", safe(token.manufacturer)}, {"model", safe(token.model)},
                   {"firmware", token.firmware_version}, {"hardware", token.hardware}, {"module", safe(token.module_path)},
                   {"validation", report.validation ? Json(report.validation->text()) : Json(nullptr)}};
  json["home"] = report.home.empty() ? Json(nullptr) : Json(safe(report.home));
  json["time"] = rfc3339(report.time);
  json["objects"] = report.objects.size();
  json["keys"] = report.keys();
  json["summary"] = Json::object();
  for (const auto severity : {policy::Severity::critical, policy::Severity::high, policy::Severity::medium, policy::Severity::low}) {
    json["summary"][std::string(to_text(severity))] = report.count(severity);
  }
  json["findings"] = Json::array();
  for (const auto& finding : report.findings) json["findings"].push_back(finding_json(finding));
  if (report.probe) {
    Json trials = Json::array();
    for (const auto& trial : report.probe->trials) {
      trials.push_back({{"id", trial.id}, {"question", trial.question}, {"answer", text_of(trial.answer)}, {"detail", trial.detail}, {"bad", trial.bad && trial.answer == pkcs11::Trial::Answer::allowed}});
    }
    json["probe"] = {{"objects_before", report.probe->objects_before}, {"objects_after", report.probe->objects_after}, {"trials", std::move(trials)}};
  }
  return json;
}

}  // namespace kmtool::audit
