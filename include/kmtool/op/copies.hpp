#pragma once
#include <map>
#include <optional>
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
/// How the row of a bundle names a key in it: by its label, where this home has that very key, or a copy of it, under that label; else by label and
/// CKA_ID, as `payments@1#0a1b...`, so that it never passes for another key that has the label, or comes to it.
std::string bundle_label(Context& context, const std::string& label, const Bytes& id);
/// A name out of such a row as it would be written now: the key may have come under its label since.
std::string name_now(Context& context, const std::string& name);
/// These names, and the bare labels by which the rows of an earlier kmtool name those among them that no key of this home has.
std::set<std::string> with_bare_labels(const Context& context, const std::vector<std::string>& names);
/// The version with this label; nullopt also for a name with a CKA_ID: that is no key of this home.
std::optional<VersionRecord> version_named(const Context& context, const std::string& name);
/// The CKA_ID in such a name, in hex; empty: it has none.
std::string id_in_name(const std::string& name);
/// The bundles that these KEKs are recipients of.
std::vector<BundleRecord> bundles_under(const Context& context, const std::set<std::string>& keks);
/// The bundles of this kind (`keys`, `kek`) that hold one of these keys.
std::vector<BundleRecord> bundles_with(const Context& context, const std::set<std::string>& keys, const std::string& kind);

}  // namespace kmtool::op
