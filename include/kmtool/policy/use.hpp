#pragma once
#include "kmtool/policy/policy.hpp"

namespace kmtool::policy {

/// What a command wants a key for. The first of a pair protects, the second processes what was protected.
enum class Use { encrypt, decrypt, mac, verify_mac, sign };

std::string_view to_text(Use use);  ///< `encrypt`, `decrypt`, `mac`, `verify`, `sign`
bool protects(Use use);
Role role_for(Use use);

/// May this key do it? G-SEALED: one key, one role, never waivable. G-WORK: its state; protecting also ends with the originator period
/// (SP 800-57 part 1 r5, 5.3.6 and 7), and that a key is compromised or past its recipient period is reported where it processes.
std::vector<Violation> judge_use(const Policy& policy, const KeyFacts& key, Use use, UnixTime now);

/// How often one key version may be used with AES-GCM and random IVs here. SP 800-38D, 8.3: at most 2^32 invocations for all copies of
/// a key together, and homes that hold copies cannot ask each other. So the number is divided beforehand:
///   2^31  for the home that made the key
///   2^24  for every other copy (restored, or adopted with a past that nobody knows): room for 128 of them, 1 TiB each
enum class Origin { here, copy };
std::uint64_t gcm_invocations(Origin origin);

}  // namespace kmtool::policy
