#include "kmtool/journal/archive.hpp"

#include "journal/sqlite.hpp"
#include "kmtool/core/file.hpp"

namespace kmtool::journal {

namespace {

constexpr const char* table = "CREATE TABLE sqlar(name TEXT PRIMARY KEY, mode INT, mtime INT, sz INT, data BLOB)";

void require_archive(Database& db, const std::filesystem::path& file) {
  Statement query(db, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL");
  if (query.step() && query.text(0) == table && !query.step()) return;
  throw Error::tampered(file.string() + " is not a kmtool home backup", "give a file that kmtool home backup wrote");
}

}  // namespace

void write_archive(const std::filesystem::path& file, const std::vector<Archived>& files) {
  Database db(file, SQLITE_OPEN_READWRITE);
  Transaction transaction(db);
  db.exec(table);
  {
    Statement insert(db, "INSERT INTO sqlar(name, mode, mtime, sz, data) VALUES(?, 33152, 0, ?, ?)");  // 0100600
    for (const auto& entry : files) {
      insert.bind(1, entry.name).bind(2, static_cast<std::int64_t>(entry.data.size())).bind_blob(3, entry.data).run();
    }
  }
  transaction.commit();
}

std::vector<Archived> read_archive(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::exists(file, error)) throw Error::missing("there is no file " + file.string());
  std::vector<Archived> files;
  Database db(file, SQLITE_OPEN_READONLY);
  require_archive(db, file);
  Statement query(db, "SELECT name, sz, data FROM sqlar ORDER BY name");
  while (query.step()) {
    const auto data = query.blob(2);
    Archived entry{query.text(0), {data.begin(), data.end()}};
    const std::filesystem::path name(entry.name);
    bool safe = !entry.name.empty() && name.is_relative() && static_cast<std::int64_t>(data.size()) == query.integer(1);
    for (const auto& part : name) safe = safe && part != ".." && part != ".";
    if (!safe) throw Error::tampered(file.string() + " is not a kmtool home backup: an entry in it is malformed");
    files.push_back(std::move(entry));
  }
  return files;
}

}  // namespace kmtool::journal
