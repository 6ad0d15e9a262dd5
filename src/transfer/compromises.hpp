#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>

#include "kmtool/bundle/bundle.hpp"
#include "kmtool/op/copies.hpp"

namespace kmtool::transfer {

/// What the catalog knows against keys that come back from a bundle: the bundle is older than that.
class Compromises {
 public:
  explicit Compromises(op::Context& context);
  /// Why this record's key is compromised: it, or a restored copy of it; also where that was destroyed since. Empty: nothing is known.
  std::string of(const bundle::Record& record);
  /// Why whatever is in the bundle is: a KEK that it is under.
  std::string of(const bundle::Header& header);
  /// The suspended version that this record's key is, or a restored copy of it; empty: none. Such a key does nothing until that is over.
  [[nodiscard]] std::string suspended(const bundle::Record& record) const { return same_key_in(record, State::suspended); }
  /// One that was active here and was deactivated: it protects nothing any more, under no name.
  [[nodiscard]] std::string retired(const bundle::Record& record) const { return same_key_in(record, State::deactivated); }

 private:
  struct Known {
    std::string label;
    State state;
  };
  [[nodiscard]] std::string same_key_in(const bundle::Record& record, State state) const;
  bool compromised(const Known& known);

  op::Context& context_;
  std::map<std::string, Known> suspects_;               ///< versions that ceased to be active, by CKA_ID in hex
  op::Copies copies_;
  std::optional<std::set<std::string>> called_so_;      ///< labels that were ever called compromised: read when it is first asked for
};

}  // namespace kmtool::transfer
