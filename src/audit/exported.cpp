#include <map>

#include "audit/log_keys.hpp"
#include "kmtool/audit/record.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/json.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/tlog/tiles.hpp"

namespace kmtool::audit {

namespace {

constexpr std::size_t most_findings = 16;

using Roots = std::map<std::uint64_t, tlog::Hash>;  ///< by number of entries

std::string entries_file(std::uint64_t first, std::uint64_t size) { return tlog::entries_path(first / tlog::tile_width, std::min(tlog::tile_width, size - first)); }

/// Whoever made the folder is nobody to trust: a pipe in a file's place would keep its reader for ever.
std::string read_part(const std::filesystem::path& file, std::size_t limit) {
  std::error_code ignored;
  const auto status = std::filesystem::status(file, ignored);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) throw Error::tampered(printable(file.string()) + " is not a regular file");
  return read_file(file, limit);
}

std::string read_entries(const std::filesystem::path& dir, const std::string& name) { return read_part(dir / name, std::size_t{65538} * tlog::tile_width); }

/// Recomputes the tree from the entries and holds every tile against it, and checkpoints within.
class Folder {
 public:
  Folder(const std::filesystem::path& dir, std::uint64_t size, Roots within, const Progress& progress)
      : dir_(dir), size_(size), within_(std::move(within)), progress_(progress) {}

  tlog::Hash run() {
    for (std::uint64_t first = 0; first < size_; first += tlog::tile_width) {
      const auto width = std::min(tlog::tile_width, size_ - first);
      const auto name = entries_file(first, size_);
      const auto bundle = read_entries(dir_, name);
      const auto entries = tlog::split_bundle(bundle);
      if (entries.size() != width) throw Error::tampered(name + " has " + std::to_string(entries.size()) + " entries instead of " + std::to_string(width));
      for (const auto entry : entries) add(entry);
      if (progress_) progress_("verifying", first, size_);
    }
    for (unsigned level = 0; level < tiles_.size(); ++level) {
      if (!tiles_[level].empty()) close(level, (size_ >> (level * tlog::tile_height)) / tlog::tile_width);
    }
    return tree_.root();
  }

  std::vector<std::string> findings;

 private:
  void add(std::string_view entry) {
    tree_.add(tlog::leaf_hash(view(entry)), [this](unsigned level, std::uint64_t n, const tlog::Hash& hash) {
      if (level % tlog::tile_height != 0) return;
      const auto tile = level / tlog::tile_height;
      if (tiles_.size() <= tile) tiles_.resize(tile + 1);
      tiles_[tile].push_back(hash);
      if (tiles_[tile].size() == tlog::tile_width) close(tile, n / tlog::tile_width);
    });
    const auto wanted = within_.find(tree_.size());
    if (wanted != within_.end() && tree_.root() != wanted->second) {
      find("the first " + std::to_string(tree_.size()) + " entries are not those that the older log signer handed over");
    }
  }

  void find(std::string what) {
    if (findings.size() < most_findings) findings.push_back(std::move(what));
  }

  void close(unsigned level, std::uint64_t n) {
    const auto name = tlog::tile_path(level, n, tiles_[level].size());
    const auto wanted = tlog::tile_bytes(tiles_[level]);
    const auto found = read_part(dir_ / name, tlog::tile_width * sizeof(tlog::Hash));
    if (!equal(view(found), wanted)) {
      if (level == 0 && found.size() == wanted.size()) {
        for (std::size_t i = 0; i < tiles_[0].size(); ++i) {
          if (!equal(view(found).subspan(i * 32, 32), tiles_[0][i])) find("entry " + std::to_string(n * tlog::tile_width + i) + " is not what " + name + " was made from");
        }
      } else {
        find(name + " is not the tree's");
      }
    }
    tiles_[level].clear();
  }

  const std::filesystem::path& dir_;
  std::uint64_t size_;
  Roots within_;
  const Progress& progress_;
  tlog::Growing tree_;
  std::vector<std::vector<tlog::Hash>> tiles_;  ///< the one being filled at each level
};

// -- signers that were rotated -------------------------------------------------------------------------------------------------

/// The newest checkpoint's signer, found from one that the verifier knows.
class Handovers {
 public:
  Handovers(const std::filesystem::path& dir, const tlog::Note& newest, const tlog::Checkpoint& checkpoint) : dir_(dir), newest_(newest), checkpoint_(checkpoint) {}

