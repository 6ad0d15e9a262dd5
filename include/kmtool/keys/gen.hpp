#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/op/context.hpp"
#include "kmtool/op/kek_out.hpp"

namespace kmtool::keys {

/// What `gen` is asked for.
struct GenRequest {
  std::string name;
  Role role = Role::data;
  KeyType type = KeyType::aes256;
  bool exportable = false;
  std::optional<std::filesystem::path> backup;  ///< backup at birth: the bundle to write
  std::vector<std::string> keks;                ///< its KEKs
  op::KekDestinations to;                       ///< role kek: to whom its backup goes (parents stand in `keks`)
  op::ValueLayer layer;                         ///< role kek: over the backup's values
  std::optional<std::int64_t> cryptoperiod;     ///< seconds
  std::string owner, application;
  std::optional<UnixTime> activate_at;
  int count = 1;  ///< more than 1: NAME-0001 …
};

struct GenResult {
  std::vector<op::VersionRecord> keys;
  std::optional<op::BundleRecord> bundle;
  std::vector<op::KekRecipient> recipients;  ///< of a KEK's backup
  std::string kept = {};                     ///< where the bundle that lay under the backup's name is now; empty: nowhere
};

/// Generates keys in the token (SP 800-133 r2) as version 1 of new names. All or nothing. With a backup the order is that of
/// DESIGN.md, promise 3: intent, bundle fsynced under a temporary name, token copies made and read back, rename, commit.
/// Throws: exists (73) for a name or token label that is taken, refused (77) by a rule, unavailable (69) when the token cannot
/// make the type. In a dry run the records it would make, ids empty.
GenResult generate(op::Context& context, const GenRequest& request);

/// One version as scripts see it (CLI.md): name, version, id, label, role, type, state, created, expires, uri, extractable, token_serial.
Json to_json(const op::Context& context, const op::VersionRecord& version);
/// RFC 7512 URI of a version's usable object.
std::string uri_of(const op::Context& context, const op::VersionRecord& version);

}  // namespace kmtool::keys
