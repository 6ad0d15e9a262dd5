#pragma once
#include <map>
#include <set>
#include <string>

#include "kmtool/op/context.hpp"

namespace kmtool::op {

/// Who opens bundles. A recipient's label may be one that its KEK had before: it was destroyed, and came back under another name.
class Openers {
 public:
  /// Without the key that has this CKA_ID; nullptr: all of them.
  Openers(const Context& context, const Bytes* without);
  /// True where one of the bundle's KEKs or transport keys is not destroyed. A public key that is none of this home's is a transport key
  /// elsewhere: it is taken to open.
  [[nodiscard]] bool open(const BundleRecord& bundle) const;

 private:
  std::map<std::string, Bytes> keks_;      ///< ids by label
  std::set<Bytes> here_;                   ///< ids of KEKs that are not destroyed
  std::map<std::string, bool> transport_;  ///< this home's transport keys by fingerprint; true: one that is not destroyed
};

}  // namespace kmtool::op