  /// Throws damaged (65) where nothing leads from `signer` to the newest checkpoint.
  void follow(const crypto::PublicKey& signer) {
    auto key = signer;
    for (const auto& [version, note] : read()) {
      if (!tlog::verify_note(note, checkpoint_.origin, key)) continue;
      const auto then = tlog::parse_checkpoint(note.text);
      if (then.size == 0 || then.size > checkpoint_.size) throw Error::tampered("handovers/" + std::to_string(version) + " has more entries than the record");
      key = introduced(version, then.size - 1, key);
      within.insert_or_assign(then.size, then.root);
      successors.push_back(key);
      if (tlog::verify_note(newest_, checkpoint_.origin, key)) return;
    }
    throw Error::tampered((dir_ / "checkpoint").string() + " is not signed by this signer (" + signer.description() + " " + signer.fingerprint() + "), nor by one that it handed over to",
                          "the checkpoint was altered, or the log signer is another: ask for its public key over a channel you trust");
  }

  std::vector<crypto::PublicKey> successors;
  Roots within;

 private:
  [[nodiscard]] std::map<int, tlog::Note> read() const {
    constexpr int most = 10000;
    std::map<int, tlog::Note> notes;
    std::error_code error;
    for (int version = 2; version < most && std::filesystem::exists(dir_ / "handovers" / std::to_string(version), error); ++version) {
      notes.emplace(version, tlog::Note::parse(read_part(dir_ / "handovers" / std::to_string(version), 1 << 20)));
    }
    return notes;
  }

  [[nodiscard]] std::string entry(std::uint64_t seq) const {
    const auto first = seq / tlog::tile_width * tlog::tile_width;
    const auto bundle = read_entries(dir_, entries_file(first, checkpoint_.size));
    const auto entries = tlog::split_bundle(bundle);
    if (seq - first >= entries.size()) throw Error::tampered("the record lacks entry " + std::to_string(seq));
    return std::string(entries[seq - first]);
  }

  /// What the entry says of log signers.
  [[nodiscard]] std::vector<op::SignerRecord> log_signers_in(std::uint64_t seq, const std::string& name) const {
    std::vector<op::SignerRecord> found;
    const Json json = parse_json(entry(seq), [&](const std::string& what) { throw Error::tampered(name + ": " + what); });
    try {
      for (const auto& change : json.at("changes")) {
        const auto id = change.at("id").get<std::string>();
        if (change.at("kind") == "signer" && id.starts_with("log@")) found.push_back(op::SignerRecord::from({"signer", id, dump_json(change.at("value")), seq}));
      }
    } catch (const std::exception&) {  // nobody has proven the entry yet
      throw Error::tampered(name + " is not an entry that kmtool writes");
    }
    return found;
  }

  /// The signer that this entry names as the next; `older` must be retired by it, and not compromised.
  [[nodiscard]] crypto::PublicKey introduced(int version, std::uint64_t seq, const crypto::PublicKey& older) const {
    const auto name = "entry " + std::to_string(seq);
    std::optional<crypto::PublicKey> next;
    bool retired = false;
    for (const auto& signer : log_signers_in(seq, name)) {
      if (signer.version == version && signer.state == "active") next = crypto::PublicKey::from_spki(signer.spki);
      if (equal(signer.spki, older.spki()) && signer.state == "compromised") {
        throw Error::tampered("this signer (" + older.description() + " " + older.fingerprint() + ") was marked compromised by " + name + ": what it handed over counts for nothing",
                              "ask for the new log signer's public key over a channel you trust (kmtool signer show --log)");
      }
      retired = retired || (equal(signer.spki, older.spki()) && signer.state == "retired");
    }
    if (!next || !retired) throw Error::tampered(name + " hands nothing over to log@" + std::to_string(version), "handovers/" + std::to_string(version) + " is not of this record");
    return *next;
  }

  const std::filesystem::path& dir_;
  const tlog::Note& newest_;
  const tlog::Checkpoint& checkpoint_;
};

}  // namespace

ExportedReport verify_exported(const std::filesystem::path& dir, const crypto::PublicKey& signer, const std::vector<tlog::VerifierKey>& witnesses,
                               const Progress& progress) {
  const auto file = dir / "checkpoint";
  const auto note = tlog::Note::parse(read_part(file, 1 << 20));
  ExportedReport report;
  report.checkpoint = tlog::parse_checkpoint(note.text);
  Handovers handovers(dir, note, report.checkpoint);
  if (!tlog::verify_note(note, report.checkpoint.origin, signer)) handovers.follow(signer);
  report.successors = std::move(handovers.successors);
  report.witnesses = require_witnesses(note, witnesses);
  Folder folder(dir, report.checkpoint.size, std::move(handovers.within), progress);
  const auto root = folder.run();
  report.findings = std::move(folder.findings);
  if (root != report.checkpoint.root) report.findings.push_back("the entries are not those that the checkpoint was signed over");
  return report;
}

}  // namespace kmtool::audit
