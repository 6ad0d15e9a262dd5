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
  std::optional<Role> role;  ///< where the object does not tell
  std::string owner, application;
};
struct NotAdopted {
  std::string what, why;
};
struct AdoptResult {
  std::vector<op::VersionRecord> keys;
  std::vector<NotAdopted> skipped;  ///< with `all`
};

/// Brings keys that other tools made under management, as version 1 of a name. The objects stay as they are; what is wrong with them (imported,
/// extractable, usages beyond the role…) is recorded in `flaws` and said. Throws missing (66), exists (73), refused (77) for what
/// cannot be a key of kmtool (a KEK is two objects; half a pair; no CKA_ID; the home's own signers).
AdoptResult adopt(op::Context& context, const AdoptRequest& request);

/// The flaws that are meant for people; the others are exact texts that later comparisons forgive.
std::vector<std::string> readable_flaws(const op::VersionRecord& version);

}  // namespace kmtool::keys
