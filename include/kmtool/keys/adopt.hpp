#pragma once
#include <optional>
#include <string>
#include <vector>

#include "kmtool/op/context.hpp"

namespace kmtool::keys {

/// Which of the token's objects come under management.
struct AdoptRequest {
  std::string name;  ///< empty with `all`: names are made from labels
  std::string label;
  Bytes id;
  bool all = false;
  bool activate = false;        ///< what comes back, or came back, is neither compromised nor suspended: somebody says so
  std::optional<Role> role;     ///< where the object does not tell
  std::optional<KeyType> type;  ///< where the token does not tell: the length of unwrapped keys on SoftHSM
  std::string from_home;        ///< whose the keys are, on a token that several homes use: the id of this home or of another one
  std::string owner, application;
};
struct NotAdopted {
  std::string what, why;
};
struct AdoptResult {
  std::vector<op::VersionRecord> keys;
  std::vector<NotAdopted> skipped;  ///< with `all`
  std::vector<op::VersionRecord> waiting;  ///< of those, the newest ones of keys without an active version, KEKs left out
};

/// Brings keys under management. The objects stay as they are; what is wrong with them (imported, extractable, usages beyond the role…) is
/// recorded in `flaws` and said.
///
/// What other tools made becomes version 1 of a new name, active. What is named and numbered as homes do with their keys (`payments@3`, which a
/// restored home has forgotten) comes back as that very version where the name is the same, and deactivated under any name: whether it was
/// compromised or suspended meanwhile, nobody knows. With `activate` the newest version of a key that has no active one is active, also where it
/// is back already and was not touched since. A KEK always comes back deactivated: it opens, and protects nothing more.
///
/// On a token that other homes use too, keys that are so named, and `all`, need `from_home`: nothing on the token tells whose a key is.
///
/// Throws missing (66), exists (73), refused (77) for what cannot be a key of kmtool (a KEK that is not the complete pair that kmtool makes;
/// half a pair; no CKA_ID; a home's signers) or might be another home's.
AdoptResult adopt(op::Context& context, const AdoptRequest& request);

/// The flaws that are meant for people; the others are exact texts that later comparisons forgive.
std::vector<std::string> readable_flaws(const op::VersionRecord& version);

}  // namespace kmtool::keys
