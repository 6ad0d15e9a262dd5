#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/crypto/digest.hpp"
#include "kmtool/home/policy_changes.hpp"
#include "kmtool/op/admin.hpp"
#include "op/sink.hpp"

namespace kmtool::op {

namespace {

/// An entry holds the row, and in its details the old and the new values: all of it must fit.
constexpr std::size_t longest_recorded = 12000;

constexpr const char* put_back = "put it back from a backup of the home (sqlite3 -A -x -f BACKUP policy.json), or for the defaults on purpose write {} into it; then kmtool policy accept";

std::optional<std::string> missing(const home::Paths& paths) {
  std::error_code ignored;
  if (!std::filesystem::exists(paths.policy(), ignored)) return "policy.json is missing from the home " + paths.root.string();
  if (std::filesystem::file_size(paths.policy(), ignored) == 0) return paths.policy().string() + " is empty";
  return std::nullopt;
}

/// The text that the digest is of: what is recorded must be what was read at the start.
std::string policy_text(const Context& context) {
  const auto& paths = context.home.paths;
  if (const auto what = missing(paths)) throw Error::config(*what, put_back);
  auto text = read_trusted(paths.policy());
  if (hex(crypto::sha256(view(text))) == context.home.policy_digest) return text;
  throw Error::busy("policy.json was changed while it was being accepted", "look at it with kmtool policy show, then try again");
}

/// Where the text is too long for an entry, its fields alone.
std::string recorded_text(const std::string& text) {
  const auto fits = [](const std::string& any) { return dump_json(Json(any)).size() <= longest_recorded; };
  if (fits(text)) return text;
  auto fields = dump_json(home::policy_fields(text));
  if (fits(fields)) return fields;
  throw Error::config("policy.json is too long to be put on record: its fields take more than " + std::to_string(longest_recorded) + " bytes", "shorten it");
}

std::optional<journal::Item> accepted_row(Context& context) {
  auto& state = context.state();
  return state.proven ? state.journal->proven("policy", "accepted") : state.journal->item("policy", "accepted");
}

Json details_of(const std::optional<std::string>& before, const std::string& after) {
  if (!before) return {{"policy", home::policy_fields(after)}};
  Json changed = Json::array();
  for (const auto& [field, old_value, new_value] : home::policy_changes(*before, after)) changed.push_back({{"field", field}, {"old", old_value}, {"new", new_value}});
  return {{"changed", changed}};
}

}  // namespace

std::optional<PolicyTrouble> policy_trouble(const home::Paths& paths, const std::string& digest, const std::optional<journal::Item>& accepted) {
  if (accepted && accepted->json().value("digest", "") == digest) return std::nullopt;
  if (auto what = missing(paths)) return PolicyTrouble{*std::move(what), put_back};
  return PolicyTrouble{"policy.json has changed since it was accepted", "look at it with kmtool policy show, then kmtool policy accept"};
}

std::optional<PolicyTrouble> policy_trouble(Context& context) { return policy_trouble(context.home.paths, context.home.policy_digest, accepted_row(context)); }

bool policy_accepted(Context& context) { return !policy_trouble(context); }

bool policy_missing(const Context& context) { return missing(context.home.paths).has_value(); }

void require_accepted_policy(Context& context) {
  if (const auto trouble = policy_trouble(context)) throw Error::config(trouble->what, trouble->fix);
}

std::optional<std::string> accepted_policy_text(Context& context) {
  const auto row = accepted_row(context);
  if (!row) return std::nullopt;
  const Json json = row->json();
  const auto text = json.find("text");
  if (text == json.end() || !text->is_string()) return std::nullopt;
  return text->get<std::string>();
}

journal::Change policy_row(const Context& context) {
  return {"policy", "accepted", Json{{"digest", context.home.policy_digest}, {"text", recorded_text(policy_text(context))}}};
}

Acceptance accept_policy(Context& context) {
  if (policy_accepted(context)) return {};
  auto row = policy_row(context);
  auto details = details_of(accepted_policy_text(context), policy_text(context));
  if (context.options.dry_run) return {true, {}};
  const auto& digest = context.home.policy_digest;
  const bool switched = outgoing_sink(context).has_value();
  add_incoming_sink(context);
  if (!switched) {
    context.note("policy accept", digest, std::move(details), {std::move(row)});
    return {true, {}};
  }
  // The sink that is switched off, or to another place, learns what will be accepted before it is: whoever holds the PIN cannot end the
  // watch unseen.
  Plan plan;
  plan.command = "policy accept";
  plan.target = digest;
  plan.details = details;
  context.run(plan, [&] {
    if (const auto& untold = context.state().untold; !untold.empty()) details["untold"] = untold;
    return Outcome{{std::move(row)}, std::move(details)};
  });
  drop_outgoing_sink(context);
  return {true, context.state().untold};
}

}  // namespace kmtool::op
