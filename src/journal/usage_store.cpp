#include "kmtool/journal/usage_store.hpp"

#include <sys/stat.h>

#include <array>
#include <set>

#include "journal/sqlite.hpp"
#include "kmtool/core/error.hpp"
#include "kmtool/core/file.hpp"

namespace kmtool::journal {

namespace {

constexpr std::int64_t day = 86400;
constexpr std::int64_t hours_kept = 35 * day, days_kept = 400 * day, spools_kept = 400 * day;

constexpr std::int64_t seconds_kept = 3600;  ///< of a key, before its newest
constexpr std::int64_t schema = 2;

constexpr std::array<const char*, 6> tables{
    "CREATE TABLE counts(key TEXT NOT NULL, hour INTEGER NOT NULL, what TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY(key, hour, what)) WITHOUT ROWID",
    "CREATE TABLE totals(key TEXT NOT NULL, what TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY(key, what)) WITHOUT ROWID",
    "CREATE TABLE seen(key TEXT PRIMARY KEY, first INTEGER NOT NULL, allowed INTEGER, denied INTEGER, more INTEGER NOT NULL, peak INTEGER NOT NULL, peak_at INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE sources(key TEXT NOT NULL, address TEXT NOT NULL, count INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY(key, address)) WITHOUT ROWID",
    "CREATE TABLE buckets(key TEXT PRIMARY KEY, units INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE spools(spool TEXT PRIMARY KEY, batch INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID"};
/// Since version 2: where every check is a process of its own, a burst is seen only in what several of them counted.
constexpr std::array<const char*, 2> tables_of_2{
    "CREATE TABLE seconds(key TEXT NOT NULL, second INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY(key, second)) WITHOUT ROWID",
    "CREATE TABLE peaks(key TEXT NOT NULL, hour INTEGER NOT NULL, peak INTEGER NOT NULL, peak_at INTEGER NOT NULL, PRIMARY KEY(key, hour)) WITHOUT ROWID"};

std::int64_t signed_of(std::uint64_t n) { return static_cast<std::int64_t>(n); }
std::uint64_t unsigned_of(std::int64_t n) { return n < 0 ? 0 : static_cast<std::uint64_t>(n); }

/// SQLite's functions of several arguments pass over nothing: 0 stands for `never`.
std::int64_t or_never(const std::optional<UnixTime>& time) { return time.value_or(0); }
std::optional<UnixTime> from_stored(std::int64_t time) { return time == 0 ? std::nullopt : std::optional<UnixTime>(time); }

}  // namespace

struct UsageStore::Impl {
  Database db;

