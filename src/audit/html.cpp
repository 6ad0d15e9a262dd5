#include "html.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "kmtool/core/text.hpp"

namespace kmtool::audit::html {
namespace {

constexpr const char* style = R"css(
:root{--ink:#16202c;--soft:#5b6878;--line:#dfe4ea;--paper:#fff;--wash:#f6f8fa;--critical:#a3123a;--high:#c2410c;--medium:#a16207;--low:#52616f;--good:#0f766e;--accent:#1d4e89}
*{box-sizing:border-box}
html{-webkit-print-color-adjust:exact;print-color-adjust:exact}
body{margin:0;background:var(--wash);color:var(--ink);font:14px/1.5 "Inter","Segoe UI",system-ui,-apple-system,"DejaVu Sans",sans-serif}
main{max-width:1120px;margin:0 auto;padding:40px 32px 64px;background:var(--paper);min-height:100vh;box-shadow:0 0 0 1px var(--line)}
header{border-bottom:2px solid var(--ink);padding-bottom:18px;margin-bottom:24px}
.kind{font-size:12px;letter-spacing:.12em;text-transform:uppercase;color:var(--accent);font-weight:600;margin:0 0 4px}
h1{font-size:28px;line-height:1.2;margin:0 0 10px;overflow-wrap:anywhere}
h2{font-size:18px;margin:36px 0 12px;padding-bottom:6px;border-bottom:1px solid var(--line)}
h3{font-size:14px;margin:0 0 8px}
dl.meta{display:flex;flex-wrap:wrap;gap:4px 28px;margin:0;color:var(--soft);font-size:13px}
dl.meta div{display:flex;gap:6px}dl.meta dt{font-weight:600}dl.meta dd{margin:0;color:var(--ink);overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(120px,1fr));gap:12px}
.tile{border:1px solid var(--line);border-top:4px solid var(--soft);border-radius:6px;padding:12px 14px}
.tile b{display:block;font-size:28px;line-height:1.1;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:12px;text-transform:uppercase;letter-spacing:.06em}
.tile.critical{border-top-color:var(--critical)}.tile.high{border-top-color:var(--high)}.tile.medium{border-top-color:var(--medium)}.tile.low{border-top-color:var(--low)}.tile.met{border-top-color:var(--good)}.tile.partly{border-top-color:var(--medium)}.tile.not-met{border-top-color:var(--critical)}
.tile.zero b{color:#9aa5b1}
.charts{display:grid;grid-template-columns:1fr 1fr;gap:20px;margin-top:20px}
figure{margin:0;border:1px solid var(--line);border-radius:6px;padding:14px 16px}
figcaption{font-weight:600;margin-bottom:8px}
svg{display:block;width:100%;height:auto}
svg text{font:12px "Inter","Segoe UI",system-ui,"DejaVu Sans",sans-serif;fill:var(--ink)}svg .dimtext{fill:var(--soft)}
.bad{fill:var(--critical)}.warn{fill:#d3922a}.good{fill:var(--good)}.dim{fill:#b4bec9}.rail{fill:#eef1f4}
.badge{display:inline-block;border-radius:3px;padding:1px 7px;font-size:11px;font-weight:700;letter-spacing:.04em;text-transform:uppercase;color:#fff;background:var(--low);white-space:nowrap}
.badge.critical,.badge.not-met{background:var(--critical)}.badge.high{background:var(--high)}.badge.medium,.badge.partly{background:var(--medium)}.badge.met{background:var(--good)}.badge.waived,.badge.not-applicable{background:#8894a1}
.finding{border:1px solid var(--line);border-left:4px solid var(--low);border-radius:6px;padding:12px 16px;margin:0 0 10px;break-inside:avoid}
.finding.critical{border-left-color:var(--critical)}.finding.high{border-left-color:var(--high)}.finding.medium{border-left-color:var(--medium)}
.finding .head{display:flex;gap:10px;align-items:baseline;flex-wrap:wrap}
.finding .rule{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:12px;color:var(--soft);margin-left:auto}
.finding p{margin:6px 0 0;overflow-wrap:anywhere}.finding .why{color:var(--soft)}
code{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:12px;background:var(--wash);padding:1px 5px;border-radius:3px;overflow-wrap:anywhere}
ol.path{margin:8px 0 0;padding:8px 12px 8px 34px;background:#fdf4f0;border-radius:4px}ol.path li{overflow-wrap:anywhere}
table{width:100%;border-collapse:collapse;font-size:12.5px}
thead{display:table-header-group}tr{break-inside:avoid}
th{text-align:left;color:var(--soft);font-weight:600;border-bottom:2px solid var(--line);padding:6px 8px;vertical-align:bottom}
td{border-bottom:1px solid var(--line);padding:6px 8px;vertical-align:top;overflow-wrap:anywhere}
td.mono{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:11.5px}
td.tight{white-space:nowrap}td.name{min-width:11em}td.words{overflow-wrap:normal}td.id{min-width:9em;max-width:13em}
td.num{text-align:right;font-variant-numeric:tabular-nums}
tr.weak td.num{color:var(--critical);font-weight:700}
td small,.dimmed{color:var(--soft)}
ul.evidence{margin:0;padding-left:18px}
footer{margin-top:40px;padding-top:12px;border-top:1px solid var(--line);color:var(--soft);font-size:12px}
@media screen and (max-width:760px){main{padding:20px 14px}.charts{grid-template-columns:1fr}.wide{overflow-x:auto}.wide table{min-width:760px}}
@media print{@page{size:A4;margin:14mm}body{background:#fff;font-size:11px}main{padding:0;max-width:none;box-shadow:none;min-height:0}h2{break-after:avoid}table{font-size:10px}.tiles{grid-template-columns:repeat(auto-fit,minmax(72px,1fr))}.tile b{font-size:22px}.charts{grid-template-columns:1fr 1fr}figure{break-inside:avoid}}
)css";

std::size_t most_of(const std::vector<Bar>& bars) {
  std::size_t most = 1;
  for (const auto& bar : bars) most = std::max(most, bar.value);
  return most;
}

std::string figure(const std::string& title, const std::string& svg) { return "<figure><figcaption>" + escape(title) + "</figcaption>" + svg + "</figure>\n"; }

}  // namespace

std::string escape(std::string_view text) {
  std::string out;
  for (const char c : printable(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string page(const std::string& title, const std::string& body) {
  return "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
         "<meta name=\"generator\" content=\"kmtool " KMTOOL_VERSION "\"><title>" +
         escape(title) + "</title><style>" + style + "</style></head>\n<body><main>\n" + body + "</main></body></html>\n";
}

std::string table(const std::string& head, const std::string& rows) { return "<div class=\"wide\"><table><thead><tr>" + head + "</tr></thead><tbody>\n" + rows + "</tbody></table></div>\n"; }

std::string badge(std::string_view word) {
  std::string name(word);
  std::replace(name.begin(), name.end(), ' ', '-');
  return "<span class=\"badge " + escape(name) + "\">" + escape(word) + "</span>";
}

std::string bars(const std::string& title, const std::vector<Bar>& bars) {
  constexpr int width = 480, row = 28, left = 96, right = 56;
  const auto most = most_of(bars);
  std::string svg = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">", width, row * static_cast<int>(bars.size()), escape(title));
  int y = 0;
  for (const auto& bar : bars) {
    const int room = width - left - right;
    const int length = bar.value == 0 ? 0 : std::max(2, static_cast<int>(static_cast<double>(bar.value) / static_cast<double>(most) * room));
    svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\" class=\"dimtext\">{}</text>", left - 10, y + 18, escape(bar.label));
    svg += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"16\" rx=\"3\" class=\"rail\"/>", left, y + 6, room);
    svg += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"16\" rx=\"3\" class=\"{}\"/>", left, y + 6, length, bar.tone);
    svg += fmt::format("<text x=\"{}\" y=\"{}\">{}</text>", left + room + 8, y + 18, bar.value);
    y += row;
  }
  return figure(title, svg + "</svg>");
}

std::string columns(const std::string& title, const std::vector<Bar>& bars) {
  constexpr int width = 480, height = 184, base = 132, top = 18;
  const auto most = most_of(bars);
  const double step = static_cast<double>(width) / static_cast<double>(std::max<std::size_t>(1, bars.size()));
  std::string svg = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">", width, height, escape(title));
  svg += fmt::format("<rect x=\"0\" y=\"{}\" width=\"{}\" height=\"1\" class=\"dim\"/>", base, width);
  double x = 0;
  for (const auto& bar : bars) {
    const double tall = bar.value == 0 ? 0 : std::max(2.0, static_cast<double>(bar.value) / static_cast<double>(most) * (base - top));
    svg += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"2\" class=\"{}\"/>", x + step * 0.15, base - tall, step * 0.7, tall, bar.tone);
    if (bar.value > 0) svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>", x + step / 2, base - tall - 5, bar.value);
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"end\" transform=\"rotate(-45 {:.1f} {})\" class=\"dimtext\" style=\"font-size:10px\">{}</text>", x + step / 2 + 3, base + 14, x + step / 2 + 3, base + 14, escape(bar.label));
    x += step;
  }
  return figure(title, svg + "</svg>");
}

}  // namespace kmtool::audit::html
