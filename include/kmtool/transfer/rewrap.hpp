#pragma once
#include <optional>
#include <string>
#include <vector>

#include "kmtool/op/context.hpp"

namespace kmtool::transfer {

/// A bundle that shall change its KEKs.
struct RewrapRequest {
  std::vector<op::BundleRecord> bundles;  ///< catalogued ones; an `id` that is empty: a file named by hand, catalogued afterwards
  std::string kek;                        ///< the key whose old versions give way to its active one
  bool keep = false;                      ///< the old file stays beside the new one as FILE.@VERSION until a drill is confirmed
  int sessions = 0;                       ///< in flight; 0: the policy's
  std::optional<op::VersionRecord> to_come = {};  ///< in a dry run of a rotation: the version that will be the active one
};
struct Rewrapped {
  std::string file;
  std::uint64_t records = 0;
  std::string kept = {};                ///< where the old file lies beside; empty: it was replaced
  std::vector<std::string> keys = {};  ///< labels; in a dry run only
};
/// A bundle that was not re-wrapped: it cannot be (it is not here, another recipient's KEK is not on this token…), or it failed.
struct NotRewrapped {
  std::string file, why;
  bool failed = false;
};
struct RewrapResult {
  std::vector<Rewrapped> done;
  std::vector<NotRewrapped> left;
  std::vector<std::string> notes;  ///< keys that were called compromised since their bundle was written
};

/// Moves bundles from old versions of a KEK to its active version. Each bundle is proven (signature of a trusted signer, seal), then its values are
/// opened under the old KEK as session objects in the token and wrapped under the new; the result is sealed, signed, written beside
/// and renamed over. A record says the state of its key as the catalog has it now: what was called compromised or suspended since then
/// is not active elsewhere (SP 800-57 part 1 r5, 7). Each bundle stands alone: it is wholly old or wholly new. A fault of the token or of the disk ends it with what was
/// done recorded (throws); a damaged bundle is left as it is and named. In a dry run nothing but the looking.
RewrapResult rewrap(op::Context& context, const RewrapRequest& request);

}  // namespace kmtool::transfer