  explicit Impl(const std::filesystem::path& file) : db(file, SQLITE_OPEN_READWRITE) {
    // Not a backup's: a restored record would call keys good that were revoked since.
    db.mended_by("it counts the uses of API keys and is no part of the record: move " + db.name() + " away, and counts begin anew");
    int on = 1;  // the files beside it stay: without them nobody could read it in a home that cannot be written
    sqlite3_file_control(db.native(), "main", SQLITE_FCNTL_PERSIST_WAL, &on);
    sqlite3_db_config(db.native(), SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(db.native(), SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
    sqlite3_db_config(db.native(), SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
    sqlite3_db_config(db.native(), SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
    db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY");
  }

  void prepare() {
    if (version() < schema) {
      Transaction transaction(db);
      if (version() == 0) {
        for (const auto* statement : tables) db.exec(statement);
      }
      if (version() < schema) {
        for (const auto* statement : tables_of_2) db.exec(statement);
        db.exec(("PRAGMA user_version = " + std::to_string(schema)).c_str());
      }
      transaction.commit();
    }
    std::multiset<std::string> found, wanted(tables.begin(), tables.end());
    wanted.insert(tables_of_2.begin(), tables_of_2.end());
    Statement query(db, "SELECT sql FROM sqlite_master");
    while (query.step()) found.insert(query.text(0));
    if (version() != schema || found != wanted) {
      throw Error::tampered("the usage database " + db.name() + " is not as kmtool made it", "move it away: counts of API key use begin anew");
    }
  }

  std::int64_t version() {
    Statement query(db, "PRAGMA user_version");
    query.step();
    return query.integer(0);
  }

  void add(const std::vector<UsageStore::Delta>& deltas);
  void add_source(const std::string& key, const UsageStore::Source& source);
  std::uint64_t add_second(const std::string& key, UnixTime second, std::uint64_t count);
};

/// All that was counted within this second.
std::uint64_t UsageStore::Impl::add_second(const std::string& key, UnixTime second, std::uint64_t count) {
  Statement put(db, "INSERT INTO seconds(key, second, count) VALUES(?1, ?2, ?3) ON CONFLICT(key, second) DO UPDATE SET count = count + ?3");
  put.bind(1, key).bind(2, second).bind(3, signed_of(count)).run();
  Statement old(db, "DELETE FROM seconds WHERE key = ?1 AND second < (SELECT max(second) FROM seconds WHERE key = ?1) - ?2");
  old.bind(1, key).bind(2, seconds_kept).run();
  Statement query(db, "SELECT count FROM seconds WHERE key = ?1 AND second = ?2");
  query.bind(1, key).bind(2, second);
  const std::uint64_t all = query.step() ? unsigned_of(query.integer(0)) : count;  // none: long past, and alone
  Statement peak(db,
                 "INSERT INTO peaks(key, hour, peak, peak_at) VALUES(?1, ?2 - ?2 % 3600, ?3, ?2) ON CONFLICT(key, hour) DO UPDATE SET "
                 "peak_at = CASE WHEN ?3 > peak THEN ?2 ELSE peak_at END, peak = max(peak, ?3)");
  peak.bind(1, key).bind(2, second).bind(3, signed_of(all)).run();
  return all;
}

void UsageStore::Impl::add_source(const std::string& key, const Source& source) {
  Statement known(db, "UPDATE sources SET count = count + ?3, first = min(first, ?4), last = max(last, ?5) WHERE key = ?1 AND address = ?2");
  known.bind(1, key).bind(2, source.address).bind(3, signed_of(source.count)).bind(4, source.first).bind(5, source.last).run();
  if (sqlite3_changes(db.native()) > 0) return;
  Statement many(db, "SELECT count(*) FROM sources WHERE key = ?");
  many.bind(1, key).step();
  if (many.integer(0) >= static_cast<std::int64_t>(most_sources)) {
    Statement more(db, "UPDATE seen SET more = more + ?2 WHERE key = ?1");
    more.bind(1, key).bind(2, signed_of(source.count)).run();
    return;
  }
  Statement insert(db, "INSERT INTO sources(key, address, count, first, last) VALUES(?, ?, ?, ?, ?)");
  insert.bind(1, key).bind(2, source.address).bind(3, signed_of(source.count)).bind(4, source.first).bind(5, source.last).run();
}

void UsageStore::Impl::add(const std::vector<Delta>& deltas) {
  Statement hour(db, "INSERT INTO counts(key, hour, what, count) VALUES(?1, ?2, ?3, ?4) ON CONFLICT(key, hour, what) DO UPDATE SET count = count + ?4");
  Statement total(db, "INSERT INTO totals(key, what, count) VALUES(?1, ?2, ?3) ON CONFLICT(key, what) DO UPDATE SET count = count + ?3");
  Statement seen(db,
                 "INSERT INTO seen(key, first, allowed, denied, more, peak, peak_at) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) "
                 "ON CONFLICT(key) DO UPDATE SET first = min(first, ?2), allowed = max(coalesce(allowed, 0), ?3), denied = max(coalesce(denied, 0), ?4), more = more + ?5, "
                 "peak_at = CASE WHEN ?6 > peak THEN ?7 ELSE peak_at END, peak = max(peak, ?6)");
  for (const auto& delta : deltas) {
    for (const auto& [what, count] : delta.counts) {
      hour.bind(1, delta.key).bind(2, delta.hour).bind(3, what).bind(4, signed_of(count)).run();
      total.bind(1, delta.key).bind(2, what).bind(3, signed_of(count)).run();
    }
    const std::uint64_t peak = delta.peak == 0 ? 0 : add_second(delta.key, delta.peak_at, delta.peak);
    seen.bind(1, delta.key).bind(2, delta.hour).bind(3, or_never(delta.last_allowed)).bind(4, or_never(delta.last_denied));
    seen.bind(5, signed_of(delta.more_sources)).bind(6, signed_of(peak)).bind(7, delta.peak_at).run();
    for (const auto& source : delta.sources) add_source(delta.key, source);
  }
}

UsageStore::UsageStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
UsageStore::UsageStore(UsageStore&&) noexcept = default;
UsageStore& UsageStore::operator=(UsageStore&&) noexcept = default;
UsageStore::~UsageStore() = default;

std::optional<UsageStore> UsageStore::open_existing(const std::filesystem::path& file) {
  struct stat info {};
  if (lstat(file.c_str(), &info) != 0) {
    if (errno == ENOENT) return std::nullopt;
    throw Error::from_errno("open", file.string(), errno);
  }
  check_trusted(file, {.private_file = true});
  auto impl = std::make_unique<Impl>(file);
  impl->prepare();
  return UsageStore(std::move(impl));
}

UsageStore UsageStore::open(const std::filesystem::path& file) {
  if (auto store = open_existing(file)) return std::move(*store);
  try {
    write_private_file(file, {}, false);
  } catch (const Error& error) {
    if (error.exit() != ExitCode::exists) throw;  // somebody was faster
  }
  return open_existing(file).value();
}

void UsageStore::add(const std::vector<Delta>& deltas) {
  Transaction transaction(impl_->db);
  impl_->add(deltas);
  transaction.commit();
}

std::uint64_t UsageStore::last_batch(const std::string& spool) const {
  Statement query(impl_->db, "SELECT batch FROM spools WHERE spool = ?");
  query.bind(1, spool);
  return query.step() ? unsigned_of(query.integer(0)) : 0;
}

bool UsageStore::add_batch(const std::string& spool, std::uint64_t batch, UnixTime now, const std::vector<Delta>& deltas) {
  Transaction transaction(impl_->db);
  if (batch <= last_batch(spool)) return false;
  impl_->add(deltas);
  Statement put(impl_->db, "INSERT OR REPLACE INTO spools(spool, batch, at) VALUES(?, ?, ?)");
  put.bind(1, spool).bind(2, signed_of(batch)).bind(3, now).run();
  transaction.commit();
  return true;
}

void UsageStore::with_bucket(const std::string& key, bool write, const std::function<void(std::int64_t& units, std::int64_t& at)>& use) {
  Transaction transaction(impl_->db, write ? "BEGIN IMMEDIATE" : "BEGIN");
  std::int64_t units = -1, at = 0;
  {
    Statement query(impl_->db, "SELECT units, at FROM buckets WHERE key = ?");
    query.bind(1, key);
    if (query.step()) {
      units = query.integer(0);
      at = query.integer(1);
    }
  }
  use(units, at);
  if (!write) return;
  Statement put(impl_->db, "INSERT OR REPLACE INTO buckets(key, units, at) VALUES(?, ?, ?)");
  put.bind(1, key).bind(2, units).bind(3, at).run();
  transaction.commit();
}

std::vector<UsageStore::Count> UsageStore::counts(const std::string& key, UnixTime since) const {
  Statement query(impl_->db, "SELECT key, hour, what, count FROM counts WHERE (?1 = '' OR key = ?1) AND hour >= ?2 ORDER BY key, hour, what");
  query.bind(1, key).bind(2, since);
  std::vector<Count> found;
  while (query.step()) found.push_back({query.text(0), query.integer(1), query.text(2), unsigned_of(query.integer(3))});
  return found;
}

std::map<std::string, std::map<std::string, std::uint64_t>> UsageStore::totals() const {
  Statement query(impl_->db, "SELECT key, what, count FROM totals");
  std::map<std::string, std::map<std::string, std::uint64_t>> found;
  while (query.step()) found[query.text(0)][query.text(1)] = unsigned_of(query.integer(2));
  return found;
}

std::map<std::string, UsageStore::Seen> UsageStore::seen() const {
  Statement query(impl_->db,
                  "SELECT seen.key, first, coalesce(allowed, 0), coalesce(denied, 0), more, peak, peak_at, "
                  "(SELECT count(*) FROM sources WHERE sources.key = seen.key) FROM seen");
  std::map<std::string, Seen> found;
  while (query.step()) {
    auto& seen = found[query.text(0)];
    seen.first = query.integer(1);
    seen.last_allowed = from_stored(query.integer(2));
    seen.last_denied = from_stored(query.integer(3));
    seen.more_sources = unsigned_of(query.integer(4));
    seen.peak = unsigned_of(query.integer(5));
    seen.peak_at = query.integer(6);
    seen.sources = unsigned_of(query.integer(7));
  }
  return found;
}

std::map<std::string, UsageStore::Peak> UsageStore::peaks(UnixTime since) const {
  Statement query(impl_->db, "SELECT key, peak, peak_at FROM peaks WHERE peak_at >= ?1 ORDER BY key, peak");
  query.bind(1, since);
  std::map<std::string, Peak> found;
  while (query.step()) found[query.text(0)] = {unsigned_of(query.integer(1)), query.integer(2)};  // the last one is the highest
  return found;
}

std::vector<UsageStore::Source> UsageStore::sources(const std::string& key) const {
  Statement query(impl_->db, "SELECT address, count, first, last FROM sources WHERE key = ? ORDER BY first DESC, address");
  query.bind(1, key);
  std::vector<Source> found;
  while (query.step()) found.push_back({query.text(0), unsigned_of(query.integer(1)), query.integer(2), query.integer(3)});
  return found;
}

void UsageStore::copy_to(const std::filesystem::path& file) const {
  write_private_file(file, {}, false);  // it takes an empty one too
  Statement copy(impl_->db, "VACUUM INTO ?");
  copy.bind(1, file.string()).run();
}

void UsageStore::prune(UnixTime now) {
  Transaction transaction(impl_->db);
  Statement fold(impl_->db,
                 "INSERT INTO counts(key, hour, what, count) SELECT key, hour - hour % 86400, what, sum(count) FROM counts "
                 "WHERE hour < ?1 AND hour % 86400 <> 0 GROUP BY key, hour - hour % 86400, what "
                 "ON CONFLICT(key, hour, what) DO UPDATE SET count = count + excluded.count");
  fold.bind(1, now - hours_kept).run();
  Statement folded(impl_->db, "DELETE FROM counts WHERE (hour < ?1 AND hour % 86400 <> 0) OR hour < ?2");
  folded.bind(1, now - hours_kept).bind(2, now - days_kept).run();
  Statement seconds(impl_->db, "DELETE FROM seconds WHERE second < ?");
  seconds.bind(1, now - seconds_kept).run();
  Statement peaks(impl_->db, "DELETE FROM peaks WHERE hour < ?");
  peaks.bind(1, now - hours_kept).run();
  Statement spools(impl_->db, "DELETE FROM spools WHERE at < ?");
  spools.bind(1, now - spools_kept).run();
  transaction.commit();
}

}  // namespace kmtool::journal
