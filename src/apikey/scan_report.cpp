#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "kmtool/apikey/scan.hpp"

namespace kmtool::apikey {

namespace {

std::string what_of(const Needles::Needle& needle) { return needle.stored ? "stored key" : "issued API key"; }

/// A path as a URI reference (RFC 3986): the bytes that may stand for themselves, and slashes.
std::string percent_encoded(const std::string& path) {
  constexpr std::string_view plain = "-._~/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  std::string uri;
  for (const char c : path) {
    if (plain.find(c) != std::string_view::npos) {
      uri += c;
    } else {
      uri += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return uri;
}

/// The folders that the URIs of a report are relative to: what was named, or the top of a git work tree.
class Bases {
 public:
  Json location(const ScanFinding& finding) {
    if (finding.path.empty()) return {{"uri", "git:" + finding.object}};
    auto path = finding.path;
    if (finding.repository.empty() && !finding.root.empty()) path = std::filesystem::absolute(path).lexically_normal().lexically_relative(finding.root).string();
    Json location{{"uri", percent_encoded(path)}};
    if (!finding.root.empty()) location["uriBaseId"] = id_of(finding.root);
    return location;
  }
  [[nodiscard]] Json all() const {
    Json json = Json::object();
    for (std::size_t i = 0; i < roots_.size(); ++i) json[name(i)] = {{"uri", "file://" + percent_encoded(roots_[i]) + (roots_[i].ends_with('/') ? "" : "/")}};
    return json;
  }

 private:
  static std::string name(std::size_t number) { return number == 0 ? "SRCROOT" : fmt::format("SRCROOT{}", number + 1); }
  std::string id_of(const std::string& root) {
    const auto found = std::find(roots_.begin(), roots_.end(), root);
    const auto number = static_cast<std::size_t>(found - roots_.begin());
    if (found == roots_.end()) roots_.push_back(root);
    return name(number);
  }
  std::vector<std::string> roots_;
};

Json sarif_rules() {
  Json rules = Json::array();
  rules.push_back({{"id", "A-ENV"},
                   {"name", "ApiKeyInCode"},
                   {"shortDescription", {{"text", "an API key lies in a file or in git history"}}},
                   {"fullDescription", {{"text", "API keys are not put in code, but in environment variables: rotate the key, take it out, and use kmtool apikey exec"}}},
                   {"defaultConfiguration", {{"level", "error"}}}});
  return rules;
}

std::string text_of(const ScanFinding& finding) {
  const auto& hit = finding.hit;
  std::string text = fmt::format("{} {}", what_of(hit.needle), hit.needle.id);
  if (!hit.needle.stored) text += fmt::format(" of {} ({}), {}", hit.needle.app, hit.needle.environment, hit.needle.state);
  if (hit.encoding != "plain") text += ", as " + hit.encoding;
  if (hit.more > 0) text += fmt::format(", and {} more times behind the first thousand", hit.more);
  if (!finding.object.empty()) text += fmt::format(", in git object {}{}", finding.object, finding.commit.empty() ? "" : " of commit " + finding.commit);
  return text;
}

/// What was not looked at: a report that is not the whole says so.
Json sarif_invocation(const ScanReport& report) {
  Json notes = Json::array();
  const auto add = [&](const char* level, const std::string& what) { notes.push_back({{"level", level}, {"message", {{"text", "not looked at: " + what}}}}); };
  for (const auto& each : report.unread) add("error", each);
  for (const auto& each : report.skipped) add("note", each);
  for (const auto& each : report.lost) notes.push_back({{"level", "error"}, {"message", {{"text", "not looked for: " + each.id + ": " + each.why}}}});
  return {{"executionSuccessful", report.unread.empty() && report.lost.empty()}, {"toolExecutionNotifications", notes}};
}

}  // namespace

Json to_json(const ScanReport& report) {
  Json json{{"findings", Json::array()}, {"files", report.files}, {"objects", report.objects}, {"bytes", report.bytes}, {"unread", report.unread}, {"skipped", report.skipped}, {"not_looked_for", report.not_looked_for}, {"lost", Json::array()}};
  for (const auto& each : report.lost) json["lost"].push_back({{"id", each.id}, {"why", each.why}});
  for (const auto& finding : report.findings) {
    const auto& hit = finding.hit;
    Json each{{"kind", hit.needle.stored ? "stored" : "issued"}, {"id", hit.needle.id}, {"app", hit.needle.app}, {"environment", hit.needle.environment},
              {"state", hit.needle.state}, {"live", hit.needle.live}, {"path", finding.path}, {"line", hit.line}, {"column", hit.column},
              {"offset", hit.offset}, {"encoding", hit.encoding}};
    if (hit.more > 0) each["more"] = hit.more;
    if (!finding.repository.empty()) {
      each["repository"] = finding.repository;
      each["object"] = finding.object;
      each["commit"] = finding.commit;
    }
    json["findings"].push_back(std::move(each));
  }
  return json;
}

Json to_sarif(const ScanReport& report) {
  Json results = Json::array();
  Bases bases;
  for (const auto& finding : report.findings) {
    const auto& hit = finding.hit;
    const auto location = bases.location(finding);
    const auto fingerprint = fmt::format("{}:{}:{}", hit.needle.id, location.at("uri").get<std::string>(), hit.encoding);
    results.push_back({{"ruleId", "A-ENV"},
                       {"ruleIndex", 0},
                       {"level", hit.needle.live ? "error" : "note"},
                       {"message", {{"text", text_of(finding)}}},
                       {"locations", {{{"physicalLocation", {{"artifactLocation", location}, {"region", {{"startLine", hit.line}, {"startColumn", hit.column}}}}}}}},
                       {"partialFingerprints", {{"kmtool/v1", fingerprint}}}});
  }
  Json driver{{"name", "kmtool"}, {"version", KMTOOL_VERSION}, {"rules", sarif_rules()}};
  Json run{{"tool", {{"driver", driver}}}, {"columnKind", "utf16CodeUnits"}, {"originalUriBaseIds", bases.all()}, {"invocations", Json::array({sarif_invocation(report)})}, {"results", results}};
  return {{"$schema", "https://json.schemastore.org/sarif-2.1.0.json"}, {"version", "2.1.0"}, {"runs", Json::array({run})}};
}

std::string gitleaks_rule(const std::string& prefix) {
  return fmt::format(
      "# A rule for gitleaks (https://github.com/gitleaks/gitleaks): the form of API keys that kmtool issues.\n"
      "[[rules]]\n"
      "id = \"kmtool-api-key\"\n"
      "description = \"API key issued by kmtool\"\n"
      "regex = '''\\b({}_[0-9a-hjkmnp-tv-z]{{{}}}_[0-9A-Za-z]{{{}}})\\b'''\n"
      "secretGroup = 1\n"
      "entropy = 4.0\n"
      "keywords = [\"{}_\"]\n",
      prefix, id_length, secret_length + check_length, prefix);
}

}  // namespace kmtool::apikey
