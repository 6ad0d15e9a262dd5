#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kmtool/core/time.hpp"
#include "kmtool/domain/role.hpp"
#include "kmtool/domain/state.hpp"

namespace kmtool::policy {

/// Originator and recipient usage periods in seconds (SP 800-57 part 1 r5, 5.3.6, table 1).
struct Cryptoperiod {
  std::int64_t originator = 0;
  std::int64_t recipient = 0;  ///< counted from the end of the originator period; 0: ends with it
};

/// What `apikey create`, `rotate` and `publish` go by.
struct ApiKeyPolicy {
  std::string prefix = "kmt";               ///< what keys begin with: 2…12 of [a-z0-9], a letter first
  bool allow_unrestricted = true;           ///< false: A-RESTRICT refuses keys that are for every address
  std::int64_t longest_life = 0;            ///< seconds from creation to expiry; 0: a key needs no expiry
  std::int64_t overlap = 7 * 86400;         ///< seconds that a rotated key goes on living
  std::int64_t snapshot_life = 2 * 86400;   ///< seconds after which a snapshot means deny
};

/// The values of policy.json; the defaults are STANDARDS.md's.
struct Policy {
  std::map<Role, Cryptoperiod> cryptoperiods;  ///< every role present; see default_policy()
  std::map<Role, std::int64_t> destroy_after;  ///< seconds after deactivation; a role that is absent: never
  std::map<Role, int> minimum_strength;        ///< bits; every role present, default 128, never under 112
  bool require_hardware = false;               ///< G-HW refuses software tokens
  std::string min_validation;                  ///< empty, `FIPS 140-2` or `FIPS 140-3`: G-GEN refuses less
  int min_validation_level = 0;                ///< 0…4
  std::set<std::string> forbidden_waivers;     ///< rule ids
  int sessions = 1;                            ///< 1…64, default of --sessions
  std::string checkpoint_sink;                 ///< where every checkpoint is sent: `syslog`, `file:/PATH`, `unix:/PATH`, `exec:/PATH ARGS`; empty: nowhere
  std::int64_t checkpoint_sink_wait = 10;      ///< seconds that a sink's command may take; 1…300
  ApiKeyPolicy api_keys;
};
Policy default_policy();

/// What `init --validation` recorded: `STANDARD:LEVEL:CERTIFICATE`, e.g. `FIPS 140-3:3:CMVP-4567`.
struct Validation {
  std::string standard;  ///< `FIPS 140-2` or `FIPS 140-3`
  int level = 0;         ///< 1…4
  std::string certificate;
  std::string text() const;
  /// Throws usage (64) with the expected form.
  static Validation parse(const std::string& text);
};

/// Facts about the token that rules judge.
struct TokenFacts {
  bool hardware = false;
  std::optional<Validation> validation = {};
};

/// Facts about one key version that rules judge.
struct KeyFacts {
  std::string label;  ///< `payments@3`
  Role role = Role::data;
  KeyType type = KeyType::aes256;
  int strength = 0;
  State state = State::active;
  bool exportable = false;
  std::optional<UnixTime> originator_end = {};  ///< end of the originator period
};

enum class Severity { low, medium, high, critical };
std::string_view to_text(Severity severity);
std::optional<Severity> severity_from(std::string_view text);

/// One rule broken, as `audit keys` would list it and as a command refuses it.
struct Violation {
  std::string rule;  ///< id of GUIDANCE.md
  Severity severity = Severity::high;
  std::string what;  ///< lower case, one line: names both strengths, the state, …
  std::string hint;
  bool waivable = false;
  bool refuses = true;            ///< false: reported only
  std::string waiver_names = {};  ///< what the waiver's reason must name (a certificate); empty: nothing
};

/// The rulebook: each function is asked at the door and again by audit. All pure.
std::vector<Violation> judge_token(const Policy& policy, const TokenFacts& token);  // G-HW, G-GEN
std::vector<Violation> judge_key(const Policy& policy, Role role, KeyType type, bool exportable,
                                 bool backup);  // strength minimum; G-SEALED: exportable sign keys
/// G-KEK (strength names both), state and originator period of the KEK (it wraps nothing new once either has ended), role of the
/// KEK (not waivable, G-SEALED), the key: KEKs are refused here (hint: export-kek), compromised/destroyed keys, non-exportable
/// keys (not waivable; hint: gen --exportable or --backup at birth).
std::vector<Violation> judge_wrap(const Policy& policy, const KeyFacts& kek, const KeyFacts& key, UnixTime now);
/// The same for a backup at birth, where the key's exportability does not matter.
std::vector<Violation> judge_backup(const Policy& policy, const KeyFacts& kek, const KeyFacts& key, UnixTime now);
/// May this KEK leave its token for a parent KEK, or for a transport key elsewhere (`to`, by its role)? G-KEK by strength, naming what could
/// carry it; G-SEALED (not waivable) where it is neither exportable nor just being born; G-WORK by the states of both.
std::vector<Violation> judge_export(const Policy& policy, const KeyFacts& to, const KeyFacts& kek, UnixTime now, bool at_birth);
/// May this KEK or transport key open a KEK that comes from elsewhere? Strength is reported: where it came from has decided on that.
std::vector<Violation> judge_import(const Policy& policy, const KeyFacts& opener, const KeyFacts& kek);
/// May this KEK unwrap (state may process)? Role kek.
std::vector<Violation> judge_unwrap(const Policy& policy, const KeyFacts& kek, const KeyFacts& key, UnixTime now);

/// `--waive RULE=REASON`
struct Waiver {
  std::string rule, reason;
  /// Throws usage (64): no `=`, empty reason, unknown rule id, control characters or more than 500 bytes in the reason.
  static Waiver parse(const std::string& text);
};
/// Throws refused (77, code = the rule id) for the first violation that refuses and is not waived; a waiver that policy forbids
/// or that names a rule which cannot be waived is refused too (saying so). Returns the waivers that were needed.
std::vector<Waiver> enforce(const Policy& policy, const std::vector<Violation>& violations, const std::vector<Waiver>& waivers);

/// Ids of GUIDANCE.md with their texts, in its order.
struct RuleText {
  std::string id, says, answers;
};
const std::vector<RuleText>& rules();
bool is_rule(const std::string& id);

/// End of the originator period of a key activated at `activated`: the request's own cryptoperiod (must be positive and not
/// longer than policy's for the role: else refused through a Violation of SP 800-57's limit in judge_period) or policy's.
UnixTime originator_end(const Policy& policy, Role role, UnixTime activated, std::optional<std::int64_t> requested);
std::vector<Violation> judge_period(const Policy& policy, Role role, std::int64_t requested);

}  // namespace kmtool::policy
