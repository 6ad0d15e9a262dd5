#include "gen_spec.hpp"

#include <fmt/format.h>

#include "kmtool/core/text.hpp"
#include "kmtool/keys/spec.hpp"

namespace kmtool::cmd {

namespace {

int print(Globals& globals, const op::Context& context, const keys::SpecResult& result) {
  if (json_wanted(globals)) {
    Json json{{"keys", keys_json(context, result.made)},
              {"unchanged", result.unchanged},
              {"differences", Json::array()},
              {"backups", Json::array()}};
    for (const auto& one : result.differences)
      json["differences"].push_back({{"name", one.key}, {"field", one.field}, {"wanted", one.wanted}, {"found", one.found}});
    for (const auto& backup : result.backups)
      json["backups"].push_back({{"bundle", backup.id}, {"out", backup.path}, {"records", backup.records}});
    globals.out.json(json);
  } else {
    print_keys(globals, context, result.made);
    for (const auto& backup : result.backups) globals.out.line("backup   " + printable(backup.path));
    for (const auto& one : result.differences)
      globals.out.line(
          fmt::format("differs  {}: {} is {}, the list has {}", one.key, one.field, printable(one.found), printable(one.wanted)));
    globals.out.line(fmt::format("{} made, {} as listed, {} {}", result.made.size(), result.unchanged.size(),
                                 result.differences.size(), result.differences.size() == 1 ? "difference" : "differences"));
  }
  say_dry_run(globals);
  return result.differences.empty() ? 0 : 1;
}

}  // namespace

int gen_from_spec(Globals& globals, const std::string& file) {
  const auto spec = keys::read_spec(file);
  auto options = options_of(globals);
  options.many_objects = spec.keys.size() > 8;
  keys::SpecResult result;
  try {
    return op::recorded(options, op::Need::mutation, "gen", "--spec", [&](op::Context& context) {
      keys::apply_spec(context, spec, result);
      return print(globals, context, result);
    });
  } catch (const Error&) {
    for (const auto& key : result.made) {
      if (!options.dry_run) note(globals, "made before the failure: " + key.label());
    }
    throw;
  }
}

}  // namespace kmtool::cmd
