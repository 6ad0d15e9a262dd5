#include "audit.hpp"

namespace kmtool::cmd {

namespace {

int run(Globals& globals) {
  Json json{{"guidance", Json::array()}};
  Table table({{"RULE"}, {"THE GUIDELINE SAYS", false, true}, {"KMTOOL ANSWERS", false, true}});
  for (const auto& rule : policy::rules()) {
    json["guidance"].push_back({{"id", rule.id}, {"says", rule.says}, {"answers", rule.answers}});
    table.row({rule.id, rule.says, rule.answers});
  }
  if (json_wanted(globals)) {
    globals.out.json(json);
  } else {
    globals.out.table(table);
  }
  return 0;
}

}  // namespace

void add_audit_guidance(CLI::App& audit, Globals& globals, Action& action) {
  auto* sub = audit.add_subcommand("guidance", "the guideline's lines and what kmtool answers to each");
  sub->callback([&globals, &action] { action = [&globals] { return run(globals); }; });
}

}  // namespace kmtool::cmd
