#pragma once
#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "kmtool/core/bytes.hpp"

namespace kmtool::journal {

/// SQLite's C API as RAII: a connection, a prepared statement, a transaction.
class Database {
 public:
  Database(const std::filesystem::path& file, int flags);
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database();
  void exec(const char* sql);
  [[nodiscard]] sqlite3* native() const { return db_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  /// What to do where it is damaged; else it is restored with the home.
  void mended_by(std::string hint) { hint_ = std::move(hint); }
  /// Throws: busy (75), full and I/O (74), corrupt or not a database (65), else internal (70).
  [[noreturn]] void fail(int rc, const char* what) const;

 private:
  sqlite3* db_ = nullptr;
  std::string name_;
  std::string hint_ = "restore the home from its backup (kmtool home restore)";
};

class Statement {
 public:
  Statement(Database& db, const char* sql);
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();
  Statement& bind(int index, std::int64_t value);
  Statement& bind(int index, std::string_view text);
  Statement& bind_blob(int index, ByteView bytes);
  /// True while there is a row.
  bool step();
  /// Runs a statement that gives no rows, and makes it ready for the next use.
  void run();
  void reset();
  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] std::string text(int column) const;
  [[nodiscard]] ByteView blob(int column) const;

 private:
  Database& db_;
  sqlite3_stmt* statement_ = nullptr;
};

/// Rolls back unless committed.
class Transaction {
 public:
  explicit Transaction(Database& db, const char* begin = "BEGIN IMMEDIATE");
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction();
  void commit();

 private:
  Database& db_;
  bool open_ = true;
};

}  // namespace kmtool::journal
