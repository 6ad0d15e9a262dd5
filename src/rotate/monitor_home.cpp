#include "rotate/monitor_home.hpp"

#include <algorithm>

#include "kmtool/core/count.hpp"
#include "kmtool/home/refused_pin.hpp"
#include "kmtool/op/admin.hpp"

namespace kmtool::rotate {

namespace {

constexpr int warning = 1, critical = 2;

/// The room of API keys is none that this one may look into; their rows say enough.
struct ApiKeyRow {
  std::string id, app;
  bool alive = false;
  std::string last_change;
  std::uint64_t entry = 0;
};

ApiKeyRow api_key_of(const journal::Item& item, UnixTime now) {
  const Json row = item.json();
  const auto text = [&row](const char* name) {
    const auto found = row.find(name);
    return found != row.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const auto past = [&](const char* name) {
    const auto time = parse_rfc3339(text(name));
    return time && *time <= now;
  };
  const bool revoked = !text("revoked").empty();
  ApiKeyRow key{item.id, text("app"), !revoked && !past("until") && !past("expires"), "created", item.seq};
  if (revoked) key.last_change = "revoked";
  else if (!text("replaced_by").empty()) key.last_change = "replaced by " + text("replaced_by");
  return key;
}

/// A gateway that has a snapshot denies everything once it has expired, and knows nothing of what came after it.
void look_at_snapshot(op::Context& reader, std::vector<HomeFinding>& findings) {
  const auto last = reader.journal().proven("apikey-snapshot", "last");
  if (!last) return;
  const Json row = last->json();
  const auto created = parse_rfc3339(row.value("created", "")), not_after = parse_rfc3339(row.value("not_after", ""));
  const auto now = reader.now();
  bool any_alive = false;
  std::vector<std::string> unpublished;
  reader.journal().each_proven("apikey", [&](const journal::Item& item) {
    const auto key = api_key_of(item, now);
    any_alive = any_alive || key.alive;
    if (key.entry > last->seq) unpublished.push_back("api key " + key.id + " of " + key.app + " was " + key.last_change + " after the last snapshot: kmtool apikey publish");
  });
  if (!unpublished.empty()) findings.push_back({warning, counted(unpublished.size(), "change of API keys is", "changes of API keys are") + " not published", unpublished});
  if (!any_alive || !not_after) return;  // where no key works there is nothing that an expired snapshot could deny
  const auto left = *not_after - now;
  const auto life = *not_after - created.value_or(now);
  const std::string line = row.value("path", "the snapshot") + " until " + rfc3339(*not_after) + ": kmtool apikey publish";
  if (left <= 0) {
    findings.push_back({critical, "the published API key snapshot has expired: gateways deny everything", {line}});
  } else if (left <= std::min<std::int64_t>(86400, life / 4)) {
    findings.push_back({warning, "the published API key snapshot expires at " + rfc3339(*not_after), {line}});
  }
}

void look_at_pin(op::Context& reader, std::vector<HomeFinding>& findings) {
  const auto& named = reader.options.pin_source.empty() ? reader.home.config.pin_source : reader.options.pin_source;
  const auto source = named.empty() || named == "protected" ? home::PinSource{} : home::PinSource::parse(named);
  switch (home::pin_note(reader.home.paths, source)) {
    case home::PinNote::none: return;
    case home::PinNote::refused:
      findings.push_back({critical, "the PIN was refused: jobs fail (77)", {"the token refused the PIN" + (source.kind == home::PinSource::Kind::file ? " in " + source.value : std::string(" file")) +
                                                                             ", and nobody has logged in since: put the right PIN into it"}});
      return;
    case home::PinNote::changed:
      findings.push_back({warning, "a PIN was refused, and the one that is there now was not tried yet", {"the next command that logs in with the PIN in " + source.value + " tells"}});
  }
}

/// Where the policy is not the accepted one, its sink is not the one that counts either.
void look_at_policy(op::Context& reader, std::vector<HomeFinding>& findings) {
  if (const auto trouble = op::policy_trouble(reader)) {
    const std::string what = op::policy_missing(reader) ? "policy.json is missing" : "policy.json was changed and is not accepted";
    findings.push_back({critical, what + ": commands that change something fail (78)", {trouble->what + ": " + trouble->fix}});
  } else if (const auto unsent = op::unsent_entries(reader); unsent > 0) {
    findings.push_back({critical, "the checkpoint sink has not got the newest " + counted(unsent, "entry", "entries") + ": while it takes none, mutations fail (74)",
                        {reader.home.policy.checkpoint_sink + ": whatever changes something next sends the newest checkpoint first"}});
  }
}

}  // namespace

std::vector<HomeFinding> home_findings(op::Context& reader) {
  std::vector<HomeFinding> findings;
  look_at_policy(reader, findings);
  look_at_pin(reader, findings);
  look_at_snapshot(reader, findings);
  return findings;
}

}  // namespace kmtool::rotate
