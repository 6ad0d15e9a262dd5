#include "kmtool/journal/journal.hpp"

#include <sys/stat.h>

#include <array>
#include <numeric>
#include <set>

#include "journal/catalog.hpp"
#include "journal/row_json.hpp"
#include "journal/sqlite.hpp"
#include "kmtool/core/file.hpp"

namespace kmtool::journal {

namespace {

constexpr const char* restore_hint = "restore the home from its backup (kmtool home restore), or look into it with kmtool doctor";

constexpr std::array<const char*, 4> tables{"CREATE TABLE entries(seq INTEGER PRIMARY KEY, data BLOB NOT NULL)",
                                            "CREATE TABLE hashes(id INTEGER PRIMARY KEY, hash BLOB NOT NULL)",
                                            "CREATE TABLE checkpoints(size INTEGER PRIMARY KEY, note TEXT NOT NULL)",
                                            "CREATE TABLE cache(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"};

std::int64_t signed_of(std::uint64_t n) { return static_cast<std::int64_t>(n); }

tlog::Hash to_hash(ByteView blob) {
  if (blob.size() != 32) throw Error::tampered("the journal holds a malformed hash", restore_hint);
  tlog::Hash hash{};
  std::copy(blob.begin(), blob.end(), hash.begin());
  return hash;
}

}  // namespace

struct Journal::Impl {
  Database db;
  Catalog catalog;

  Impl(const std::filesystem::path& file, int flags) : db(file, flags), catalog(db) {}

