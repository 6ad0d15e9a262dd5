#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "html.hpp"
#include "kmtool/audit/guidance.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::audit {
namespace {

using html::escape;
constexpr std::array verdicts{Compliance::met, Compliance::partly, Compliance::not_met, Compliance::not_applicable};

std::size_t count(const GuidanceReport& report, Compliance verdict) {
  return static_cast<std::size_t>(std::count_if(report.lines.begin(), report.lines.end(), [&](const GuidanceLine& line) { return line.verdict == verdict; }));
}

/// What stands between back ticks is set as code.
std::string with_code(std::string_view text) {
  std::string out;
  const auto parts = split(text, '`');
  for (std::size_t i = 0; i < parts.size(); ++i) out += i % 2 == 0 ? escape(parts[i]) : "<code>" + escape(parts[i]) + "</code>";
  return out;
}

}  // namespace

Json guidance_json(const GuidanceReport& report) {
  const auto& token = report.keys.token;
  Json json;
  json["home"] = printable(report.keys.home);
  json["token"] = {{"label", printable(token.label)}, {"serial", printable(token.serial)}, {"model", printable(token.model)}, {"hardware", token.hardware},
                   {"validation", report.keys.validation ? Json(report.keys.validation->text()) : Json(nullptr)}};
  json["time"] = rfc3339(report.keys.time);
  json["summary"] = Json::object();
  for (const auto verdict : verdicts) json["summary"][std::string(to_text(verdict))] = count(report, verdict);
  json["guidance"] = Json::array();
  for (const auto& line : report.lines) {
    json["guidance"].push_back({{"id", line.id}, {"says", line.says}, {"answers", line.answers}, {"verdict", to_text(line.verdict)}, {"evidence", line.evidence}});
  }
  return json;
}

std::string guidance_html(const GuidanceReport& report) {
  const auto& token = report.keys.token;
  std::string body = "<header><p class=\"kind\">Key management guideline: evidence</p><h1>" + escape(token.label) + "</h1><dl class=\"meta\">";
  const auto meta = [&](const char* name, const std::string& value) { body += "<div><dt>" + std::string(name) + "</dt><dd>" + escape(value) + "</dd></div>"; };
  meta("home", report.keys.home);
  meta("serial", token.serial);
  meta("model", token.manufacturer + " " + token.model);
  meta("kind", token.hardware ? "hardware" : "software: not an HSM");
  meta("validation", report.keys.validation ? report.keys.validation->text() : "none recorded");
  meta("assessed", rfc3339(report.keys.time));
  meta("by", "kmtool " KMTOOL_VERSION);
  body += "</dl></header>\n<section class=\"tiles\">";
  for (const auto verdict : verdicts) {
    std::string tone(to_text(verdict));
    std::replace(tone.begin(), tone.end(), ' ', '-');
    const auto n = count(report, verdict);
    body += fmt::format("<div class=\"tile {}{}\"><b>{}</b><span>{}</span></div>", tone, n == 0 ? " zero" : "", n, to_text(verdict));
  }
  std::string rows;
  for (const auto& line : report.lines) {
    rows += "<tr><td class=\"mono tight\"><strong>" + escape(line.id) + "</strong></td><td>" + with_code(line.says) + "</td><td>" + with_code(line.answers) + "</td><td><ul class=\"evidence\">";
    for (const auto& fact : line.evidence) rows += "<li>" + escape(fact) + "</li>";
    rows += "</ul></td><td>" + html::badge(to_text(line.verdict)) + "</td></tr>\n";
  }
  body += "</section>\n<h2>Line by line</h2>\n";
  body += html::table("<th>Rule</th><th style=\"width:24%\">The guideline says</th><th style=\"width:24%\">kmtool answers</th><th style=\"width:33%\">Evidence</th><th>Verdict</th>", rows);
  body += "<footer>Verdicts rest on the proven catalog, the journal's signed checkpoint, the token's probed profile and every object on the token; kmtool audit keys lists the findings behind them.</footer>\n";
  return html::page("Key management guideline: " + token.label, body);
}

}  // namespace kmtool::audit
