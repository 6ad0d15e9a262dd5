#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>

#include "kmtool/op/copies.hpp"

namespace kmtool::rotate {

/// Which versions are in a bundle of the catalog, under whichever name they were put there. Read once for many questions.
class Bundled {
 public:
  explicit Bundled(op::Context& context);
  [[nodiscard]] bool holds(const op::VersionRecord& version) const;
  /// The newest version before this one that is in a bundle, where this one is in none: whoever wrapped the key meant to have a copy, and has
  /// one of a key that is not in use any more. nullopt: nothing is amiss.
  [[nodiscard]] std::optional<op::VersionRecord> left_behind(const op::VersionRecord& version) const;

 private:
  op::Copies copies_;
  std::set<std::string> ids_;                                           ///< CKA_IDs in hex of the keys that bundles hold
  std::map<std::string, std::map<int, op::VersionRecord>> in_bundles_;  ///< by name and number
};

}  // namespace kmtool::rotate
