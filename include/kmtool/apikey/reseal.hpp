#pragma once
#include "kmtool/apikey/store.hpp"

namespace kmtool::apikey {

/// A stored key that cannot be opened, and what its owner can do.
struct NotOpened {
  std::string id;  ///< APP/NAME
  std::string why, hint;
};
struct Resealed {
  std::vector<StoredRecord> sealed;  ///< anew; in a dry run: that would be
  std::vector<NotOpened> left;       ///< as they were
};

/// After `kmtool rotate apikey-store`: what an older version sealed is opened in the token and sealed by the active one, in one step of
/// the record. Before that is done, the older version must not be destroyed. What cannot be opened any more costs no other.
Resealed reseal(op::Context& context);

/// Is it about the one stored key that was to be opened (its version is destroyed or suspended, it was changed), and not about token or machine?
bool of_this_record(const Error& error);

}  // namespace kmtool::apikey
