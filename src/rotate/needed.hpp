#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kmtool/op/copies.hpp"
#include "kmtool/op/dependents.hpp"
#include "kmtool/rotate/rotate.hpp"

namespace kmtool::rotate {

/// Whether something opens with a key alone that nobody is asked about when policy destroys it: a bundle, the backup of a KEK that came from
/// elsewhere, a key that `apikey store` keeps. The catalog is read once: a home has thousands of versions that come due together.
class Needed {
 public:
  Needed(op::Context& context, Report& report) : context_(context), report_(report) {}
  /// A stored key is said in the report: it takes somebody to end it.
  bool is(const op::VersionRecord& version);

 private:
  struct Catalog {
    explicit Catalog(op::Context& context);
    op::Copies copies;
    std::multimap<std::string, std::string> labels;           ///< by CKA_ID in hex
    std::multimap<std::string, op::BundleRecord> bundles;     ///< by the KEKs that open them
    std::map<std::string, std::size_t> stored;                ///< how many stored keys are sealed under a label
  };
  const Catalog& catalog();
  std::set<std::string> labels_of(const op::VersionRecord& version);
  bool by_bundle(const op::VersionRecord& kek);
  bool stands_elsewhere(const op::VersionRecord& version);

  op::Context& context_;
  Report& report_;
  std::optional<Catalog> catalog_;
  op::OpenedKeks opened_keks_{context_};
};

}  // namespace kmtool::rotate
