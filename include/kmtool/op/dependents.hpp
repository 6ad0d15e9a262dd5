#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kmtool/op/context.hpp"

namespace kmtool::op {

/// What rests on a version besides the bundles that this home wrote: asked before it is destroyed.

/// The API keys (`APP/NAME`) that `apikey store` keeps sealed under one of these labels of a key.
std::vector<std::string> stored_under(Context& context, const std::set<std::string>& labels);

/// Bundles of KEKs that were opened here: whoever wrote them elsewhere may know of no other key that opens them.
class OpenedKeks {
 public:
  explicit OpenedKeks(Context& context) : context_(context) {}
  /// The KEKs (labels) in bundles that open with this transport key or KEK: those that `import-kek` opened with it, by the journal, and, for a
  /// transport key, those of this home's own bundles. For a KEK only what was made elsewhere counts: of this home's own bundles the catalog
  /// tells what became. The journal is read once, when it is first needed, and proven where the catalog is; throws damaged (65).
  [[nodiscard]] std::set<std::string> with(const VersionRecord& opener);

 private:
  /// What an entry of import-kek says.
  struct Opened {
    std::string kek, opened_by, creator_token;
  };
  void read_journal();

  Context& context_;
  std::optional<std::vector<Opened>> opened_;  ///< by imports and drills that came to their end
};

}  // namespace kmtool::op
