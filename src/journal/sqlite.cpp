#include "journal/sqlite.hpp"

#include <utility>

#include "kmtool/core/error.hpp"

namespace kmtool::journal {

Database::Database(const std::filesystem::path& file, int flags) : name_(file.string()) {
  const int rc = sqlite3_open_v2(file.c_str(), &db_, flags | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE, nullptr);
  if (rc != SQLITE_OK) {
    const int code = rc;
    const std::string why = db_ != nullptr ? sqlite3_errmsg(db_) : "out of memory";
    sqlite3_close(db_);
    db_ = nullptr;
    if ((code & 0xff) == SQLITE_CANTOPEN) {
      throw Error::io("cannot open the journal " + name_ + ": " + why, "check that the home exists and can be read and written");
    }
    throw Error::io("cannot open the journal " + name_ + ": " + why);
  }
  sqlite3_busy_timeout(db_, 60000);
}

Database::~Database() { sqlite3_close_v2(db_); }

void Database::exec(const char* sql) {
  const int rc = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  if (rc != SQLITE_OK) fail(rc, "run a statement");
}

void Database::fail(int rc, const char* what) const {
  const std::string text = "journal " + name_ + ": cannot " + what + ": " + sqlite3_errmsg(db_);
  switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      throw Error::busy(text, "another process writes to this home; try again");
    case SQLITE_FULL:
      throw Error::io(text, "free disk space and run the command again; nothing was recorded as done");
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
      throw Error::io(text, "check the disk and the permissions of the home");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CONSTRAINT:  // rows stand where kmtool has written none
      throw Error::tampered(text, hint_);
    default:
      throw Error::internal(text);
  }
}

Statement::Statement(Database& db, const char* sql) : db_(db) {
  const int rc = sqlite3_prepare_v2(db.native(), sql, -1, &statement_, nullptr);
  if (rc != SQLITE_OK) db_.fail(rc, "prepare a statement");
}

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::bind(int index, std::int64_t value) {
  const int rc = sqlite3_bind_int64(statement_, index, value);
  if (rc != SQLITE_OK) db_.fail(rc, "bind");
  return *this;
}

Statement& Statement::bind(int index, std::string_view text) {
  const int rc = sqlite3_bind_text64(statement_, index, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  if (rc != SQLITE_OK) db_.fail(rc, "bind");
  return *this;
}

Statement& Statement::bind_blob(int index, ByteView bytes) {
  const int rc = sqlite3_bind_blob64(statement_, index, bytes.data(), bytes.size(), SQLITE_TRANSIENT);
  if (rc != SQLITE_OK) db_.fail(rc, "bind");
  return *this;
}

bool Statement::step() {
  const int rc = sqlite3_step(statement_);
  if (rc == SQLITE_ROW) return true;
  if (rc == SQLITE_DONE) return false;
  db_.fail(rc, "read or write");
}

void Statement::run() {
  while (step()) {
  }
  reset();
}

void Statement::reset() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_, column); }

std::string Statement::text(int column) const {
  const auto bytes = blob(column);
  return {bytes.begin(), bytes.end()};
}

ByteView Statement::blob(int column) const {
  const auto* data = static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_, column));
  return {data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

Transaction::Transaction(Database& db, const char* begin) : db_(db) { db_.exec(begin); }

Transaction::~Transaction() {
  if (open_) sqlite3_exec(db_.native(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void Transaction::commit() {
  db_.exec("COMMIT");
  open_ = false;
}

}  // namespace kmtool::journal
