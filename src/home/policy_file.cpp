#include <algorithm>

#include "kmtool/core/text.hpp"
#include "kmtool/home/home.hpp"

namespace kmtool::home {

namespace {

constexpr std::int64_t year = 365 * 86400;

std::int64_t read_duration(JsonReader& reader, const std::string& name, std::int64_t fallback, bool zero_allowed) {
  const auto text = reader.optional_text(name);
  if (!text) return fallback;
  if (zero_allowed && *text == "0") return 0;
  const auto seconds = parse_duration(*text);
  if (!seconds) reader.fail("\"" + name + "\" is not a duration such as 90d or 1y");
  return *seconds;
}

void read_cryptoperiods(const Json& json, const JsonFail& fail, policy::Policy& policy) {
  JsonReader roles(json, fail, "cryptoperiods");
  for (const Role role : all_roles()) {
    const Json* entry = roles.optional_any(std::string(to_text(role)));
    if (entry == nullptr) continue;
    JsonReader reader(*entry, fail, "cryptoperiods." + std::string(to_text(role)));
    auto& period = policy.cryptoperiods[role];
    period.originator = read_duration(reader, "originator", period.originator, false);
    period.recipient = read_duration(reader, "recipient", period.recipient, true);
    // SP 800-57 part 1 r5, 5.3.6, table 1: longer than these is not a policy kmtool carries out.
    const std::int64_t limit = role == Role::sign ? 3 * year : 2 * year;
    if (period.originator > limit) {
      reader.fail("originator is longer than SP 800-57 allows for this role (" + duration_text(limit) + ")");
    }
    if (period.recipient > 3 * year) reader.fail("recipient is longer than the 3y that SP 800-57 allows");
    reader.finish();
  }
  roles.finish();
}

void read_api_keys(const Json& json, const JsonFail& fail, policy::ApiKeyPolicy& policy) {
  JsonReader reader(json, fail, "api_keys");
  if (const auto prefix = reader.optional_text("prefix")) {
    const auto good = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
    const bool fits = prefix->size() >= 2 && prefix->size() <= 12 && std::all_of(prefix->begin(), prefix->end(), good) && (*prefix)[0] >= 'a';
    if (!fits) reader.fail("\"prefix\" is not 2 to 12 small letters and digits, a letter first");
    policy.prefix = *prefix;
  }
  policy.allow_unrestricted = reader.optional_boolean("allow_unrestricted").value_or(policy.allow_unrestricted);
  policy.longest_life = read_duration(reader, "longest_life", policy.longest_life, true);
  policy.overlap = read_duration(reader, "overlap", policy.overlap, true);
  policy.snapshot_life = read_duration(reader, "snapshot_life", policy.snapshot_life, false);
  reader.finish();
}

void read_sink(JsonReader& reader, policy::Policy& policy) {
  if (const auto sink = reader.optional_text("checkpoint_sink")) {
    const bool path = sink->starts_with("file:/") || sink->starts_with("unix:/") || sink->starts_with("exec:/");
    const bool fits = sink->size() <= 4000 && printable(*sink) == *sink;
    if ((*sink != "syslog" && !path) || !fits) reader.fail("\"checkpoint_sink\" must be \"syslog\", \"file:/PATH\", \"unix:/PATH\" or \"exec:/PATH ARGUMENTS\"");
    policy.checkpoint_sink = *sink;
  }
  constexpr std::int64_t longest = 300;
  policy.checkpoint_sink_wait = read_duration(reader, "checkpoint_sink_wait", policy.checkpoint_sink_wait, false);
  if (policy.checkpoint_sink_wait > longest) reader.fail("\"checkpoint_sink_wait\" is longer than " + duration_text(longest));
}

}  // namespace

policy::Policy parse_policy(const std::string& text, const std::string& name) {
  const JsonFail fail = [&name](const std::string& what) {
    throw Error::config(name + ": " + what, "mend the file, then kmtool policy accept");
  };
  const Json json = parse_json(text, fail, {.comments = true});
  JsonReader reader(json, fail);
  policy::Policy policy = policy::default_policy();
  if (const Json* periods = reader.optional_any("cryptoperiods")) read_cryptoperiods(*periods, fail, policy);
  if (const Json* strengths = reader.optional_any("minimum_strength")) {
    JsonReader roles(*strengths, fail, "minimum_strength");
    for (const Role role : all_roles()) {
      const auto bits = roles.optional_integer(std::string(to_text(role)), 112, 256);
      if (bits) policy.minimum_strength[role] = static_cast<int>(*bits);
    }
    roles.finish();
  }
  if (const Json* after = reader.optional_any("destroy_after")) {
    JsonReader roles(*after, fail, "destroy_after");
    for (const Role role : all_roles()) {
      const auto time = read_duration(roles, std::string(to_text(role)), -1, true);
      if (time >= 0) policy.destroy_after[role] = time;
    }
    roles.finish();
  }
  policy.require_hardware = reader.optional_boolean("require_hardware").value_or(policy.require_hardware);
  if (const auto validation = reader.optional_text("min_validation")) {
    if (*validation != "FIPS 140-2" && *validation != "FIPS 140-3") reader.fail("\"min_validation\" must be \"FIPS 140-2\" or \"FIPS 140-3\"");
    policy.min_validation = *validation;
  }
  policy.min_validation_level = static_cast<int>(reader.optional_integer("min_validation_level", 0, 4).value_or(0));
  if (reader.has("forbidden_waivers")) {
    for (const auto& rule : reader.texts("forbidden_waivers")) {
      if (!policy::is_rule(rule)) reader.fail("\"forbidden_waivers\" names \"" + rule + "\", which is not a rule");
      policy.forbidden_waivers.insert(rule);
    }
  }
  read_sink(reader, policy);
  if (const Json* keys = reader.optional_any("api_keys")) read_api_keys(*keys, fail, policy.api_keys);
  policy.sessions = static_cast<int>(reader.optional_integer("sessions", 1, 64).value_or(policy.sessions));
  reader.finish();
  return policy;
}

std::string default_policy_text() {
  return R"(// kmtool policy: see kmtool-policy(5). After a change: kmtool policy show, then kmtool policy accept.
{
  // SP 800-57 part 1 r5, 5.3.6: how long a key protects (originator), and how long after that it may still process (recipient).
  "cryptoperiods": {
    "kek":       {"originator": "1y", "recipient": "3y"},
    "data":      {"originator": "1y", "recipient": "3y"},
    "mac":       {"originator": "1y", "recipient": "3y"},
    "sign":      {"originator": "2y", "recipient": "0"},
    "transport": {"originator": "2y", "recipient": "0"}
  },
  // Bits of security strength (SP 800-57 part 1 r5, tables 2 and 3); never under 112.
  "minimum_strength": {"kek": 128, "data": 128, "mac": 128, "sign": 128, "transport": 128},
  // How long after its deactivation rotate --due destroys a version, e.g. {"mac": "3y"}; roles that are not named: never.
  // A kek is not destroyed while a bundle needs it.
  "destroy_after": {},
  // true: refuse software tokens (G-HW).
  "require_hardware": false,
  // null, "FIPS 140-2" or "FIPS 140-3": refuse tokens whose recorded validation is less (G-GEN).
  "min_validation": null,
  "min_validation_level": 0,
  // Rules for which --waive is not accepted, e.g. ["G-KEK"].
  "forbidden_waivers": [],
  // Where every checkpoint is sent, so that whoever holds the PIN cannot rewrite the record unnoticed: "syslog", "file:/PATH" (a file or
  // FIFO), "unix:/PATH" (a datagram socket), "exec:/PATH ARGUMENTS" (on standard input). While it cannot be sent, nothing is done.
  "checkpoint_sink": null,
  "checkpoint_sink_wait": "10s",
  // Sessions in flight for long work; more than 1 pays on networked HSMs only.
  "sessions": 1,
  // API keys: what they begin with; may one be for every address (apikey create --unrestricted); the longest time to its expiry
  // (0: it needs none); how long a rotated one goes on living; after how long a published snapshot means deny.
  "api_keys": {"prefix": "kmt", "allow_unrestricted": true, "longest_life": "0", "overlap": "7d", "snapshot_life": "2d"}
}
)";
}

}  // namespace kmtool::home
