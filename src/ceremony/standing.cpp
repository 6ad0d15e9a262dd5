#include "ceremony/standing.hpp"

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/json.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::ceremony {

namespace {

constexpr const char* phases[] = {"ready", "begun", "ran", "closing"};
constexpr std::int64_t most = std::int64_t{1} << 53;

Standing from_row(const journal::Item& item) {
  const Json json = item.json();
  JsonReader reader(json, [&item](const std::string& what) {
    throw Error::tampered("catalog row ceremony " + item.id + ": " + what, "run kmtool doctor");
  });
  Standing standing;
  standing.id = item.id;
  standing.transcript = reader.text("transcript");
  standing.runbook = reader.text("runbook");
  standing.conductor = reader.text("operator");
  standing.witness = reader.text("witness");
  if (reader.has("operator_initials")) standing.conductor_initials = reader.text("operator_initials");
  if (reader.has("witness_initials")) standing.witness_initials = reader.text("witness_initials");
  standing.begun = reader.integer("begun", 0, most);
  standing.done = static_cast<std::size_t>(reader.integer("done", 0, most));
  standing.deviations = static_cast<std::size_t>(reader.integer("deviations", 0, most));
  const auto phase = reader.text("phase");
  bool known = false;
  for (std::size_t i = 0; i < std::size(phases); ++i) {
    if (phase != phases[i]) continue;
    standing.phase = static_cast<Standing::Phase>(i);
    known = true;
  }
  if (!known) reader.fail("unknown phase");
  standing.since = static_cast<std::uint64_t>(reader.integer("since", 0, most));
  standing.exit = static_cast<int>(reader.integer("exit", 0, 255));
  standing.problems = reader.texts("problems");
  standing.size = static_cast<std::uint64_t>(reader.integer("size", 0, most));
  standing.digest = reader.text("digest");
  reader.finish();
  return standing;
}

}  // namespace

journal::Change Standing::change() const {
  Json json{{"transcript", transcript}, {"runbook", runbook},
            {"operator", conductor},    {"witness", witness},
            {"begun", begun},           {"done", done},
            {"deviations", deviations}, {"phase", phases[static_cast<std::size_t>(phase)]},
            {"since", since},           {"exit", exit}};
  json["problems"] = Json::array();
  for (const auto& problem : problems) json["problems"].push_back(problem.substr(0, 500));
  if (!conductor_initials.empty()) json["operator_initials"] = conductor_initials;
  if (!witness_initials.empty()) json["witness_initials"] = witness_initials;
  json["size"] = size;
  json["digest"] = digest;
  return {"ceremony", id, json};
}

std::optional<Standing> open_ceremony(op::Context& context, const std::string& transcript) {
  for (const auto& item : context.journal().proven_all("ceremony")) {
    auto standing = from_row(item);
    if (standing.transcript == transcript) return standing;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> entry_of(op::Context& context, std::uint64_t since, const std::vector<std::string>& argv) {
  std::optional<std::uint64_t> found;
  context.journal().each_entry(since, [&](const journal::Entry& entry) {
    const Json json = entry.json();
    const auto text = [&json](const char* field) {
      return json.contains(field) && json[field].is_string() ? json[field].get<std::string>() : std::string();
    };
    const auto command = split(text("command"), ' ');
    const auto phase = text("phase");
    // What an operation calls itself in the journal begins with the command's own first word.
    if ((phase == "outcome" || phase == "note") && text("result") == "done" && command[0] == argv[0]) found = entry.seq;
    return true;
  });
  return found;
}

}  // namespace kmtool::ceremony
