#pragma once
#include <filesystem>
#include <optional>
#include <vector>

#include "kmtool/op/context.hpp"
#include "kmtool/op/kek_out.hpp"

namespace kmtool::keys {

/// What a rotation asks for one key.
struct SuccessorRequest {
  op::KeyRecord key;
  op::VersionRecord from;                       ///< its active version
  std::optional<std::filesystem::path> backup;  ///< the new version's backup at birth, to the recipients of the old one's
  std::optional<std::int64_t> overlap;          ///< seconds for which the old version stays active beside the new one
  std::function<std::vector<journal::Change>(const op::VersionRecord& to)> with;  ///< further rows of the same moment; may be empty
  op::KekDestinations to = {};  ///< a KEK's backup: public keys that take the place of the old one's; else the recorded ones, and its parents in their active versions
  std::vector<std::string> keks = {};  ///< KEKs of the backup (a KEK's parents) that take the place of the recorded ones
  op::ValueLayer layer = {};           ///< over a KEK's backup
  std::string quorum = {};             ///< what the layer is: `3/5`; empty: there is none
  bool no_quorum = false;              ///< somebody says that the old one's backups need none, where the record does not say
};
struct Successor {
  op::VersionRecord from, to;
  std::optional<std::filesystem::path> backup;  ///< the new version's bundle
  std::string kept;                             ///< where the bundle that lay under the backup's name was moved to; empty: nowhere
  std::vector<std::string> notes = {};          ///< what a person should hear of
};

/// A new version with the same role, type and attributes becomes active; the old one is deactivated, at once or when the overlap
/// ends. One intent. A key that was backed up at birth, or came out of a bundle, gets no new version without a backup (refused, 77, G-VAULT:
/// what was kept offline stays kept offline), and a KEK whose backup opens with a quorum none without one, as the catalog has it and not the
/// file alone; where the catalog does not know, as of a KEK that came back after a restore, a quorum or `no_quorum` has to be said. The number is the next whose label is free on the token. In a dry run the records it would make.
Successor succeed(op::Context& context, const SuccessorRequest& request);

/// What a new version succeeds: the active one; where none is (compromised, suspended, deactivated, destroyed), the newest that ever was.
/// Throws missing (66) where there is none.
op::VersionRecord predecessor(const op::Context& context, const op::KeyRecord& key);
/// True where a new version needs a backup file: the old one was backed up at birth, was restored or imported from a bundle, or is a KEK that
/// was exported.
bool needs_backup(const op::Context& context, const op::VersionRecord& version);

}  // namespace kmtool::keys
