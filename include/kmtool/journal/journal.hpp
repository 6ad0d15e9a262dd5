#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/core/time.hpp"
#include "kmtool/crypto/public_key.hpp"
#include "kmtool/journal/entry.hpp"
#include "kmtool/tlog/note.hpp"

namespace kmtool::journal {

/// One catalog row.
struct Item {
  std::string kind, id;
  std::string value;      ///< JSON text, as in the entry that set it
  std::uint64_t seq = 0;  ///< that entry
  [[nodiscard]] Json json() const;
};

/// The log signer, as far as the journal needs it: signing happens in the token.
struct LogSigner {
  std::string name;  ///< note name = checkpoint origin
  crypto::PublicKey key;
  tlog::SignText sign;
};

/// What has been proven about the journal's head by check_head().
struct Head {
  tlog::Checkpoint checkpoint;     ///< the newest signed one
  std::uint64_t size = 0;          ///< entries, with unauthenticated ones behind the checkpoint
  std::string catalog_root;        ///< hex, from the newest signed entry
};

/// The append-only record and the catalog made from it: one SQLite database (WAL: readers never wait, each append is one
/// durable transaction). Tables: entries, hashes (RFC 6962 subtree hashes), checkpoints, items, buckets; cache is empty and only
/// part of the format.
///
/// The catalog is authenticated: rows fall into 256 buckets by hash of kind and id, a bucket's digest covers its rows, the
/// root covers the bucket digests, every signed entry carries the root after its changes, and the checkpoint covers the
/// entry. So a decision that reads one row checks one bucket, and no row can be altered, dropped or put back to an older
/// (genuine) value unnoticed.
class Journal {
 public:
  enum class Mode { read, write };
  /// Throws missing (66) where there is none, io/damaged where SQLite cannot read it.
  static Journal open(const std::filesystem::path& file, Mode mode);
  static Journal create(const std::filesystem::path& file);
  Journal(Journal&&) noexcept;
  Journal& operator=(Journal&&) noexcept;
  ~Journal();

  /// From here to end_reading() everything read is of one moment, also while another process appends. Anything written ends it.
  void begin_reading();
  void end_reading();

  [[nodiscard]] std::uint64_t size() const;
  [[nodiscard]] Entry entry(std::uint64_t seq) const;
  [[nodiscard]] tlog::Hash root(std::uint64_t size) const;
  /// Newest checkpoint note; nullopt in an empty journal.
  [[nodiscard]] std::optional<tlog::Note> last_note() const;
  /// The checkpoint over the first `size` entries, where there is one.
  [[nodiscard]] std::optional<tlog::Note> note_at(std::uint64_t size) const;
  /// The newest checkpoint that this key signed.
  [[nodiscard]] std::optional<tlog::Checkpoint> last_checkpoint_by(const std::string& origin, const crypto::PublicKey& key) const;
  /// Walks entries from `first` on; stops when the function returns false.
  void each_entry(std::uint64_t first, const std::function<bool(const Entry&)>& visit) const;

  /// Proves the head: the newest checkpoint is signed by `key` under `origin`; its root is that of the stored tree; the entry
  /// before its end is on the tree and carries the catalog's root; what lies behind it is unauthenticated and changes
  /// nothing. Throws damaged (65) naming what does not hold.
  Head check_head(const std::string& origin, const crypto::PublicKey& key) const;
  /// Holds every entry and every stored subtree hash against each other, from the first on (a head's proof speaks only of the
  /// last one). Throws damaged (65) naming the first entry that is missing or not what the tree was made from.
  void check_entries() const;
  /// As check_head for the tree only, without signature (readers without a key).
  [[nodiscard]] bool contains_root(std::uint64_t size, const tlog::Hash& root) const;

  // -- catalog, unproven (readers: list, show, bundles) ---------------------------------------------------------------
  [[nodiscard]] std::optional<Item> item(const std::string& kind, const std::string& id) const;
  [[nodiscard]] std::vector<Item> items(const std::string& kind, const std::string& prefix = {}) const;

  // -- catalog, proven under a head (decisions) -----------------------------------------------------------------------
  /// After check_head(): rows below are held against its catalog root; throws damaged (65) where they differ.
  void trust_head(const Head& head);
  [[nodiscard]] std::optional<Item> proven(const std::string& kind, const std::string& id) const;
  [[nodiscard]] std::vector<Item> proven_all(const std::string& kind) const;
  /// The same without copies, sorted by id; `visit` must not append.
  void each_proven(const std::string& kind, const std::function<void(const Item&)>& visit) const;

  /// Appends in one transaction: entries, hashes, catalog changes and, with a signer, a checkpoint signed over it *before* the
  /// commit, so that an authenticated entry without a checkpoint cannot exist. Returns the first entry's number. The
  /// signature is verified under signer->key before anything is committed: a key in the home that is not the token's log
  /// signer is found here (65). Unauthenticated drafts must not have changes.
  std::uint64_t append(const Draft& draft, const Actor& actor, UnixTime time, const LogSigner* signer);

  /// A consistent copy of the whole database in a new file (VACUUM INTO).
  void copy_to(const std::filesystem::path& file) const;

 private:
  struct Impl;
  explicit Journal(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace kmtool::journal
