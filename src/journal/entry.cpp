#include "kmtool/journal/entry.hpp"

#include "kmtool/core/error.hpp"

namespace kmtool::journal {

std::string_view to_text(Phase phase) {
  switch (phase) {
    case Phase::intent: return "intent";
    case Phase::outcome: return "outcome";
    case Phase::refusal: return "refusal";
    case Phase::note: return "note";
  }
  return "note";
}

Json Entry::json() const {
  const std::uint64_t number = seq;
  return parse_json(bytes, [number](const std::string& what) {
    throw Error::tampered("journal entry " + std::to_string(number) + ": " + what);
  });
}

namespace {

Json change_json(const Change& change) {
  Json json;
  json["kind"] = change.kind;
  json["id"] = change.id;
  json["value"] = change.value ? *change.value : Json(nullptr);
  return json;
}

Json frame(const Draft& draft, std::uint64_t seq, UnixTime time, const Actor& actor) {
  Json json;
  json["kmjournal"] = 1;
  json["seq"] = seq;
  json["time"] = rfc3339(time);
  json["actor"] = {{"uid", actor.uid}, {"user", actor.user}, {"host", actor.host}};
  json["command"] = draft.command;
  json["target"] = draft.target;
  json["phase"] = to_text(draft.phase);
  if (!draft.result.empty()) json["result"] = draft.result;
  if (draft.intent) json["intent"] = *draft.intent;
  json["authenticated"] = draft.authenticated;
  json["policy"] = draft.policy_digest;
  json["config"] = draft.config_digest;
  return json;
}

/// Changes in groups that fit an entry each; at least one (perhaps empty) group.
std::vector<Json> groups_of(const Draft& draft, std::size_t room) {
  std::vector<Json> groups(1, Json::array());
  std::size_t used = 0;
  for (const auto& change : draft.changes) {
    Json json = change_json(change);
    const std::size_t size = dump_json(json).size() + 1;
    if (size > room) throw Error::internal("a catalog row of " + std::to_string(size) + " bytes does not fit a journal entry");
    if (used + size > room) {
      groups.push_back(Json::array());
      used = 0;
    }
    groups.back().push_back(std::move(json));
    used += size;
  }
  return groups;
}

}  // namespace

std::vector<std::string> encode(const Draft& draft, std::uint64_t first, UnixTime time, const Actor& actor,
                                const std::string& catalog_root) {
  const std::size_t fixed = dump_json(frame(draft, first, time, actor)).size() + dump_json(draft.details).size() + 256;
  if (fixed > max_entry / 2) throw Error::internal("the details of a journal entry are too long");
  const auto groups = groups_of(draft, max_entry - fixed);
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    Json json = frame(draft, first + i, time, actor);
    if (groups.size() > 1) json["part"] = {i + 1, groups.size()};
    json["details"] = draft.details;
    json["changes"] = groups[i];
    if (draft.authenticated && i + 1 == groups.size()) json["catalog"] = catalog_root;
    lines.push_back(dump_json(json));
  }
  return lines;
}

}  // namespace kmtool::journal
