#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/apikey/decision.hpp"
#include "kmtool/core/secret.hpp"
#include "kmtool/op/context.hpp"

namespace kmtool::apikey {

inline constexpr const char* default_environment = "default";

/// A key as the catalog has it: kind `apikey`, id = its id. Nothing in it helps anybody to use the key.
struct ApiKeyRecord {
  KeyEntry entry;
  std::optional<UnixTime> revoked;
  std::string reason;                  ///< of the revocation
  std::string replaces, replaced_by;   ///< ids, through rotation
  std::vector<policy::Waiver> waivers;

  [[nodiscard]] journal::Change change() const;
  static ApiKeyRecord from(const journal::Item& item);
  /// `live`, `not yet valid`, `in overlap`, `replaced`, `expired`, `revoked`.
  [[nodiscard]] std::string state(UnixTime now) const;
  /// Works now, or will.
  [[nodiscard]] bool alive(UnixTime now) const;
};

/// Proven rows: a reader's context must have been through op::prove_reader(). Throws missing (66) with a suggestion.
ApiKeyRecord find_api_key(op::Context& context, const std::string& id);
std::vector<ApiKeyRecord> api_keys(op::Context& context);

struct CreateRequest {
  std::string app, environment = default_environment;
  Restrictions restrictions;
  std::optional<UnixTime> not_before, expires;
  bool keep = false;                               ///< sealed as stored key `@ENVIRONMENT` of the application, for exec
  std::optional<std::filesystem::path> out;        ///< the key's text and LF, 0600; not printed then
};
struct Issued {
  ApiKeyRecord record;
  SecretBytes key;                     ///< empty in a dry run
  std::optional<ApiKeyRecord> before;  ///< of a rotation: the old one as it is now
};
/// Issues a key: id and secret are the token's random numbers. Throws refused (77): A-UNIQUE where application and environment have a live key,
/// A-RESTRICT without a network restriction and without --unrestricted; usage (64) for what contradicts itself.
Issued create(op::Context& context, const CreateRequest& request);

/// For whoever has to hand an issued key over and cannot: `error`, saying that the key is in force and how to go on.
Error undelivered(const std::string& id, const Error& error);

struct RotateRequest {
  std::string id;
  std::optional<std::int64_t> overlap;             ///< seconds; 0: the old one ends now; default: policy's
  std::optional<UnixTime> expires;                 ///< default: as long after now as the old one's after its creation
  bool keep = false;                               ///< where the old one is kept, the new one is in any case
  std::optional<std::filesystem::path> out;
};
/// A new key with the same restrictions; the old one lives on for the overlap. Throws refused (77, A-UNIQUE) while an overlap of the
/// same application and environment is running: that would make three.
Issued rotate(op::Context& context, const RotateRequest& request);

/// Ends a key for ever. Throws refused (77) where it is revoked already.
ApiKeyRecord revoke(op::Context& context, const std::string& id, const std::string& reason);

struct PublishRequest {
  std::filesystem::path out;
  std::optional<UnixTime> not_after;               ///< default: policy's snapshot_life from now
};
struct Published {
  std::string path;
  std::uint64_t sequence = 0, keys = 0;
  UnixTime not_after = 0;
  std::string digest;                              ///< SHA-256 of the file, hex
  std::optional<std::string> warning;              ///< it lives so long that revoking comes late
};
/// The registry as a snapshot signed by the document signer. Replaces an older snapshot of this home under that name without --force;
/// anything else there is left alone (73). Keys that ended more than 90 days ago are left out: nothing revives them.
Published publish(op::Context& context, const PublishRequest& request);

}  // namespace kmtool::apikey
