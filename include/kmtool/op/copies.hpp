#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kmtool/op/context.hpp"

namespace kmtool::op {

/// Which CKA_IDs are one key value. A key that came back from a bundle has an id of its own; a row `copy` of the catalog names the original's.
class Copies {
 public:
  explicit Copies(Context& context);
  /// All ids of that key, in hex, this one among them: the original, its copies, and theirs.
  [[nodiscard]] std::set<std::string> same_key(const Bytes& id) const;

 private:
  std::multimap<std::string, std::string> pairs_;  ///< both ways
};

/// The other versions of this home that are the same key and stand on its token.
std::vector<VersionRecord> same_key(Context& context, const VersionRecord& version);
/// Every label that this home has or had for that key, this one's among them: bundles keep the label that the key had when they were written,
/// be it destroyed since. A KEK is told by its CKA_ID, which it keeps wherever it is imported.
std::set<std::string> labels_of_key(Context& context, const VersionRecord& version);
/// The bundles that these KEKs are recipients of.
std::vector<BundleRecord> bundles_under(const Context& context, const std::set<std::string>& keks);
/// The bundles of this kind (`keys`, `kek`) that hold one of these keys.
std::vector<BundleRecord> bundles_with(const Context& context, const std::set<std::string>& keys, const std::string& kind);

}  // namespace kmtool::op
