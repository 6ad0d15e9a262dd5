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

}  // namespace kmtool::op
