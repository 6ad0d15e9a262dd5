#pragma once
#include <optional>
#include <string>
#include <vector>

#include "kmtool/apikey/format.hpp"
#include "kmtool/core/secret.hpp"
#include "kmtool/op/context.hpp"

/// API keys that have to be kept: third parties', and issued ones for `exec`. They lie in the catalog sealed with AES-GCM by a data key of
/// the token, `apikey-store`, which is made when it is first needed (make it before, exportable or with a backup, to be able to restore).
/// Bound to application and name: a row that is moved elsewhere does not open.
namespace kmtool::apikey {

inline constexpr const char* store_key = "apikey-store";
/// Bytes: sealed, in base64, its row has to fit an entry of the journal.
inline constexpr std::size_t longest_stored = 32768;
/// Shorter ones occur by chance, and scan does not look for them.
inline constexpr std::size_t shortest_scanned = 8;

/// Kind `apikey-store`, id = `APP/NAME`; issued ones are kept as `APP/@ENVIRONMENT`.
struct StoredRecord {
  std::string app, name;
  std::string key;       ///< version of the token key that sealed it, `apikey-store@1`
  Bytes sealed;          ///< IV ‖ ciphertext ‖ tag of the value
  Bytes mark;            ///< the same of what scan recognises it by (Mark): the database alone does not even tell its length's digest
  UnixTime stored = 0;
  std::string issued;    ///< id of the API key, where it is one of ours

  [[nodiscard]] std::string id() const { return app + "/" + name; }
  [[nodiscard]] journal::Change change() const;
  static StoredRecord from(const journal::Item& item);
};

/// What scan finds a stored key by, without knowing it.
struct Mark {
  std::uint32_t length = 0;
  std::uint32_t rolling = 0;  ///< of the whole value (rolling_hash)
  KeyDigest digest{};
};
/// Polynomial hash that can be moved along a text byte by byte.
std::uint32_t rolling_hash(ByteView text) noexcept;

std::vector<StoredRecord> stored_keys(op::Context& context);
/// Throws missing (66) naming what the application has.
StoredRecord find_stored(op::Context& context, const std::string& app, const std::string& name);

/// The token key, made where there is none. Throws refused (77) where a key of that name is no data key, or cannot encrypt any more.
op::VersionRecord ensure_store_key(op::Context& context);
/// Seals with `version`; to be called in the action of Context::run, after sealing_begin() rows have been journalled.
StoredRecord seal(op::Context& context, const op::VersionRecord& version, const std::string& app, const std::string& name, const SecretBytes& value);
/// The rows that must stand in the intent before seal(): invocations of AES-GCM set aside.
std::vector<journal::Change> sealing_begin(op::Context& context, const op::VersionRecord& version);

struct StoreResult {
  StoredRecord record;
  bool replaced = false;
};
/// Keeps a value. Throws exists (73) where the name is taken and --force is not given; usage (64) for an empty value, one with NUL bytes
/// (no environment can carry it), one beyond 64 KiB.
StoreResult store(op::Context& context, const std::string& app, const std::string& name, const SecretBytes& value);
/// Forgets it. The sealed bytes go with the catalog's row; the journal's entries keep them, sealed.
StoredRecord remove_stored(op::Context& context, const std::string& app, const std::string& name);
/// Opens values in the token. Throws damaged (65) where a row is not what was sealed under its name.
SecretBytes unseal(op::Context& context, const StoredRecord& record);
Mark unseal_mark(op::Context& context, const StoredRecord& record);

}  // namespace kmtool::apikey
