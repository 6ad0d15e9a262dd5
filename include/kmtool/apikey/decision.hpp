#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kmtool/apikey/format.hpp"
#include "kmtool/apikey/request.hpp"
#include "kmtool/apikey/restrictions.hpp"

namespace kmtool::apikey {

/// Every reason there is, in the order in which they are looked at. The words are a contract (JSON, metrics, headers).
enum class Rule : std::uint8_t {
  none,        ///< allowed
  missing,     ///< no key was given
  format,      ///< not of the form of a key
  checksum,    ///< of that form, but its check is wrong: mistyped or cut
  unknown,     ///< no key has this id
  secret,      ///< the id is known, the rest is not its key
  revoked,     ///< it was revoked
  replaced,    ///< it was rotated and the overlap is over
  not_before,  ///< not valid yet
  expired,
  ip,
  referrer,
  android,
  ios,
  scope,
  window,      ///< outside its hours
  rate,
};
inline constexpr std::size_t rule_count = 17;
/// `none`, `missing`, `format`, … `not-before`, … `rate`.
std::string_view to_text(Rule rule);
std::optional<Rule> rule_from(std::string_view text);
/// Asserted by the client itself (referrer, android, ios): a wrong one proves something, a right one proves nothing.
bool is_advisory(Rule rule);
/// Nobody has proven to hold a key: 401. Else, but for `none` and `rate` (429), 403.
bool is_unauthenticated(Rule rule);

/// A key as decisions see it.
struct KeyEntry {
  std::string id, app, environment;
  KeyDigest digest{};
  bool revoked = false;
  std::optional<UnixTime> not_before;  ///< valid from this second on
  std::optional<UnixTime> expires;     ///< the first second in which it is not valid
  std::optional<UnixTime> until;       ///< rotated: the first second after the overlap
  SharedRestrictions restrictions;
  UnixTime created = 0;
};

/// Keys by id. Immutable once built; any number of threads may read it.
///
/// A lookup reads exactly one bucket of eight slots whole, without a branch on what it finds, and always ends at an entry: an unknown id
/// is given another one's, chosen by the id. So that what follows takes the same time for ids that exist and for ids that do not.
class KeyTable {
 public:
  KeyTable() : KeyTable(std::vector<KeyEntry>{}) {}
  /// Throws damaged (65) where an id occurs twice or is none.
  explicit KeyTable(std::vector<KeyEntry> entries);
  struct Found {
    const KeyEntry* entry = nullptr;  ///< never null; only to be looked into where `known`, but its digest may be compared
    std::uint32_t index = 0;          ///< of entry in entries()
    bool known = false;
  };
  [[nodiscard]] Found find(std::uint64_t id_number) const noexcept;
  [[nodiscard]] const std::vector<KeyEntry>& entries() const noexcept { return entries_; }
  /// Number of keys (entries() has one more where there are none).
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  static constexpr std::size_t slots = 8;
  static constexpr std::uint64_t no_id = ~std::uint64_t{0};
  struct alignas(64) Bucket {
    std::array<std::uint64_t, slots> ids;
  };
  struct Places {
    std::array<std::uint32_t, slots> index;
  };
  [[nodiscard]] std::size_t bucket_of(std::uint64_t id) const noexcept;
  bool fill();
  std::vector<KeyEntry> entries_;
  std::vector<Bucket> buckets_;
  std::vector<Places> places_;
  std::size_t size_ = 0;
  std::uint64_t seed_ = 0;
  int bits_ = 0;
};

/// Gives out tokens of the rate limit. Implemented by who keeps the buckets (serve: in memory; check: in the usage database).
class RateGate {
 public:
  virtual ~RateGate() = default;
  /// Takes a token for this key, or says how long to wait. `only_look`: nothing is taken (explain).
  struct Answer {
    bool allowed = true;
    std::int64_t retry_after = 0;  ///< seconds; 0 where allowed
  };
  virtual Answer ask(const KeyEntry& key, std::uint32_t index, std::int64_t microseconds, bool only_look) = 0;
};

/// One rule's verdict, for explain.
struct RuleVerdict {
  enum class Says { holds, fails, not_restricted, not_reached, not_checked } says = Says::not_reached;
  Rule rule = Rule::none;
  bool advisory = false;
  std::string detail;  ///< lower case, one line: what was wanted and what was given; foreign text in it is printable()
};
std::string_view to_text(RuleVerdict::Says says);

struct Verdict {
  bool allowed = false;
  Rule rule = Rule::missing;      ///< the first that failed; none where allowed
  const KeyEntry* key = nullptr;  ///< whose key it is; null until the secret has been proven (id, app and counts are only told then)
  std::uint32_t index = 0;        ///< of key in the table
  std::int64_t retry_after = 0;   ///< seconds, with Rule::rate
  /// Of a denial without proof of a key: the id that was named, where the table has it (usage counts it); else empty.
  std::string_view named_id;
  /// `denied by ip`, and the like: for people; the detail is in explain().
  [[nodiscard]] std::string reason() const;
};

/// Decides; stops at the first rule that fails. The work up to and including the comparison of digests is the same for an unknown id and a
/// wrong secret. Never throws for anything that is in key or request. `gate` may be null: then rates are not limited.
Verdict decide(const KeyTable& table, std::string_view key, const Request& request, RateGate* gate);

/// Decides in the same order, and says what every rule says. Takes no token of the rate limit; without a gate a rate is `not checked`.
struct Explanation {
  Verdict verdict;
  std::vector<RuleVerdict> rules;
};
Explanation explain(const KeyTable& table, std::string_view key, const Request& request, RateGate* gate);

}  // namespace kmtool::apikey
