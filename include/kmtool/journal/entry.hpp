#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/core/json.hpp"
#include "kmtool/core/time.hpp"

namespace kmtool::journal {

/// Who did it, as the operating system says.
struct Actor {
  std::int64_t uid = 0;
  std::string user, host;
};

/// A catalog row set to a new value, or removed. The catalog is nothing but the changes of all entries applied in order.
struct Change {
  std::string kind;           ///< key, version, bundle, bundle-part, signer, trust, policy, intent
  std::string id;             ///< unique within its kind
  std::optional<Json> value;  ///< nullopt: removed
};

enum class Phase { intent, outcome, refusal, note };
std::string_view to_text(Phase phase);

/// What a caller hands in; the journal adds number, time, actor and the catalog's root.
struct Draft {
  Phase phase = Phase::note;
  std::string command, target;
  std::string result;                   ///< done, undone, failed, refused; empty for an intent
  std::optional<std::uint64_t> intent;  ///< of an outcome: the number of its intent
  bool authenticated = false;           ///< made while logged in to the token
  std::string policy_digest, config_digest;
  Json details = Json::object();
  std::vector<Change> changes;
};

/// An entry as it is stored: the bytes are what the tree's leaf hash is over. One line of JSON under 64 KiB (the tlog-tiles
/// format gives an entry a 16-bit length); a draft with more changes than that becomes several entries ("part": [i, n]).
struct Entry {
  std::uint64_t seq = 0;
  std::string bytes;
  [[nodiscard]] Json json() const;
};

inline constexpr std::size_t max_entry = 60000;

/// The lines of one draft, numbered from `first`; the last carries the catalog root as "catalog".
std::vector<std::string> encode(const Draft& draft, std::uint64_t first, UnixTime time, const Actor& actor,
                                const std::string& catalog_root);

}  // namespace kmtool::journal
