#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/journal/verify.hpp"
#include "kmtool/op/context.hpp"
#include "kmtool/tlog/cosignature.hpp"

/// Proof of everything that was done.
namespace kmtool::audit {

// -- the home's own record ---------------------------------------------------------------------------------------------------

struct VerifyOptions {
  bool all_signatures = false;   ///< of every checkpoint, not of the newest alone
  bool token = true;             ///< false: neither anchor nor objects are looked at, nobody logs in
  bool foreign_objects = false;  ///< keys on the token that this home did not make are counted, not held against it
};

/// What verifying found; `findings` empty: everything holds.
struct RecordReport {
  journal::Verified record;
  std::string anchor = "not checked";   ///< ok, not supported, not checked
  std::string objects = "not checked";  ///< ok, not checked
  std::size_t keys = 0;                 ///< versions whose objects are as recorded
  std::size_t foreign = 0;              ///< objects on the token that the record does not explain
  std::size_t found_at_rollback = 0;    ///< of these, keys that stand on record since a restore was accepted
  std::vector<std::string> findings;
};
/// The journal (journal::verify), who signed its newest checkpoint, the catalog under it; then, with the token: the rollback anchor, the
/// signers, and every object against the catalog. Throws what opening a home throws, but for damage: that is a finding.
RecordReport verify_record(const op::Options& options, const VerifyOptions& wanted);

/// The newest checkpoint, its signature and tree proven; the context may read from now on what holds under it.
struct Newest {
  tlog::Note note;
  tlog::Checkpoint checkpoint;
  crypto::PublicKey key;  ///< the log signer that signed it
};
Newest newest_checkpoint(op::Context& reader);

// -- the record in the hands of somebody else -----------------------------------------------------------------------------------

struct ExportResult {
  Newest newest;
  std::size_t written = 0, kept = 0;  ///< files
};
/// C2SP tlog-tiles in `dir`: entries and hashes under the newest checkpoint, the signer's public key as signer.pem and signer.vkey;
/// the checkpoints by which rotated signers handed over as handovers/N; `checkpoint` comes last. A folder that holds an earlier export of this journal is brought up to date. Throws exists (73) for any other
/// folder that is not empty, damaged (65) where the journal does not verify or does not continue what lies there.
ExportResult export_record(op::Context& reader, const std::filesystem::path& dir);

struct ExportedReport {
  tlog::Checkpoint checkpoint;
  std::vector<std::pair<std::string, UnixTime>> witnesses;
  std::vector<std::string> findings;
  std::vector<crypto::PublicKey> successors;  ///< the log signers that the given one handed over to, the newest last; empty: it signed itself
};
/// Needs nothing but the folder and the public key: signature, every entry, every tile. Witnesses named must have cosigned. Where the signer was
/// rotated since, the record's hand-overs lead from the given one to the one that signed the newest checkpoint; not beyond one that was
/// marked compromised.
ExportedReport verify_exported(const std::filesystem::path& dir, const crypto::PublicKey& signer, const std::vector<tlog::VerifierKey>& witnesses,
                               const Progress& progress);

/// A proof file that an entry is in the record under its newest checkpoint. Throws missing (66) where there is no such entry, no (1) where no
/// checkpoint covers it yet.
std::string prove_inclusion(op::Context& reader, std::uint64_t seq);

struct Consistency {
  tlog::Checkpoint older;
  Newest newest;
  std::string file;  ///< the proof
};
/// That the journal only grew since a checkpoint somebody kept (a note, in a file). Throws damaged (65) where it did not.
Consistency prove_consistency(op::Context& reader, const std::filesystem::path& older);

/// A checkpoint as it stands on paper: its number of entries, and words for the first 20 octets of SHA-256 over `kmtool-paper-v1`, LF and its
/// three lines. (Two histories with the same words take 2^80 hashes to find; another one for words that are on paper, 2^160.)
struct Paper {
  std::uint64_t size = 0;
  std::string words;
};
Paper on_paper(const tlog::Checkpoint& checkpoint);
/// The same for what stands on paper: throws usage (64) for words that are no checkpoint's, damaged (65) where the journal's first entries
/// are others.
Consistency prove_consistency(op::Context& reader, const Paper& older);

/// What a proof file proves under these signers (after a rotation the older checkpoint is the older one's); throws damaged (65) where it proves nothing.
struct Proven {
  tlog::Checkpoint checkpoint;
  std::optional<std::uint64_t> index;     ///< inclusion: of this entry
  std::string entry;                      ///< and its bytes
  std::optional<std::uint64_t> old_size;  ///< consistency: since that many entries
  std::vector<std::pair<std::string, UnixTime>> witnesses;
};
/// `entry`: its bytes, where the file does not carry them or others are asked about; `older`: the checkpoint a consistency proof starts from.
Proven check_proof(const std::filesystem::path& file, const std::vector<crypto::PublicKey>& signers, const std::optional<std::string>& entry,
                   const std::optional<std::filesystem::path>& older, const std::vector<tlog::VerifierKey>& witnesses);

struct Cosigned {
  tlog::Checkpoint checkpoint;
  std::string note;  ///< with our line
  std::string key;   ///< our verifier key
  UnixTime time = 0;
  bool first = false;  ///< the first checkpoint of that log here
};
/// As a witness of another home's log: its checkpoint (or the file of prove_consistency()) is verified under `signer`, must continue what
/// was cosigned here last (remembered in the catalog), and gets this home's cosignature. Throws damaged (65) where the log was rewritten,
/// refused (77) where the proof is missing.
Cosigned cosign(op::Context& context, const std::filesystem::path& file, const crypto::PublicKey& signer);

}  // namespace kmtool::audit
