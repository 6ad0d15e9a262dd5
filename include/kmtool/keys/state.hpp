#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/op/context.hpp"

namespace kmtool::keys {

/// The verbs of `state`, one a kind of transition (SP 800-57 part 1 r5, 7).
enum class Transition { activate, suspend, resume, deactivate, compromise, destroy };
std::optional<Transition> transition_from(std::string_view text);

/// The version that a person was asked about, and what was said to be lost with it.
struct Confirmed {
  Bytes id;
  State state = State::active;
  std::vector<std::string> losses;
};

struct StateRequest {
  std::string key;  ///< reference; where it was confirmed, the label
  Transition transition = Transition::deactivate;
  std::string reason;
  std::optional<Confirmed> confirmed = {};                     ///< destroy: throws busy (75) where something else would be destroyed by now, or more be lost
  std::function<void(const std::string&)> tell_loss = nullptr;  ///< destroy, not confirmed: hears of each of losses() before anything is done
};
struct StateResult {
  op::VersionRecord version;                  ///< as it is now
  std::optional<op::VersionRecord> replaced;  ///< activate: the version that was active until now
  std::vector<op::BundleRecord> affected;     ///< compromise: the bundles that hold it, or need it (KEK)
  std::vector<op::VersionRecord> also;        ///< compromise: restored copies and originals, which are the same key: compromised with it
  std::vector<op::VersionRecord> others;      ///< suspend, deactivate, destroy: versions that are the same key, and stay as they are
  std::vector<std::string> exposed = {};      ///< compromise of a KEK: labels of active keys that were ever under it, which must be rotated
};

/// What would be lost with the objects of this version: one text each; empty when every bundle that needs it can be opened
/// otherwise, and it is itself in a bundle or on the token once more. A bundle that the last verification found bad, or that should lie on
/// this host and does not, holds nothing.
std::vector<std::string> losses(op::Context& context, const op::VersionRecord& version);
/// True when the catalog has bundles with this key, not a KEK, and the last verification found every one of them bad.
bool only_bad_bundles(op::Context& context, const op::VersionRecord& version);

/// Makes one transition, recorded with time and reason. Activating a version deactivates the one that was active. Destroying
/// removes the token's objects (SP 800-57 part 1 r5, 8.3.4); of a version that is destroyed already those that came back, with an older copy of
/// the token. Throws damaged (65) where more objects carry its label and CKA_ID than belong to it. With a KEK that is compromised every key that was under it goes on record as
/// exposed (op::Exposed). Throws refused (77) for a transition that is not legal.
StateResult change_state(op::Context& context, const StateRequest& request);

/// The rows of one transition, for operations that make it among other things. `when` is the journal's time.
std::vector<journal::Change> transition_changes(op::KeyRecord& key, op::VersionRecord& version, State to, UnixTime when,
                                                const std::string& reason);

}  // namespace kmtool::keys