  void configure() {
    int on = 1;
    // WAL that stays, no checkpoint at close: a command costs one fsync per append and readers never wait (DESIGN.md, Speed).
    sqlite3_file_control(db.native(), "main", SQLITE_FCNTL_PERSIST_WAL, &on);
    sqlite3_db_config(db.native(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    sqlite3_db_config(db.native(), SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(db.native(), SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
    sqlite3_db_config(db.native(), SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
    sqlite3_db_config(db.native(), SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
    db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY");
  }

  tlog::HashReader reader() {
    return [this](const std::vector<std::uint64_t>& indexes) {
      Statement query(db, "SELECT hash FROM hashes WHERE id = ?");
      std::vector<tlog::Hash> hashes;
      for (const auto index : indexes) {
        query.bind(1, signed_of(index));
        if (!query.step()) throw Error::tampered("the journal lacks a tree hash", restore_hint);
        hashes.push_back(to_hash(query.blob(0)));
        query.reset();
      }
      return hashes;
    };
  }

  std::uint64_t size() {
    Statement query(db, "SELECT coalesce(max(seq) + 1, 0) FROM entries");
    query.step();
    return static_cast<std::uint64_t>(query.integer(0));
  }

  /// Everything in the schema is ours: a trigger, a view or a table with other rules could change what is signed.
  void require_schema() {
    Statement query(db, "SELECT sql FROM sqlite_master");
    std::multiset<std::string> found, wanted;
    while (query.step()) found.insert(query.text(0));
    for (const auto* statement : tables) wanted.insert(statement);
    for (const auto* statement : Catalog::schema()) wanted.insert(statement);
    if (found != wanted) {
      throw Error::tampered("the journal's database has other tables, triggers or views than kmtool made", restore_hint);
    }
  }

  void end_reading() { reading.reset(); }

  std::optional<Transaction> reading;

  std::uint64_t append(const Draft& draft, const Actor& actor, UnixTime time, const LogSigner* signer);

  void add_line(std::uint64_t seq, const std::string& line) {
    Statement insert(db, "INSERT INTO entries(seq, data) VALUES(?, ?)");
    insert.bind(1, signed_of(seq)).bind(2, line).run();
    const auto hashes = tlog::hashes_for_append(seq, tlog::leaf_hash(view(line)), reader());
    Statement store(db, "INSERT INTO hashes(id, hash) VALUES(?, ?)");
    std::uint64_t id = tlog::stored_count(seq);
    for (const auto& hash : hashes) store.bind(1, signed_of(id++)).bind_blob(2, hash).run();
  }
};

Journal::Journal(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Journal::Journal(Journal&&) noexcept = default;
Journal& Journal::operator=(Journal&&) noexcept = default;
Journal::~Journal() = default;

Journal Journal::open(const std::filesystem::path& file, Mode mode) {
  struct stat info {};
  if (lstat(file.c_str(), &info) != 0) {
    if (errno == ENOENT) throw Error::missing("there is no journal at " + file.string(), "make a home first (kmtool init); where there was one, restore it: kmtool home restore FILE --force");
    throw Error::from_errno("open", file.string(), errno);
  }
  if (!S_ISREG(info.st_mode)) throw Error::config(file.string() + " is not a regular file", "nothing was read through it; look at who put it there");
  // Readers open for writing too where they may: a WAL database needs its shared-memory file.
  auto impl = std::make_unique<Impl>(file, SQLITE_OPEN_READWRITE);
  impl->configure();
  if (mode == Mode::read) impl->db.exec("PRAGMA query_only = 1");
  Statement version(impl->db, "PRAGMA user_version");
  version.step();
  if (version.integer(0) != 1) {
    throw Error::tampered("the journal " + file.string() + " is not of a version this kmtool knows",
                          "use the kmtool that made it, or restore the home from its backup");
  }
  impl->require_schema();
  return Journal(std::move(impl));
}

Journal Journal::create(const std::filesystem::path& file) {
  write_private_file(file, {}, false);
  auto impl = std::make_unique<Impl>(file, SQLITE_OPEN_READWRITE);
  impl->db.exec("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL");
  impl->configure();
  {
    Transaction transaction(impl->db);
    for (const auto* statement : tables) impl->db.exec(statement);
    for (const auto* statement : Catalog::schema()) impl->db.exec(statement);
    impl->db.exec("PRAGMA user_version = 1");
    transaction.commit();
  }
  impl->catalog.trust(impl->catalog.root());  // nothing is in it
  fsync_path(file.parent_path());
  return Journal(std::move(impl));
}

void Journal::begin_reading() {
  if (!impl_->reading) impl_->reading.emplace(impl_->db, "BEGIN");
}
void Journal::end_reading() { impl_->end_reading(); }

std::uint64_t Journal::size() const { return impl_->size(); }

Entry Journal::entry(std::uint64_t seq) const {
  Statement query(impl_->db, "SELECT data FROM entries WHERE seq = ?");
  query.bind(1, signed_of(seq));
  if (!query.step()) throw Error::tampered("the journal lacks entry " + std::to_string(seq), restore_hint);
  return {seq, query.text(0)};
}

tlog::Hash Journal::root(std::uint64_t size) const { return tlog::root_of(size, impl_->reader()); }

bool Journal::contains_root(std::uint64_t size, const tlog::Hash& root) const {
  return size <= impl_->size() && tlog::root_of(size, impl_->reader()) == root;
}

std::optional<tlog::Note> Journal::last_note() const {
  Statement query(impl_->db, "SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1");
  if (!query.step()) return std::nullopt;
  return tlog::Note::parse(query.text(0));
}

std::optional<tlog::Note> Journal::note_at(std::uint64_t size) const {
  Statement query(impl_->db, "SELECT note FROM checkpoints WHERE size = ?");
  query.bind(1, signed_of(size));
  if (!query.step()) return std::nullopt;
  return tlog::Note::parse(query.text(0));
}

std::optional<tlog::Checkpoint> Journal::last_checkpoint_by(const std::string& origin, const crypto::PublicKey& key) const {
  Statement query(impl_->db, "SELECT note FROM checkpoints ORDER BY size DESC");
  while (query.step()) {
    const auto note = tlog::Note::parse(query.text(0));
    if (tlog::verify_note(note, origin, key)) return tlog::parse_checkpoint(note.text);
  }
  return std::nullopt;
}

void Journal::each_entry(std::uint64_t first, const std::function<bool(const Entry&)>& visit) const {
  Statement query(impl_->db, "SELECT seq, data FROM entries WHERE seq >= ? ORDER BY seq");
  query.bind(1, signed_of(first));
  while (query.step()) {
    if (!visit({static_cast<std::uint64_t>(query.integer(0)), query.text(1)})) return;
  }
}

Head Journal::check_head(const std::string& origin, const crypto::PublicKey& key) const {
  const auto note = last_note();
  if (!note) throw Error::tampered("the journal has no signed checkpoint", restore_hint);
  if (!tlog::verify_note(*note, origin, key)) {
    throw Error::tampered("the journal's newest checkpoint is not signed by this home's log signer", restore_hint);
  }
  Head head;
  head.checkpoint = tlog::parse_checkpoint(note->text);
  head.size = size();
  if (head.checkpoint.origin != origin || head.checkpoint.size == 0 || head.checkpoint.size > head.size) {
    throw Error::tampered("the journal has " + std::to_string(head.size) + " entries, its newest checkpoint speaks of " +
                              std::to_string(head.checkpoint.size),
                          restore_hint);
  }
  Statement hashes(impl_->db, "SELECT coalesce(max(id) + 1, 0) FROM hashes");
  hashes.step();
  if (hashes.integer(0) != signed_of(tlog::stored_count(head.size))) throw Error::tampered("the journal's tree hashes are not those of its entries", restore_hint);
  const auto last = entry(head.checkpoint.size - 1);
  const auto proof = tlog::prove_inclusion(last.seq, head.checkpoint.size, impl_->reader());
  if (!tlog::check_inclusion(proof, last.seq, head.checkpoint.size, tlog::leaf_hash(view(last.bytes)), head.checkpoint.root)) {
    throw Error::tampered("journal entry " + std::to_string(last.seq) + " is not what the newest checkpoint was signed over",
                          restore_hint);
  }
  const auto json = last.json();
  const auto found = json.find("catalog");
  if (found == json.end() || !found->is_string()) {
    throw Error::tampered("journal entry " + std::to_string(last.seq) + " carries no catalog root", restore_hint);
  }
  head.catalog_root = found->get<std::string>();
  each_entry(head.checkpoint.size, [](const Entry& entry) {
    const auto behind = entry.json();
    if (behind.value("authenticated", true) || !behind.value("changes", Json::array()).empty()) {
      throw Error::tampered("journal entry " + std::to_string(entry.seq) + " claims a login but no signed checkpoint covers it",
                            "it was planted in the database, or the database was damaged; nothing it says will be acted on");
    }
    return true;
  });
  return head;
}

void Journal::check_entries() const {
  const auto read = impl_->reader();
  std::uint64_t next = 0;
  each_entry(0, [&](const Entry& entry) {
    if (entry.seq != next) throw Error::tampered("the journal lacks entry " + std::to_string(next), restore_hint);
    const auto hashes = tlog::hashes_for_append(entry.seq, tlog::leaf_hash(view(entry.bytes)), read);
    std::vector<std::uint64_t> indexes(hashes.size());
    std::iota(indexes.begin(), indexes.end(), tlog::stored_count(entry.seq));
    if (read(indexes) != hashes) {
      throw Error::tampered("journal entry " + std::to_string(entry.seq) + " is not what was recorded", restore_hint);
    }
    ++next;
    return true;
  });
  if (next != size()) throw Error::tampered("the journal lacks entry " + std::to_string(next), restore_hint);
}

std::optional<Item> Journal::item(const std::string& kind, const std::string& id) const { return impl_->catalog.item(kind, id); }
std::vector<Item> Journal::items(const std::string& kind, const std::string& prefix) const {
  return impl_->catalog.items(kind, prefix);
}
void Journal::trust_head(const Head& head) { impl_->catalog.trust(head.catalog_root); }
std::optional<Item> Journal::proven(const std::string& kind, const std::string& id) const {
  return impl_->catalog.proven(kind, id);
}
std::vector<Item> Journal::proven_all(const std::string& kind) const {
  std::vector<Item> rows;
  each_proven(kind, [&](const Item& row) { rows.push_back(row); });
  return rows;
}
void Journal::each_proven(const std::string& kind, const std::function<void(const Item&)>& visit) const {
  impl_->catalog.each_proven(kind, visit);
}

std::uint64_t Journal::append(const Draft& draft, const Actor& actor, UnixTime time, const LogSigner* signer) {
  if (draft.authenticated != (signer != nullptr)) throw Error::internal("an authenticated entry needs the log signer");
  if (!draft.authenticated && !draft.changes.empty()) throw Error::internal("an unauthenticated entry may not change the catalog");
  const std::string root_before = impl_->catalog.trusted_root();
  try {
    return impl_->append(draft, actor, time, signer);
  } catch (...) {
    impl_->catalog.distrust();  // what it holds in memory was rolled back
    if (!root_before.empty()) impl_->catalog.trust(root_before);
    throw;
  }
}

std::uint64_t Journal::Impl::append(const Draft& draft, const Actor& actor, UnixTime time, const LogSigner* signer) {
  end_reading();
  Transaction transaction(db);
  const std::uint64_t first = size();
  // The number of lines does not depend on the root's value, only on its being there.
  const auto lines = encode(draft, first, time, actor, std::string(64, '0'));
  const std::uint64_t last = first + lines.size() - 1;
  std::string root;
  if (draft.authenticated) root = catalog.apply(draft.changes, last);
  std::uint64_t seq = first;
  for (const auto& line : encode(draft, first, time, actor, root)) add_line(seq++, line);
  if (signer != nullptr) {
    const tlog::Checkpoint checkpoint{signer->name, seq, tlog::root_of(seq, reader())};
    const auto note = tlog::sign_note(checkpoint.body(), signer->name, signer->key, signer->sign);
    if (!tlog::verify_note(note, signer->name, signer->key)) {
      throw Error::tampered("the token's log signer does not belong to the public key that this home keeps (signers/log.pem)",
                            "the home was altered, or belongs to another token; nothing was done");
    }
    Statement insert(db, "INSERT INTO checkpoints(size, note) VALUES(?, ?)");
    insert.bind(1, signed_of(seq)).bind(2, note.dump()).run();
  }
  transaction.commit();
  return first;
}

Json Item::json() const {
  auto json = row_json(value);
  if (!json) throw Error::tampered("catalog row " + kind + " " + id + " is not JSON", restore_hint);
  return *std::move(json);
}

void Journal::copy_to(const std::filesystem::path& file) const {
  impl_->end_reading();
  impl_->db.exec("PRAGMA query_only = 0");  // it stops VACUUM INTO too, though that writes another file
  Statement copy(impl_->db, "VACUUM INTO ?");
  copy.bind(1, file.string()).run();
}

}  // namespace kmtool::journal
