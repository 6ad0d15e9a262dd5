#pragma once
#include <optional>
#include <string>
#include <vector>

#include "kmtool/bundle/bundle.hpp"
#include "kmtool/core/json.hpp"
#include "kmtool/core/time.hpp"
#include "kmtool/domain/attributes.hpp"
#include "kmtool/domain/state.hpp"
#include "kmtool/journal/journal.hpp"
#include "kmtool/policy/policy.hpp"

namespace kmtool::op {

/// Catalog rows as types; each knows its kind and id in the catalog.

struct KeyRecord {  ///< kind `key`, id = name
  std::string name;
  Role role = Role::data;
  KeyType type = KeyType::aes256;
  std::optional<int> active;  ///< the active version
  int latest = 0;
  std::string owner, application;
  std::optional<std::int64_t> cryptoperiod;  ///< seconds, where the key has its own
  UnixTime created = 0;

  [[nodiscard]] journal::Change change() const;
  static KeyRecord from(const journal::Item& item);
};

struct VersionRecord {  ///< kind `version`, id = `name@v`
  std::string name;
  int version = 1;
  Bytes id;  ///< CKA_ID
  Role role = Role::data;
  KeyType type = KeyType::aes256;
  State state = State::active;
  bool extractable = false;
  std::string origin;  ///< `generated`, `unwrapped`, `adopted`
  bool backed_up = false;
  UnixTime created = 0;
  std::optional<UnixTime> activated, activate_at;
  std::optional<UnixTime> deactivate_at;  ///< end of the overlap after a rotation
  std::optional<UnixTime> expires;        ///< end of the originator period
  std::optional<UnixTime> changed;        ///< the last change of state
  std::string reason;                     ///< and why
  std::string token_serial;
  std::string token_label;                ///< CKA_LABEL where it is not label(): adopted keys keep theirs
  std::vector<std::string> flaws;         ///< what was wrong with an adopted key: differences from its role
  std::optional<Bytes> public_spki;
  std::vector<policy::Waiver> waivers;
  std::string quorum;  ///< `3/5`: what the bundle opened with that this KEK was imported from, or a backup that was lost; empty: none
  std::uint64_t seq = 0;  ///< the journal's entry that last set the row

  [[nodiscard]] std::string label() const;
  /// What the token calls it.
  [[nodiscard]] std::string object_label() const { return token_label.empty() ? label() : token_label; }
  [[nodiscard]] policy::KeyFacts facts() const;
  [[nodiscard]] journal::Change change() const;
  static VersionRecord from(const journal::Item& item);
};

struct BundleRecord {  ///< kind `bundle`, id = bundle id; the keys in it lie in `bundle-part` rows `ID/000000`
  std::string id, kind, path, host, digest;
  std::vector<std::string> keks;         ///< labels
  std::vector<std::string> public_keys;  ///< fingerprints of the public keys that it is for (kind `kek`)
  std::uint64_t records = 0;
  UnixTime created = 0;
  std::optional<UnixTime> verified;
  std::optional<UnixTime> restored;  ///< a drill at the other site was confirmed
  std::string kept_for;           ///< id of the bundle that replaced this one, which is kept beside it; empty: current
  std::string offline;            ///< where the media are kept that it lies on, at `path` when they are here; empty: it lies on the host
  std::string bad;                ///< what the last verification found wrong with the file; empty: nothing
  std::vector<std::string> keys;  ///< labels; read with Context::bundle_keys()
  /// Kind `kek`: `3/5`, empty where whoever it is for opens it alone. nullopt: the row is of a kmtool that did not keep it; it is not known then.
  std::optional<std::string> quorum;
  std::uint64_t seq = 0;  ///< the journal's entry that last set the row

  /// What a bundle's first line says of it: id, kind, time, records, recipients, quorum.
  void take(const bundle::Header& header);
  /// Fills keks and public_keys.
  void take_recipients(const std::vector<bundle::Recipient>& recipients);
  /// The rows; those of the keys only where `keys` is filled.
  [[nodiscard]] std::vector<journal::Change> changes() const;
  /// The rows' removal.
  [[nodiscard]] std::vector<journal::Change> removal() const;
  static BundleRecord from(const journal::Item& item);
};

struct SignerRecord {  ///< kind `signer`, id = `log@1`, `document@2`
  std::string use;  ///< `log` or `document`
  int version = 1;
  Bytes id;
  KeyType type = KeyType::ec_p256;
  Bytes spki;
  std::string state = "active";  ///< active, retired, compromised
  std::optional<std::uint64_t> compromised_after;  ///< tree size after which its signatures count for nothing

  [[nodiscard]] std::string label(const std::string& home_id) const;
  [[nodiscard]] journal::Change change() const;
  static SignerRecord from(const journal::Item& item);
};

struct TrustRecord {  ///< kind `trust`, id = name: a pinned signer of another site
  std::string name;
  Bytes spki;
  UnixTime since = 0;
  [[nodiscard]] journal::Change change() const;
  static TrustRecord from(const journal::Item& item);
};

}  // namespace kmtool::op
