#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "kmtool/apikey/decision.hpp"
#include "kmtool/core/bytes.hpp"
#include "kmtool/core/time.hpp"
#include "kmtool/crypto/public_key.hpp"

/// The registry as a signed file, for hosts that have neither token nor home (kmtool-apikey(7)). JSON lines with LF endings, in exactly
/// one spelling:
///   {"kmapikeys":1,"home":"UUID","sequence":12,"created":TIME,"not_after":TIME,"creator":"kmtool 0.1.0","keys":N}
///   {"id":…,"app":…,"environment":…,"digest":HEX,"revoked":false,"created":TIME,"not_before":TIME|null,"expires":…,"until":…,"restrictions":{…}}
///   {"signature":{"algorithm":"ecdsa-p256-sha256","key":"<sha256 of SPKI, hex>","value":"<base64 DER>"}}
/// Sorted by id. The signature is over every byte above its line: `head -n -1 F | openssl dgst -sha256 -verify signer.pem -signature S` checks it.
namespace kmtool::apikey {

struct SnapshotHeader {
  std::string home;             ///< id of the home that published it
  std::uint64_t sequence = 0;   ///< goes up with every snapshot of a home
  UnixTime created = 0;
  UnixTime not_after = 0;       ///< the first second in which it must not be used any more
  std::string creator;
  std::uint64_t keys = 0;
};

struct Snapshot {
  SnapshotHeader header;
  KeyTable table;
  std::string signer;           ///< fingerprint that the signature names, and that verified
  std::string digest;           ///< SHA-256 of the whole text, hex
};

inline constexpr std::size_t largest_snapshot = std::size_t{1} << 30;

/// The text of a snapshot; `sign` is given the SHA-256 of what stands above the signature's line and returns DER.
std::string write_snapshot(const SnapshotHeader& header, std::vector<KeyEntry> keys, const crypto::PublicKey& signer,
                           const std::function<Bytes(ByteView digest)>& sign);

/// Verifies the signature of one of `signers` over the bytes first, and only then reads them. Throws damaged (65): unsigned, by somebody else,
/// changed, not in the one spelling. Time and sequence are for the caller to judge: he has a clock, and remembers the last one
/// (see require_usable).
Snapshot read_snapshot(std::string_view text, const std::string& name, const std::vector<crypto::PublicKey>& signers);
Snapshot read_snapshot_file(const std::filesystem::path& file, const std::vector<crypto::PublicKey>& signers);

/// Throws refused (77, code `expired`) when `now` is at or after not_after; refused (77, code `rollback`) when home is another than
/// `home` (where that is not empty) or sequence is less than `at_least`.
void require_usable(const SnapshotHeader& header, UnixTime now, const std::string& home, std::uint64_t at_least);

}  // namespace kmtool::apikey
