#include "guidance_facts.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "kmtool/core/count.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::audit {
namespace {

bool past(const Json& row, const char* name, UnixTime now) {
  const auto text = row.contains(name) && row.at(name).is_string() ? parse_rfc3339(row.at(name).get<std::string>()) : std::nullopt;
  return text && *text <= now;
}

std::string word(const Json& row, const char* name) { return row.contains(name) && row.at(name).is_string() ? row.at(name).get<std::string>() : ""; }

/// Rows of kind `apikey`, as far as the guideline asks for them.
std::vector<ApiKeyFacts> live_api_keys(op::Context& context) {
  std::vector<ApiKeyFacts> out;
  for (const auto& item : context.journal().proven_all("apikey")) {
    const Json row = item.json();
    if (past(row, "revoked", context.now()) || past(row, "until", context.now()) || past(row, "expires", context.now())) continue;
    ApiKeyFacts key{word(row, "app"), word(row, "environment"), false, !word(row, "until").empty()};
    const Json limits = row.value("restrictions", Json::object());
    for (const char* kind : {"ip", "referrer", "android", "ios"}) key.restricted = key.restricted || (limits.contains(kind) && !limits.at(kind).empty());
    out.push_back(std::move(key));
  }
  return out;
}

}  // namespace

GuidanceFacts::GuidanceFacts(op::Context& context_in, const KeysReport& report_in)
    : context(context_in), report(report_in), profile(context_in.token().profile()), alive(context_in.versions()), bundles(context_in.bundles()) {
  std::erase_if(alive, [](const op::VersionRecord& version) { return version.state == State::destroyed; });
  api_keys = live_api_keys(context);
  stored_keys = context.journal().proven_all("apikey-store").size();
}

std::size_t GuidanceFacts::origin(std::string_view origin) const {
  return static_cast<std::size_t>(std::count_if(alive.begin(), alive.end(), [&](const op::VersionRecord& version) { return version.origin == origin; }));
}

std::size_t GuidanceFacts::role(Role role) const {
  return static_cast<std::size_t>(std::count_if(alive.begin(), alive.end(), [&](const op::VersionRecord& version) { return version.role == role; }));
}

std::size_t GuidanceFacts::extractable() const {
  return static_cast<std::size_t>(std::count_if(alive.begin(), alive.end(), [](const op::VersionRecord& version) { return version.extractable && version.state == State::active; }));
}

std::size_t GuidanceFacts::attacks() const {
  return static_cast<std::size_t>(std::count_if(report.findings.begin(), report.findings.end(), [](const policy::Finding& finding) {
    return !finding.attack.empty() && finding.severity >= policy::Severity::high && finding.object.object_class != "token" && finding.waived.empty();
  }));
}

std::string GuidanceFacts::token_name() const {
  return fmt::format("{} ({} {}, serial {}, firmware {})", printable(report.token.label), printable(report.token.manufacturer), printable(report.token.model), printable(report.token.serial), printable(report.token.firmware_version));
}

void GuidanceFacts::add_findings(GuidanceLine& line, policy::Severity least, std::initializer_list<std::string_view> said) const {
  constexpr std::size_t most = 5;
  std::size_t shown = 0, more = 0, waived = 0;
  for (const auto& finding : report.findings) {
    if (finding.rule != line.id || finding.severity < least) continue;
    if (std::find(said.begin(), said.end(), finding.check) != said.end()) continue;
    if (!finding.waived.empty()) {
      ++waived;
      continue;
    }
    const auto worse = finding.severity >= policy::Severity::high ? Compliance::not_met : Compliance::partly;
    line.verdict = std::max(line.verdict, worse);
    if (shown == most) {
      ++more;
      continue;
    }
    ++shown;
    const std::string name = finding.object.object_class == "token" ? "" : printable(finding.object.label.empty() ? "id " + finding.object.id : finding.object.label) + ": ";
    line.evidence.push_back(fmt::format("{} ({}): {}{}", finding.check, to_text(finding.severity), name, finding.evidence));
  }
  if (more > 0) line.evidence.push_back(fmt::format("and {} more (kmtool audit keys)", more));
  if (waived > 0) line.evidence.push_back(counted(waived, "finding is", "findings are") + " waived on record");
}

}  // namespace kmtool::audit
