#include "audit/log_keys.hpp"
#include "kmtool/audit/record.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/tlog/proof_file.hpp"

namespace kmtool::audit {

namespace {

constexpr std::size_t largest_note = std::size_t{1} << 20;

/// A note in a file, and the checkpoint it says.
std::pair<tlog::Note, tlog::Checkpoint> read_checkpoint(const std::filesystem::path& file) {
  auto note = tlog::Note::parse(read_file(file, largest_note));
  auto checkpoint = tlog::parse_checkpoint(note.text);
  return {std::move(note), std::move(checkpoint)};
}

void require_signed(const tlog::Note& note, const std::string& origin, const std::vector<crypto::PublicKey>& signers, const std::string& what) {
  std::string named;
  for (const auto& signer : signers) {
    if (tlog::verify_note(note, origin, signer)) return;
    named += (named.empty() ? "" : ", ") + signer.description() + " " + signer.fingerprint();
  }
  throw Error::tampered(what + " is not signed by " + (signers.size() == 1 ? "this signer" : "one of these signers") + " (" + named + ")",
                        "it was altered, or the log signer is another (rotated since?): ask for its public key over a channel you trust");
}

}  // namespace

std::string prove_inclusion(op::Context& reader, std::uint64_t seq) {
  const auto newest = newest_checkpoint(reader);
  auto& journal = reader.journal();
  const auto size = journal.size();
  if (seq >= size) throw Error::missing("the journal has no entry " + std::to_string(seq), "its last one is " + std::to_string(size - 1));
  const auto entry = journal.entry(seq);
  if (seq >= newest.checkpoint.size) {
    throw Error::no("entry " + std::to_string(seq) + " was made without a login after the newest checkpoint: nothing proves it yet",
                    "the next command that logs in covers it");
  }
  tlog::InclusionFile file;
  file.index = seq;
  file.extra = to_bytes(entry.bytes);
  file.proof = tlog::prove_inclusion(seq, newest.checkpoint.size, journal::hash_reader(reader.home.paths.journal()));
  file.checkpoint = newest.note.dump();
  if (!tlog::check_inclusion(file.proof, seq, newest.checkpoint.size, tlog::leaf_hash(file.extra), newest.checkpoint.root)) {
    throw Error::tampered("entry " + std::to_string(seq) + " is not what was recorded", "kmtool audit verify says everything that is wrong");
  }
  return file.dump();
}

std::string consistency_file(const tlog::Checkpoint& older, const Newest& newest, tlog::Proof proof) {
  tlog::ConsistencyFile file;
  file.old_size = older.size;
  file.proof = std::move(proof);
  file.checkpoint = newest.note.dump();
  return file.dump();
}

Consistency prove_consistency(op::Context& reader, const std::filesystem::path& older) {
  const auto [note, checkpoint] = read_checkpoint(older);
  const auto newest = newest_checkpoint(reader);
  const auto origin = reader.home.config.origin();
  if (checkpoint.origin != origin) throw Error::tampered(older.string() + " is a checkpoint of another log (" + checkpoint.origin + ")", "this home's is " + origin);
  bool known = false;
  for (const auto& key : log_keys(reader)) known = known || tlog::verify_note(note, origin, key.key);
  if (!known) throw Error::tampered(older.string() + " is signed by none of this home's log signers", "the checkpoint was altered, or it is no checkpoint of this home");
  if (checkpoint.size > newest.checkpoint.size) {
    throw Error::tampered("the journal ends at entry " + std::to_string(newest.checkpoint.size) + ", before that checkpoint's " + std::to_string(checkpoint.size),
                          "this home is an older copy, or entries were removed");
  }
  auto proof = tlog::prove_consistency(checkpoint.size, newest.checkpoint.size, journal::hash_reader(reader.home.paths.journal()));
  if (!tlog::check_consistency(proof, checkpoint.size, newest.checkpoint.size, checkpoint.root, newest.checkpoint.root)) {
    throw Error::tampered("the journal was rewritten: its first " + std::to_string(checkpoint.size) + " entries are not those of that checkpoint",
                          "somebody holds, or held, the log signer's PIN; compare with an exported record (kmtool audit verify DIR)");
  }
  return {checkpoint, newest, consistency_file(checkpoint, newest, std::move(proof))};
}

Proven check_proof(const std::filesystem::path& file, const std::vector<crypto::PublicKey>& signers, const std::optional<std::string>& entry,
                   const std::optional<std::filesystem::path>& older, const std::vector<tlog::VerifierKey>& witnesses) {
  const auto text = read_file(file, largest_note);
  Proven proven;
  const auto take_checkpoint = [&](const std::string& from) {
    const auto note = tlog::Note::parse(from);
    proven.checkpoint = tlog::parse_checkpoint(note.text);
    require_signed(note, proven.checkpoint.origin, signers, "the proof's checkpoint");
    proven.witnesses = require_witnesses(note, witnesses);
  };
  if (tlog::InclusionFile::is(text)) {
    const auto inclusion = tlog::InclusionFile::parse(text);
    take_checkpoint(inclusion.checkpoint);
    proven.index = inclusion.index;
    proven.entry = entry ? *entry : to_text(inclusion.extra);
    if (proven.entry.empty()) throw Error::usage("the proof does not carry its entry", "give it: --entry FILE");
    if (!tlog::check_inclusion(inclusion.proof, inclusion.index, proven.checkpoint.size, tlog::leaf_hash(view(proven.entry)), proven.checkpoint.root)) {
      throw Error::tampered("the proof does not lead from this entry to the checkpoint", "the entry or the proof was altered");
    }
    return proven;
  }
  if (!tlog::ConsistencyFile::is(text)) throw Error::tampered(file.string() + " is neither an inclusion proof nor a consistency proof");
  const auto consistency = tlog::ConsistencyFile::parse(text);
  take_checkpoint(consistency.checkpoint);
  if (!older) throw Error::usage("a consistency proof starts from a checkpoint that you kept", "give it: --old FILE");
  const auto [note, checkpoint] = read_checkpoint(*older);
  require_signed(note, proven.checkpoint.origin, signers, older->string());
  if (checkpoint.size != consistency.old_size) {
    throw Error::tampered("the proof starts from " + std::to_string(consistency.old_size) + " entries, the checkpoint has " + std::to_string(checkpoint.size));
  }
  if (!tlog::check_consistency(consistency.proof, checkpoint.size, proven.checkpoint.size, checkpoint.root, proven.checkpoint.root)) {
    throw Error::tampered("the proof does not lead from the old checkpoint to the new one", "the log was rewritten, or the proof altered");
  }
  proven.old_size = checkpoint.size;
  return proven;
}

}  // namespace kmtool::audit
