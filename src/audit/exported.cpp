#include "audit/log_keys.hpp"
#include "kmtool/audit/record.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/tlog/tiles.hpp"

namespace kmtool::audit {

namespace {

constexpr std::size_t most_findings = 16;

/// Recomputes the tree from the entries and holds every tile against it.
class Folder {
 public:
  Folder(const std::filesystem::path& dir, std::uint64_t size, const Progress& progress) : dir_(dir), size_(size), progress_(progress) {}

  tlog::Hash run() {
    for (std::uint64_t first = 0; first < size_; first += tlog::tile_width) {
      const auto width = std::min(tlog::tile_width, size_ - first);
      const auto name = tlog::entries_path(first / tlog::tile_width, width);
      const auto bundle = read_file(dir_ / name, std::size_t{65538} * tlog::tile_width);
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
  }

  void find(std::string what) {
    if (findings.size() < most_findings) findings.push_back(std::move(what));
  }

  void close(unsigned level, std::uint64_t n) {
    const auto name = tlog::tile_path(level, n, tiles_[level].size());
    const auto wanted = tlog::tile_bytes(tiles_[level]);
    const auto found = read_file(dir_ / name, tlog::tile_width * sizeof(tlog::Hash));
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
  const Progress& progress_;
  tlog::Growing tree_;
  std::vector<std::vector<tlog::Hash>> tiles_;  ///< the one being filled at each level
};

}  // namespace

ExportedReport verify_exported(const std::filesystem::path& dir, const crypto::PublicKey& signer, const std::vector<tlog::VerifierKey>& witnesses,
                               const Progress& progress) {
  const auto file = dir / "checkpoint";
  const auto note = tlog::Note::parse(read_file(file, 1 << 20));
  ExportedReport report;
  report.checkpoint = tlog::parse_checkpoint(note.text);
  if (!tlog::verify_note(note, report.checkpoint.origin, signer)) {
    throw Error::tampered(file.string() + " is not signed by this signer (" + signer.description() + " " + signer.fingerprint() + ")",
                          "the checkpoint was altered, or the log signer is another: ask for its public key over a channel you trust");
  }
  report.witnesses = require_witnesses(note, witnesses);
  Folder folder(dir, report.checkpoint.size, progress);
  const auto root = folder.run();
  report.findings = std::move(folder.findings);
  if (root != report.checkpoint.root) report.findings.push_back("the entries are not those that the checkpoint was signed over");
  return report;
}

}  // namespace kmtool::audit
