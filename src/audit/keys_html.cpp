#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "html.hpp"
#include "kmtool/audit/keys.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::audit {
namespace {

using html::escape;
using policy::ObjectFacts;
using policy::Severity;

constexpr std::array severities{Severity::critical, Severity::high, Severity::medium, Severity::low};

std::string meta(const char* name, const std::string& value) { return value.empty() ? "" : "<div><dt>" + std::string(name) + "</dt><dd>" + escape(value) + "</dd></div>"; }

std::string header_of(const KeysReport& report) {
  const auto& token = report.token;
  std::string out = "<header><p class=\"kind\">Key audit</p><h1>" + escape(token.label) + "</h1><dl class=\"meta\">";
  out += meta("serial", token.serial) + meta("model", token.manufacturer + " " + token.model) + meta("kind", token.hardware ? "hardware" : "software: not an HSM");
  out += meta("validation", report.validation ? report.validation->text() : "none recorded") + meta("firmware", token.firmware_version) + meta("home", report.home);
  return out + meta("audited", rfc3339(report.time)) + meta("by", "kmtool " KMTOOL_VERSION) + "</dl></header>\n";
}

std::string tile(const std::string& tone, std::size_t n, const std::string& text) {
  return fmt::format("<div class=\"tile {}{}\"><b>{}</b><span>{}</span></div>", tone, n == 0 ? " zero" : "", n, escape(text));
}

std::string tiles_of(const KeysReport& report) {
  std::string out = "<section class=\"tiles\">" + tile("", report.objects.size(), "objects") + tile("", report.keys(), "keys");
  for (const auto severity : severities) out += tile(std::string(to_text(severity)), report.count(severity), std::string(to_text(severity)));
  const auto waived = std::count_if(report.findings.begin(), report.findings.end(), [](const policy::Finding& finding) { return !finding.waived.empty(); });
  if (waived > 0) out += tile("", static_cast<std::size_t>(waived), "waived");
  return out + "</section>\n";
}

// -- charts -----------------------------------------------------------------------------------------------------------------

std::string strength_chart(const KeysReport& report) {
  std::vector<html::Bar> bars{{"under 112", 0, "bad"}, {"112", 0, "warn"}, {"128", 0, "good"}, {"192", 0, "good"}, {"256", 0, "good"}, {"unknown", 0, "dim"}};
  for (const auto& object : report.objects) {
    if (!object.is_key() || object.has_private) continue;
    const int s = object.strength;
    ++bars[s < 0 ? 5 : s < 112 ? 0 : s < 128 ? 1 : s < 192 ? 2 : s < 256 ? 3 : 4].value;
  }
  return html::bars("Keys by strength, bits", bars);
}

std::string month_of(UnixTime time) { return rfc3339(time).substr(0, 7); }

std::string expiry_chart(const KeysReport& report) {
  constexpr std::int64_t day = 86400;
  std::vector<html::Bar> bars{{"over", 0, "bad"}};
  std::map<std::string, std::size_t> at;
  UnixTime month = report.time;
  for (int i = 0; i < 13; ++i) {
    const std::string name = month_of(month);
    at[name] = bars.size();
    bars.push_back({name, 0, i < 2 ? "warn" : "good"});
    while (month_of(month) == name) month += day;
  }
  bars.push_back({"later", 0, "good"});
  std::size_t undated = 0;
  for (const auto& object : report.objects) {
    std::optional<UnixTime> end;
    if (object.certificate && object.certificate->readable) end = object.certificate->not_after;
    if (object.record && object.kind != policy::ObjectKind::public_half) end = object.record->originator_end;
    if (!end) {
      undated += object.holds_secret() ? 1 : 0;
      continue;
    }
    const auto found = at.find(month_of(*end));
    ++bars[*end <= report.time ? 0 : found == at.end() ? bars.size() - 1 : found->second].value;
  }
  return html::columns(fmt::format("Cryptoperiods and certificates that end{}", undated > 0 ? fmt::format(" ({} undated)", undated) : ""), bars);
}

// -- findings ---------------------------------------------------------------------------------------------------------------

std::string name_of(const policy::ObjectRef& object) {
  if (object.object_class == "token") return "the token";
  return object.label.empty() ? (object.id.empty() ? "(no name)" : "id " + object.id) : object.label;
}

std::string finding_html(const policy::Finding& finding) {
  const std::string severity(to_text(finding.severity));
  std::string out = "<article class=\"finding " + (finding.waived.empty() ? severity : "waived") + "\"><div class=\"head\">" + html::badge(finding.waived.empty() ? severity : "waived");
  out += "<strong>" + escape(name_of(finding.object)) + "</strong><span class=\"dimmed\">" + escape(finding.object.object_class) + "</span>";
  out += "<span>" + escape(policy::check_of(finding.check).title) + "</span><span class=\"rule\">" + escape(finding.rule + "/" + finding.check) + (finding.attack.empty() ? "" : " · " + escape(finding.attack)) + "</span></div>";
  out += "<p>" + escape(finding.evidence) + "</p>";
  if (!finding.path.empty()) {
    out += "<ol class=\"path\">";
    for (const auto& step : finding.path) out += "<li>" + escape(step) + "</li>";
    out += "</ol>";
  }
  out += "<p class=\"why\">" + escape(finding.why) + "</p><p>Fix: <code>" + escape(finding.fix) + "</code></p>";
  if (!finding.waived.empty()) out += "<p>Waived on record: " + escape(finding.waived) + "</p>";
  return out + "</article>\n";
}

std::string findings_of(const KeysReport& report) {
  if (report.findings.empty()) return "<h2>Findings</h2><p>Nothing was found.</p>\n";
  std::string out = "<h2>Findings</h2>\n";
  for (const auto& finding : report.findings) out += finding_html(finding);
  return out;
}

std::string probe_of(const KeysReport& report) {
  if (!report.probe) return {};
  std::string out = "<h2>What the token allows</h2><p class=\"dimmed\">Tried with throwaway session objects; " + fmt::format("{} objects before, {} after.", report.probe->objects_before, report.probe->objects_after) + "</p>";
  std::string rows;
  for (const auto& trial : report.probe->trials) {
    const bool allowed = trial.answer == pkcs11::Trial::Answer::allowed;
    const char* answer = trial.answer == pkcs11::Trial::Answer::not_tried ? "not tried" : allowed ? "yes" : "no";
    rows += "<tr><td>" + escape(trial.question) + "</td><td>" + (allowed && trial.bad ? "<strong style=\"color:var(--critical)\">yes</strong>" : answer) + "</td><td class=\"mono\">" + escape(trial.detail) + "</td></tr>";
  }
  return out + html::table("<th>Tried</th><th>Answer</th><th>By</th>", rows);
}

// -- keys -------------------------------------------------------------------------------------------------------------------

std::string flags_of(const ObjectFacts& object) {
  std::vector<std::string> words;
  const auto add = [&](bool is, const char* word) {
    if (is) words.emplace_back(word);
  };
  if (object.holds_secret()) {
    add(object.sensitive == false, "not sensitive");
    add(object.extractable == true, "extractable");
    add(object.is_private == false, "no login needed");
    add(object.modifiable == true, "modifiable");
    add(object.wrap_with_trusted == true, "wrap with trusted");
  }
  add(object.trusted == true, "trusted");
  return join(words, ", ");
}

std::string row_of(const ObjectFacts& object, const std::map<std::string, Severity>& worst, bool with_state) {
  const auto found = worst.find(std::string(to_text(object.kind)) + "\n" + object.id + "\n" + object.label);
  const bool weak = object.strength >= 0 && object.strength < 112;
  std::string out = weak ? "<tr class=\"weak\">" : "<tr>";
  out += "<td class=\"name\">" + (object.label.empty() ? "<small>no label</small>" : escape(object.label)) + "</td><td class=\"tight\">" + std::string(to_text(object.kind)) + "</td>";
  out += "<td class=\"tight\">" + escape(object.certificate ? object.key.name : object.key.text()) + "</td><td class=\"num\">" + (object.strength < 0 ? "–" : std::to_string(object.strength)) + "</td>";
  out += object.certificate ? "<td class=\"id\">" + escape(object.certificate->subject) : "<td class=\"words\">" + escape(object.usages());
  out += "</td><td class=\"words\">" + escape(flags_of(object)) + "</td>";
  std::string until, state;
  if (object.certificate && object.certificate->readable) until = rfc3339(object.certificate->not_after).substr(0, 10);
  if (object.record) {
    state = to_text(object.record->state);
    if (object.record->originator_end) until = rfc3339(*object.record->originator_end).substr(0, 10);
  }
  if (object.owner == ObjectFacts::Owner::signer) state = "signer";
  if (object.owner == ObjectFacts::Owner::anchor) state = "anchor";
  if (with_state) out += "<td>" + escape(state) + "</td>";
  out += "<td class=\"tight\">" + until + "</td><td class=\"mono id\">" + escape(object.id) + "</td><td>" + (found == worst.end() ? "" : html::badge(to_text(found->second))) + "</td></tr>\n";
  return out;
}

std::string keys_of(const KeysReport& report) {
  std::map<std::string, Severity> worst;
  for (const auto& finding : report.findings) {
    if (!finding.waived.empty()) continue;
    const auto [at, fresh] = worst.emplace(finding.object.object_class + "\n" + finding.object.id + "\n" + finding.object.label, finding.severity);
    if (!fresh) at->second = std::max(at->second, finding.severity);
  }
  const bool with_state = !report.home.empty();  // states are the catalog's
  auto objects = report.objects;
  std::stable_sort(objects.begin(), objects.end(), [](const ObjectFacts& a, const ObjectFacts& b) { return std::tie(a.label, a.kind) < std::tie(b.label, b.kind); });
  std::string rows;
  for (const auto& object : objects) rows += row_of(object, worst, with_state);
  return "<h2>Objects</h2>\n" + html::table("<th>Label</th><th>Class</th><th>Kind</th><th>Bits</th><th>Usages</th><th>Flags</th>" + std::string(with_state ? "<th>State</th>" : "") + "<th>Ends</th><th>CKA_ID</th><th></th>", rows);
}

}  // namespace

std::string keys_html(const KeysReport& report) {
  std::string body = header_of(report) + tiles_of(report);
  body += "<section class=\"charts\">" + strength_chart(report) + expiry_chart(report) + "</section>\n";
  body += findings_of(report) + probe_of(report) + keys_of(report);
  body += "<footer>Severity, reason and remedy of every check: kmtool-rules(7). Strengths: SP 800-57 part 1 r5, tables 2 and 3. Attacks: Clulow 2003; Delaune, Kremer, Steel 2008; Bortolozzo, Centenaro, Focardi, Steel 2010 (A1–A5).</footer>\n";
  return html::page("Key audit: " + report.token.label, body);
}

}  // namespace kmtool::audit
