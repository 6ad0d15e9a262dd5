#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/bundle/bundle.hpp"
#include "kmtool/op/bundle_out.hpp"
#include "kmtool/op/context.hpp"

namespace kmtool::op {

/// To whom a KEK shall go, as it was asked for.
struct KekDestinations {
  std::vector<std::string> parents;                ///< references of parent KEKs on this token
  std::vector<std::filesystem::path> public_keys;  ///< PEM (public key or certificate), or a signed request
  std::vector<std::string> fingerprints;           ///< SHA-256 of an SPKI in hexadecimal: each pins one of the public keys
  std::string algorithm;                           ///< wanted for the public keys (domain/transport.hpp); empty: the best that both sides do
  std::vector<std::string> recorded;               ///< fingerprints of public keys that the catalog has (public_key_rows)
  [[nodiscard]] bool empty() const { return parents.empty() && public_keys.empty() && recorded.empty(); }
};

/// One of them, found and chosen for.
struct KekRecipient {
  bundle::Recipient line;  ///< as the bundle's header names it
  policy::KeyFacts facts;  ///< for policy::judge_export
  std::optional<Kek> parent;
  std::optional<crypto::PublicKey> key;
  std::string pinned_by;  ///< public keys: `--fingerprint`, `the request that site-b signed`, `a person`
};
/// Rows of kind `public-key`, id = fingerprint: the public keys that were pinned and a KEK went to, with the algorithm, so that its
/// successor can go to them too. They are part of the intent: a bundle's own file has the fingerprint alone.
std::vector<journal::Change> public_key_rows(const std::vector<KekRecipient>& recipients);
/// True where the catalog has the public key with this fingerprint.
bool public_key_recorded(Context& context, const std::string& fingerprint);
/// Current bundles of kind `kek` that hold this version, oldest first; under whichever of its names.
std::vector<BundleRecord> backups_of_kek(const Context& context, const VersionRecord& version);

/// Finds parents on the token, reads public keys and requests, holds each against its fingerprint or the pinned signer of its request, and
/// chooses algorithms. Throws usage (64) for a public key that nothing pins, refused (77, G-TRANSPORT) for one that is another than the
/// pinned, unavailable (69) where this token has no algorithm that the other side opens.
std::vector<KekRecipient> resolve_recipients(Context& context, const KekDestinations& destinations);
/// `rsa-4096 by RSA-OAEP-SHA1`: SHA-1 is named where it is used.
std::vector<std::string> remarks_on(const std::vector<KekRecipient>& recipients);

/// What is laid over every wrapped value once more, and taken off again (a quorum's encryption); empty functions: nothing.
struct ValueLayer {
  /// Before the header is written: what it says of the layer. The bundle's id is set by then.
  std::function<void(bundle::Header& header)> describe;
  /// The value that goes into the file, of record 0 (AES) or 1 (HMAC) for a recipient. The wrapped value is opaque.
  std::function<Bytes(const bundle::Header& header, std::size_t record, std::size_t recipient, ByteView wrapped)> put_on;
  /// When the bundle is fsynced under its temporary name, before it appears: what has to be safe before it (the shares).
  std::function<void(const bundle::Header& header)> before_commit;
};

/// Writes a bundle of kind `kek`: the same for an export and for a backup at birth.
class KekOut {
 public:
  KekOut(Context& context, AtomicFile& file, std::vector<KekRecipient> recipients, const std::string& id,
         const std::vector<policy::Waiver>& waivers, ValueLayer layer);
  /// Both objects, on the token or of the session, extractable. Wraps each once per recipient, seals by parents and by the KEK itself, signs,
  /// fsyncs. Returns the catalog's row.
  BundleRecord write(const VersionRecord& version, const pkcs11::Object& wrap, const pkcs11::Object& seal);

 private:
  Context& context_;
  AtomicFile& file_;
  std::vector<KekRecipient> recipients_;
  bundle::Header header_;
  ValueLayer layer_;
};

/// What the intent and the outcome of an export say: recipients with algorithms and what pinned them, and waivers.
Json describe(const std::vector<KekRecipient>& recipients);

/// Judges a KEK against every recipient and the token; the waivers that were needed.
std::vector<policy::Waiver> judge_recipients(Context& context, const VersionRecord& kek, const std::vector<KekRecipient>& recipients, bool at_birth);

}  // namespace kmtool::op
