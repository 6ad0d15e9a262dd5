#pragma once
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kmtool/core/bytes.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/time.hpp"
#include "kmtool/crypto/digest.hpp"
#include "kmtool/crypto/public_key.hpp"
#include "kmtool/domain/algorithm.hpp"
#include "kmtool/domain/attributes.hpp"
#include "kmtool/domain/state.hpp"
#include "kmtool/domain/transport.hpp"

namespace kmtool::bundle {

/// The bundle file, format version 1 (DESIGN.md, "Bundle format"). Every struct here is one line or a part of one; the
/// order of members is the order in the file.

struct TokenNote {
  std::string label, serial, manufacturer, model;
  bool hardware = false;
};
/// A KEK, or (kind `kek` only) somebody's public key.
struct Recipient {
  std::string kek;  ///< `root@1`; empty for a public key
  Bytes id;         ///< CKA_ID of the KEK
  KeyType type = KeyType::aes256;
  int strength = 0;  ///< bits
  WrapAlgorithm algorithm = WrapAlgorithm::aes_kwp;  ///< of a KEK
  std::string mechanism = {};   ///< `CKM_AES_KEY_WRAP_PAD`, for the reader's information
  std::string public_key = {};  ///< SHA-256 of the SPKI, hex; empty for a KEK
  Transport transport = {};     ///< of a public key
  [[nodiscard]] bool is_public() const { return !public_key.empty(); }
  /// `root@1`, or `public key 4f1c…` with the whole fingerprint.
  [[nodiscard]] std::string name() const { return is_public() ? "public key " + public_key : kek; }
  [[nodiscard]] std::string_view algorithm_text() const { return is_public() ? to_text(transport) : to_text(algorithm); }
};
/// Kind `kek` only: the wrapped values are encrypted once more, and only so many custodians' shares together open that (crypto/gate.hpp).
struct Quorum {
  unsigned needed = 0, shares = 0;        ///< 2 ≤ needed ≤ shares ≤ 255
  std::vector<std::string> commitments = {};  ///< one a share: SHA-256, hex
};
struct WaiverNote {
  std::string rule, reason;
};
struct Header {
  std::string kind = "keys";  ///< or `kek`: two records, the KEK's AES key and its HMAC key
  std::string id;  ///< UUID
  UnixTime created = 0;
  std::string creator;
  TokenNote token;
  std::vector<Recipient> recipients;  ///< 1…16
  std::uint64_t records = 0;          ///< 1…10,000,000
  std::vector<WaiverNote> waivers;
  std::optional<Quorum> quorum = {};
  [[nodiscard]] bool of_kek() const { return kind == "kek"; }
};
struct Record {
  std::string name;
  int version = 1;
  Bytes id;  ///< CKA_ID, 16 bytes
  KeyType type = KeyType::aes256;
  Role role = Role::data;
  int strength = 0;
  State state = State::active;
  UnixTime created = 0;
  std::optional<UnixTime> expires;
  /// `attributes`: the exportable flag and what was read back from the token.
  bool extractable = false, local = false, always_sensitive = false, never_extractable = false;
  Usage usage;
  std::optional<Bytes> public_spki;               ///< pairs: SubjectPublicKeyInfo, base64 in the file
  std::optional<unsigned long> plaintext_length;  ///< secret keys: octets of the key value; pairs: null
  std::vector<Bytes> wrapped;                     ///< one per recipient, same order
};
/// KEK recipients seal, in their order; a bundle of kind `kek` ends with the seal of the KEK that it holds. That one also says that the
/// two records belong together: its HMAC key, wrapped under its own AES key, must open to a key that makes the same seal.
struct Seal {
  static constexpr std::size_t own = ~std::size_t{0};
  std::size_t recipient = 0;  ///< its number; `own` for the KEK in the bundle
  Bytes value;                ///< 32 octets, HMAC-SHA-256
  WrapAlgorithm pair_algorithm = WrapAlgorithm::aes_kwp;  ///< own seal
  Bytes pair = {};                                        ///< own seal: 40 octets
};
/// The HMAC key under its own AES key.
struct PairProof {
  WrapAlgorithm algorithm = WrapAlgorithm::aes_kwp;
  Bytes value;
};
struct Signature {
  std::string key;  ///< SHA-256 of the signer's SPKI, hex
  Bytes value;      ///< DER
};

inline constexpr std::size_t max_line = std::size_t{1} << 20;

/// Seals by recipient number (or Seal::own): HMAC over the message given. Runs in the token.
using SealFunction = std::function<Bytes(std::size_t recipient, ByteView message)>;
/// Signs a SHA-256 digest, ECDSA P-256, DER result. Runs in the token.
using SignFunction = std::function<Bytes(ByteView digest)>;

/// Writes one bundle into an AtomicFile (which the caller commits); records are written as they come: flat memory.
class Writer {
 public:
  Writer(AtomicFile& file, const Header& header);
  /// Throws internal (70) when there are more than header.records, wrapped values do not match the recipients, or read() would
  /// refuse the record: nothing is written that cannot be read back.
  void add(const Record& record);
  /// Writes seals and signature. Returns the SHA-256 of the whole file, hex.
  /// `pair`: of a bundle of kind `kek`.
  std::string finish(const SealFunction& seal, const SignFunction& sign, const std::string& signer_fingerprint, const PairProof& pair = {});

 private:
  void line(const std::string& text);
  AtomicFile& file_;
  std::uint64_t written_ = 0;
  Header header_;
  std::optional<Record> first_;  ///< of a KEK: what the second must agree with
  std::vector<std::pair<std::uint64_t, std::uint32_t>> seen_;  ///< what must be unique: hash and line
  crypto::Digest sha512_, sha256_;
};

/// What the first pass over a bundle gives. Nothing in it is proven until signature (and seals) have been checked.
struct Summary {
  Header header;
  std::vector<Seal> seals;
  Signature signature;
  Bytes seal_message;       ///< what the seals are over: the domain line and SHA-512 of the lines above the seals
  Bytes signed_digest;      ///< SHA-256 of every byte above the signature line
  std::string file_digest;  ///< SHA-256 of the whole file, hex
  std::size_t seals_line = 0, signature_line = 0;
};

/// One strict pass: every line parsed, every rule of the format held; `on_record` (may be empty) gets each record with its
/// line number. Throws damaged (65) with `NAME: line N: …`. Flat memory.
Summary read(LineReader& input, const std::function<void(const Record&, std::size_t line)>& on_record);
/// Only the header, unverified.
Header read_header(LineReader& input);

/// True when `signer` made the signature: fingerprint equal and signature good. A signature that names `signer` but does not
/// verify throws damaged (65) with the line number.
bool signature_by(const Summary& summary, const crypto::PublicKey& signer, const std::string& file_name);
/// Compares in constant time; throws damaged (65) with the line number when the seal is not `expected`. `recipient` may be Seal::own.
void require_seal(const Summary& summary, std::size_t recipient, ByteView expected, const std::string& file_name);
/// The seal of a recipient or of the KEK in the bundle; nullptr for public keys, which do not seal.
const Seal* seal_of(const Summary& summary, std::size_t recipient);

/// One line of the file each, without LF: the one serialisation.
std::string dump(const Header& header);
std::string dump(const Record& record);
std::string dump(const std::vector<Seal>& seals);
std::string dump(const Signature& signature);

}  // namespace kmtool::bundle
