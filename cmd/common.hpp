#pragma once
#include <optional>
#include <string>

#include "cli.hpp"
#include "kmtool/keys/gen.hpp"
#include "kmtool/op/context.hpp"

namespace kmtool::cmd {

/// The operation's options from the command line's.
op::Options options_of(Globals& globals);
bool json_wanted(const Globals& globals);
/// A table of key versions, and the same as CLI.md's JSON.
void print_keys(Globals& globals, const op::Context& context, const std::vector<op::VersionRecord>& keys);
Json keys_json(const op::Context& context, const std::vector<op::VersionRecord>& keys);
/// `2027-11-23`, or `-`.
std::string day(const std::optional<UnixTime>& time);
Role parse_role(const std::string& text);
/// Says on standard error that nothing was done.
void say_dry_run(const Globals& globals);
/// --sessions N of long work.
void add_sessions(CLI::App* sub, int& sessions);
std::int64_t parse_period(const std::string& text, const std::string& option);
UnixTime parse_time(const std::string& text, const std::string& option);

}  // namespace kmtool::cmd
