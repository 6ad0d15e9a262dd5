#include "audit/log_keys.hpp"

namespace kmtool::audit {

namespace {

/// The numbers of the entries that first named each log signer, in their order.
std::vector<std::uint64_t> introductions(const journal::Journal& journal, const std::vector<op::SignerRecord>& signers) {
  std::vector<std::uint64_t> found;
  journal.each_entry(0, [&](const journal::Entry& entry) {
    const auto& signer = signers[found.size()];
    const std::string name = R"({"kind":"signer","id":"log@)" + std::to_string(signer.version) + "\"";
    if (entry.bytes.find(name) != std::string::npos) found.push_back(entry.seq);
    return found.size() < signers.size();
  });
  return found;
}

}  // namespace

std::vector<LogKey> log_keys(op::Context& reader) {
  std::vector<op::SignerRecord> signers;
  for (auto& signer : reader.signers()) {
    if (signer.use == "log") signers.push_back(std::move(signer));
  }
  std::vector<std::uint64_t> at(1, 0);
  if (signers.size() > 1) at = introductions(reader.journal(), signers);
  std::vector<LogKey> keys;
  for (std::size_t i = 0; i < signers.size() && i < at.size(); ++i) {
    // The entry that introduces a signer is the older one's to sign; the first of all signs its own.
    keys.push_back({i == 0 ? 0 : at[i] + 2, at[i], crypto::PublicKey::from_spki(signers[i].spki)});
  }
  return keys;
}

bool signed_in_turn(const std::vector<LogKey>& keys, const std::string& origin, std::uint64_t size, const std::string& note) {
  for (auto key = keys.rbegin(); key != keys.rend(); ++key) {
    if (size >= key->from) return tlog::verify_note(tlog::Note::parse(note), origin, key->key);
  }
  return false;
}

std::vector<std::pair<std::string, UnixTime>> require_witnesses(const tlog::Note& note, const std::vector<tlog::VerifierKey>& witnesses) {
  std::vector<std::pair<std::string, UnixTime>> found;
  for (const auto& witness : witnesses) {
    const auto time = tlog::cosigned_at(note, witness);
    if (!time) throw Error::tampered("the checkpoint is not cosigned by the witness " + witness.name, "ask for one that is, or for the witness's verifier key");
    found.emplace_back(witness.name, *time);
  }
  return found;
}

}  // namespace kmtool::audit
