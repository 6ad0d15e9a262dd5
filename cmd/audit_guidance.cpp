#include "audit.hpp"
#include "kmtool/audit/guidance.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {

namespace {

void print_table(Globals& globals, const audit::GuidanceReport& report) {
  Table table({{"RULE"}, {"VERDICT"}, {"THE GUIDELINE SAYS", false, true}, {"EVIDENCE", false, true}});
  for (const auto& line : report.lines) {
    table.row({line.id, std::string(to_text(line.verdict)), line.says, line.evidence.empty() ? "" : line.evidence.front()});
    for (std::size_t i = 1; i < line.evidence.size(); ++i) table.row({"", "", "", line.evidence[i]});
  }
  globals.out.table(table);
}

int run(Globals& globals) {
  const auto format = chosen_format(globals);
  auto options = options_of(globals);
  options.many_objects = true;
  return op::recorded(options, op::Need::token, "audit guidance", "", [&](op::Context& context) {
    const auto report = audit::guidance(context);
    if (format == "json") globals.out.json(audit::guidance_json(report));
    if (format == "html") globals.out.raw(view(audit::guidance_html(report)));
    if (format == "table") print_table(globals, report);
    return 0;
  });
}

}  // namespace

void add_audit_guidance(CLI::App& audit, Globals& globals, Action& action) {
  auto* sub = audit.add_subcommand("guidance", "the guideline line by line, with evidence and verdict for this home and token");
  offer_formats(sub, globals, {"table", "json", "html"});
  sub->callback([&globals, &action] { action = [&globals] { return run(globals); }; });
}

}  // namespace kmtool::cmd
