#pragma once
#include <functional>
#include <optional>
#include <string>

#include "kmtool/journal/journal.hpp"

/// The journal's entries as people and other programs read them. Nothing is proven here: verify_record() does that.
namespace kmtool::audit {

struct LogFilter {
  std::optional<UnixTime> since, until;  ///< since ≤ time < until
  std::string key;                       ///< a name or a version (`payments`, `payments@3`): what was done to it
  std::string command;                   ///< its first words
  std::string user;
  std::string result;                    ///< done, undone, failed, refused, or intent for what has no result
  std::optional<std::uint64_t> last;     ///< only so many, the newest
  /// Throws damaged (65) for an entry that is not one.
  [[nodiscard]] bool passes(const journal::Entry& entry) const;
};
/// Visits what passes, oldest first, in flat memory; `from`: the first entry looked at. Returns the number after the last entry there was.
std::uint64_t each_passing(const journal::Journal& journal, std::uint64_t from, const LogFilter& filter,
                           const std::function<bool(const journal::Entry&)>& visit);

/// Lines without LF, safe for a terminal whatever the entry holds.
std::string log_line(const journal::Entry& entry);   ///< columns for people
std::string log_heading();
/// What an entry's details say in a few words: the error of a refusal, a reason, what changed in the policy. Not yet safe for a terminal.
std::string log_remark(const Json& details);
/// The entry itself, byte for byte (its leaf hash can be made from it); only what a terminal would obey is spelled \uNNNN.
std::string log_jsonl(const journal::Entry& entry);
std::string log_ocsf(const journal::Entry& entry, const std::string& origin);  ///< OCSF 1.3: Entity Management (3004), API Activity (6003) for the use of keys
std::string ascii_json(const Json& json);  ///< on one line, all else as \uNNNN
std::string log_cef(const journal::Entry& entry, const std::string& origin);   ///< ArcSight Common Event Format, version 0

}  // namespace kmtool::audit
