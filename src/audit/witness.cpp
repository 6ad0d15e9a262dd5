#include "kmtool/audit/record.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/crypto/digest.hpp"
#include "kmtool/op/objects.hpp"
#include "kmtool/tlog/proof_file.hpp"

namespace kmtool::audit {

namespace {

/// What was cosigned last: a catalog row of kind `witnessed`.
struct Remembered {
  std::string origin, signer;
  std::uint64_t size = 0;
  tlog::Hash root{};
};

std::string row_id(const std::string& origin) { return hex(crypto::sha256(view(origin))); }

std::optional<Remembered> remembered(op::Context& context, const std::string& origin) {
  const auto row = context.journal().proven("witnessed", row_id(origin));
  if (!row) return std::nullopt;
  const Json json = row->json();
  JsonReader reader(json, [](const std::string& what) { throw Error::tampered("catalog row witnessed: " + what, "run kmtool doctor"); });
  Remembered last{reader.text("origin"), reader.text("signer"), static_cast<std::uint64_t>(reader.integer("size", 0, std::int64_t{1} << 52)), {}};
  const auto root = reader.base64("root");
  reader.finish();
  if (root.size() != last.root.size()) throw Error::tampered("catalog row witnessed: its root is malformed", "run kmtool doctor");
  std::copy(root.begin(), root.end(), last.root.begin());
  return last;
}

void require_continues(const Remembered& last, const tlog::Checkpoint& now, const tlog::ConsistencyFile* proof) {
  if (now.size < last.size) {
    throw Error::tampered("a checkpoint over " + std::to_string(last.size) + " entries was cosigned here; this one has only " + std::to_string(now.size),
                          "it is an old checkpoint, or the log was rolled back");
  }
  if (now.size == last.size && now.root == last.root) return;
  if (proof == nullptr && now.size > last.size) {
    throw Error::refused("witness", "the proof is missing that this checkpoint continues the one over " + std::to_string(last.size) + " entries which was cosigned here last",
                         "ask the log's owner for it: kmtool audit consistency LAST-COSIGNED-CHECKPOINT --out FILE, and give that file");
  }
  if (proof != nullptr && proof->old_size != last.size) {
    throw Error::refused("witness", "the proof starts from " + std::to_string(proof->old_size) + " entries; what was cosigned here last had " + std::to_string(last.size),
                         "ask the log's owner for a proof from the checkpoint that was cosigned here last");
  }
  if (proof == nullptr || !tlog::check_consistency(proof->proof, last.size, now.size, last.root, now.root)) {
    throw Error::tampered("the log was rewritten: this checkpoint does not continue the one over " + std::to_string(last.size) + " entries which was cosigned here",
                          "keep both checkpoints: together they prove it");
  }
}

}  // namespace

Cosigned cosign(op::Context& context, const std::filesystem::path& file, const crypto::PublicKey& signer) {
  const auto text = read_file(file, 1 << 20);
  std::optional<tlog::ConsistencyFile> proof;
  if (tlog::ConsistencyFile::is(text)) proof = tlog::ConsistencyFile::parse(text);
  auto note = tlog::Note::parse(proof ? proof->checkpoint : text);
  Cosigned result;
  result.checkpoint = tlog::parse_checkpoint(note.text);
  const auto& origin = result.checkpoint.origin;
  if (!tlog::verify_note(note, origin, signer)) {
    throw Error::tampered(file.string() + " is not signed by this signer (" + signer.description() + " " + signer.fingerprint() + ")",
                          "it was altered, or the log signer is another: ask for its signers/log.pem over a channel you trust");
  }
  if (origin == context.home.config.origin()) throw Error::usage("a home is no witness of its own log", "cosign at another home, run by other people");
  const auto last = remembered(context, origin);
  result.first = !last;
  if (last) require_continues(*last, result.checkpoint, proof ? &*proof : nullptr);
  result.time = context.now();
  if (context.options.dry_run) return result;
  // Remembered before it is given away: a witness must not cosign two histories, even if it is stopped in between.
  const Json row{{"origin", origin}, {"signer", signer.fingerprint()}, {"size", result.checkpoint.size}, {"root", base64(result.checkpoint.root)}};
  context.note("audit cosign", origin, {{"size", result.checkpoint.size}, {"root", base64(result.checkpoint.root)}, {"signer", signer.fingerprint()}},
               {{"witnessed", row_id(origin), row}});
  note.signatures.push_back(op::cosign(context, note.text));
  const auto& own = context.home.config.origin();
  for (const auto& mine : context.signers()) {
    const auto key = crypto::PublicKey::from_spki(mine.spki);
    if (mine.use == "log" && mine.state == "active" && key.is_ed25519()) result.key = tlog::cosigner_key(own, key);
  }
  result.note = note.dump();
  return result;
}

}  // namespace kmtool::audit
