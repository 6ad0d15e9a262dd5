#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>

#include "kmtool/bundle/bundle.hpp"
#include "kmtool/op/copies.hpp"
#include "kmtool/op/exposed.hpp"

namespace kmtool::transfer {

/// What the catalog knows against keys that come back from a bundle: the bundle is older than that.
class Compromises {
 public:
  explicit Compromises(op::Context& context);
  /// Why this record's key is compromised: it, or a restored copy of it; also where that was destroyed since; or a KEK that it was under,
  /// whatever its bundle is under now. Empty: nothing is known.
  std::string of(const bundle::Record& record);
  /// Why whatever is in the bundle is: a KEK that it is under.
  std::string of(const bundle::Header& header);
  /// That KEK's label.
  std::string compromised_kek(const bundle::Header& header);
  /// Why this record's key is, by a KEK that it is known to have been under; empty: none.
  [[nodiscard]] std::string why_exposed(const bundle::Record& record) const;
  /// The catalog has that of a key with this label.
  [[nodiscard]] bool exposure_known(const std::string& label) const { return exposed_.has_row(label); }
  /// The suspended version that this record's key is, or a restored copy of it; empty: none. Such a key does nothing until that is over.
  [[nodiscard]] std::string suspended(const bundle::Record& record) { return same_key_in(record, false); }
  /// One that was active here and was deactivated: it protects nothing any more, under no name, also where it was destroyed
  /// since; or was suspended when it was destroyed, so that nobody can end that.
  [[nodiscard]] std::string retired(const bundle::Record& record) { return same_key_in(record, true); }

 private:
  struct Known {
    std::string label;
    State state;
  };
  [[nodiscard]] std::string same_key_in(const bundle::Record& record, bool retired);
  bool compromised(const Known& known);
  bool was(const Known& known, State state);
  void read_journal();

  op::Context& context_;
  std::multimap<std::string, Known> suspects_;          ///< versions that ceased to be active, by CKA_ID in hex: a copy may have its original's
  op::Copies copies_;
  op::Exposed exposed_;
  std::optional<std::set<std::string>> called_so_;      ///< labels that were ever called compromised: read when it is first asked for
  std::map<std::string, State> before_;                 ///< the state before destruction, by label: read then, too
};

}  // namespace kmtool::transfer
