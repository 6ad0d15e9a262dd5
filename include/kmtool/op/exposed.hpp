#pragma once
#include <map>
#include <set>
#include <string>

#include "kmtool/op/context.hpp"

namespace kmtool::op {

/// Keys that a KEK, or a transport key, protected which was called compromised since: whoever has it, and a bundle as it was then, has
/// them. Catalog rows of kind `exposed`, id = the key's label (op::bundle_label), value {"kek": "root@1"}, written with the KEK's change of state. Re-wrapping a bundle takes nothing of
/// that back.
class Exposed {
 public:
  explicit Exposed(Context& context);
  /// The KEK that this key, all of whose CKA_IDs are given (Copies::same_key), was under; empty: none that is known. By its label is told only a
  /// key that this home knows from bundles alone.
  [[nodiscard]] std::string by(const std::string& label, const std::set<std::string>& ids) const;
  [[nodiscard]] bool has_row(const std::string& label) const { return rows_.contains(label); }
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  static journal::Change row(const std::string& label, const std::string& kek);

 private:
  std::map<std::string, std::string> rows_;   ///< KEK by label
  std::map<std::string, std::string> by_id_;  ///< KEK by CKA_ID in hex, of versions that this home has or had
  std::set<std::string> unknown_;             ///< labels that no version here has
};

/// Labels of the keys that were ever under this KEK or transport key, or under a KEK that was under it: in a bundle that this home wrote,
/// also one that was re-wrapped or replaced since, or restored or imported here with it. What a quorum's shares are needed for besides does not count. The journal is
/// read, and proven; throws damaged (65).
std::set<std::string> ever_under(Context& context, const VersionRecord& kek);

}  // namespace kmtool::op
