#include "common.hpp"

#include <unistd.h>

#include "kmtool/core/text.hpp"

namespace kmtool::cmd {

op::Options options_of(Globals& globals) {
  op::Options options;
  options.paths = home::default_paths(globals.home);
  options.pin_source = globals.pin_source;
  options.no_input = globals.no_input;
  options.terminal = isatty(STDIN_FILENO) != 0 || isatty(STDERR_FILENO) != 0;
  options.dry_run = globals.dry_run;
  options.overwrite = globals.force;
  for (const auto& text : globals.waive) options.waivers.push_back(policy::Waiver::parse(text));
  options.progress = make_progress(globals);
  options.stop = &globals.stop;
  return options;
}

bool json_wanted(const Globals& globals) { return globals.json || globals.format == "json"; }

std::string day(const std::optional<UnixTime>& time) { return time ? rfc3339(*time).substr(0, 10) : "-"; }

Json keys_json(const op::Context& context, const std::vector<op::VersionRecord>& keys) {
  Json list = Json::array();
  for (const auto& key : keys) list.push_back(keys::to_json(context, key));
  return list;
}

void print_keys(Globals& globals, const op::Context& context, const std::vector<op::VersionRecord>& keys) {
  if (json_wanted(globals)) {
    globals.out.json(Json{{"keys", keys_json(context, keys)}});
    return;
  }
  Table table({{"KEY"}, {"ROLE"}, {"TYPE"}, {"STATE"}, {"CREATED"}, {"EXPIRES"}, {"LEAVES TOKEN"}, {"ORIGIN"}});
  for (const auto& key : keys) {
    const std::string leaves = key.extractable ? "wrapped" : key.backed_up && key.origin == "generated" ? "backed up at birth" : "never";
    table.row({key.label(), std::string(to_text(key.role)), std::string(to_text(key.type)), std::string(to_text(key.state)),
               day(key.created), day(key.expires), leaves, key.origin});
  }
  if (!table.empty()) globals.out.table(table);
}

Role parse_role(const std::string& text) {
  if (const auto role = role_from(text)) return *role;
  std::vector<std::string> names;
  for (const Role role : all_roles()) names.emplace_back(to_text(role));
  const auto near = nearest(text, names);
  throw Error::usage("unknown role " + printable(text), (near.empty() ? "" : "did you mean " + near + "? ") + std::string("roles: ") + join(names, ", "));
}

void say_dry_run(const Globals& globals) {
  if (globals.dry_run) note(globals, "dry run: nothing was changed");
}

void add_sessions(CLI::App* sub, int& sessions) {
  sub->add_option("--sessions", sessions, "sessions in flight, 1 to 64 (default: the policy's); pays on networked HSMs")
      ->type_name("N")
      ->check(CLI::Range(1, 64));
}

std::int64_t parse_period(const std::string& text, const std::string& option) {
  const auto seconds = parse_duration(text);
  if (!seconds || text.back() == 'm') throw Error::usage(option + ": " + printable(text) + " is not a duration", "write 90d, 12h or 1y (= 365d); there are no months");
  return *seconds;
}

UnixTime parse_time(const std::string& text, const std::string& option) {
  const auto time = parse_rfc3339(text);
  if (!time) throw Error::usage(option + ": " + printable(text) + " is not a time", "write RFC 3339, such as 2027-01-31T00:00:00Z");
  constexpr UnixTime latest = 250000000000;  // in the year 9892: a cryptoperiod added to it can still be written
  if (*time > latest) throw Error::usage(option + ": " + printable(text) + " is too far away", "write a time before the year 9892");
  return *time;
}

}  // namespace kmtool::cmd
