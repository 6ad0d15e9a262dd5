#include "apikey.hpp"
#include "kmtool/apikey/usage.hpp"

namespace kmtool::cmd {

namespace {

struct ListOptions {
  std::string app, state;
};

std::map<std::string, journal::UsageStore::Seen> seen_of(const op::Context& context) {
  const auto store = journal::UsageStore::open_existing(apikey::usage_database(context.home));
  return store ? store->seen() : std::map<std::string, journal::UsageStore::Seen>{};
}

std::optional<UnixTime> last_used(const std::map<std::string, journal::UsageStore::Seen>& seen, const std::string& id) {
  const auto found = seen.find(id);
  return found == seen.end() ? std::nullopt : found->second.last_allowed;
}

int list(Globals& globals, const ListOptions& o) {
  auto context = op::Context::open(options_of(globals), op::Need::reader);
  op::prove_reader(context);
  const auto seen = seen_of(context);
  const UnixTime now = context.now();
  Json json{{"keys", Json::array()}};
  Table table({{"ID"}, {"APP"}, {"ENVIRONMENT"}, {"STATE"}, {"EXPIRES"}, {"LAST USED"}, {"RESTRICTIONS", false, true}});
  for (const auto& record : apikey::api_keys(context)) {
    const auto& entry = record.entry;
    if ((!o.app.empty() && entry.app != o.app) || (!o.state.empty() && record.state(now) != o.state)) continue;
    const auto used = last_used(seen, entry.id);
    auto each = apikey_json(record, now);
    each["last_used"] = used ? Json(rfc3339(*used)) : Json(nullptr);
    json["keys"].push_back(std::move(each));
    table.row({entry.id, entry.app, entry.environment, record.state(now), day(entry.until ? entry.until : entry.expires), day(used), entry.restrictions->summary()});
  }
  if (json_wanted(globals)) {
    globals.out.json(json);
  } else if (!table.empty()) {
    globals.out.table(table);
  }
  return 0;
}

int show(Globals& globals, const std::string& id) {
  auto context = op::Context::open(options_of(globals), op::Need::reader);
  op::prove_reader(context);
  const auto record = apikey::find_api_key(context, id);
  const auto& entry = record.entry;
  const auto used = last_used(seen_of(context), id);
  auto json = apikey_json(record, context.now());
  json["last_used"] = used ? Json(rfc3339(*used)) : Json(nullptr);
  json["reason"] = record.reason;
  json["replaces"] = record.replaces;
  json["replaced_by"] = record.replaced_by;
  json["waivers"] = Json::array();
  for (const auto& waiver : record.waivers) json["waivers"].push_back({{"rule", waiver.rule}, {"reason", waiver.reason}});
  if (json_wanted(globals)) {
    globals.out.json(json);
    return 0;
  }
  Table table({{"WHAT"}, {"VALUE", false, true}});
  const auto row = [&](const char* what, const std::string& value) {
    if (!value.empty()) table.row({what, value});
  };
  const auto time = [&](const char* what, const std::optional<UnixTime>& at) { row(what, at ? rfc3339(*at) : ""); };
  row("id", entry.id);
  row("application", entry.app);
  row("environment", entry.environment);
  row("state", record.state(context.now()));
  time("created", entry.created);
  time("valid from", entry.not_before);
  time("expires", entry.expires);
  time("overlap ends", entry.until);
  time("revoked", record.revoked);
  row("reason", record.reason);
  row("replaces", record.replaces);
  row("replaced by", record.replaced_by);
  row("last used", used ? rfc3339(*used) : "never");
  const auto restrictions = entry.restrictions->to_json();
  for (const auto& [kind, value] : restrictions.items()) {
    if (!value.is_array()) row(kind.c_str(), value.is_string() ? value.get<std::string>() : dump_json(value));
    for (const auto& each : value.is_array() ? value : Json::array()) row(kind.c_str(), each.get<std::string>());
  }
  for (const auto& waiver : record.waivers) row("waiver", waiver.rule + ": " + waiver.reason);
  globals.out.table(table, false);
  return 0;
}

}  // namespace

void add_apikey_list(CLI::App& apikey, Globals& globals, Action& action) {
  auto* sub = apikey.add_subcommand("list", "the keys, without their secrets, which nobody has");
  auto o = std::make_shared<ListOptions>();
  sub->add_option("--app", o->app, "only those of this application")->type_name("APP");
  sub->add_option("--state", o->state, "only those in this state")
      ->check(CLI::IsMember({"live", "not yet valid", "in overlap", "replaced", "expired", "revoked"}))
      ->type_name("STATE");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return list(globals, *o); }; });
}

void add_apikey_show(CLI::App& apikey, Globals& globals, Action& action) {
  auto* sub = apikey.add_subcommand("show", "everything about one key");
  auto id = std::make_shared<std::string>();
  sub->add_option("id", *id, "the key's id")->required()->type_name("ID");
  sub->callback([&globals, &action, id] { action = [&globals, id] { return show(globals, *id); }; });
}

}  // namespace kmtool::cmd
