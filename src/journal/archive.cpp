#include "kmtool/journal/archive.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "journal/sqlite.hpp"
#include "kmtool/core/file.hpp"

namespace kmtool::journal {

namespace {

constexpr const char* table = "CREATE TABLE sqlar(name TEXT PRIMARY KEY, mode INT, mtime INT, sz INT, data BLOB)";
constexpr std::string_view part_mark = ".part", of_mark = "-of-";
constexpr std::size_t part_digits = 4, part_tail = part_mark.size() + part_digits + of_mark.size() + part_digits, most_parts = 9999;

void require_archive(Database& db, const std::filesystem::path& file) {
  try {
    Statement query(db, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL");
    if (query.step() && query.text(0) == table && !query.step()) return;
  } catch (const Error& error) {
    if (error.exit() != ExitCode::damaged) throw;  // no database at all
  }
  throw Error::tampered(file.string() + " is not a kmtool home backup", "give a file that kmtool home backup wrote");
}

std::string part_name(const std::string& name, std::size_t part, std::size_t parts) { return parts == 1 ? name : fmt::format("{}.part{:04}-of-{:04}", name, part, parts); }

/// One entry's place in a file.
struct Part {
  std::string name;
  std::size_t part = 1, parts = 1;
};

Part part_of(const std::string& entry) {
  if (entry.size() <= part_tail) return {entry};
  const auto tail = std::string_view(entry).substr(entry.size() - part_tail);
  const auto number = [&](std::size_t at) {
    std::size_t value = 0;
    const auto digits = tail.substr(at, part_digits);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return error == std::errc() && end == digits.data() + digits.size() ? value : 0;
  };
  const Part part{entry.substr(0, entry.size() - part_tail), number(part_mark.size()), number(part_tail - part_digits)};
  return part.part != 0 && part.parts > 1 && part_name(part.name, part.part, part.parts) == entry ? part : Part{entry};
}

void add_file(Statement& insert, const Archived& source, std::size_t piece) {
  const Fd fd(open(source.file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) throw Error::from_errno("open", source.file.string(), errno);
  const auto size = std::filesystem::file_size(source.file);
  const auto parts = std::max<std::size_t>(1, (size + piece - 1) / piece);
  if (parts > most_parts) throw Error::io(source.file.string() + " is too large for a backup");
  Bytes bytes;
  for (std::size_t part = 1; part <= parts; ++part) {
    bytes.resize(std::min<std::size_t>(piece, size - (part - 1) * piece));
    for (std::size_t at = 0; at < bytes.size();) {
      const auto got = read(fd.get(), bytes.data() + at, bytes.size() - at);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) throw Error::from_errno("read", source.file.string(), got < 0 ? errno : EIO);
      at += static_cast<std::size_t>(got);
    }
    insert.bind(1, part_name(source.name, part, parts)).bind(2, static_cast<std::int64_t>(bytes.size())).bind_blob(3, bytes).run();
  }
}

void require_safe(const std::filesystem::path& name, const std::filesystem::path& archive, bool whole) {
  bool safe = whole && !name.empty() && name.is_relative();
  for (const auto& part : name) safe = safe && part != ".." && part != ".";
  if (!safe) throw Error::tampered(archive.string() + " is not a kmtool home backup: an entry in it is malformed");
}

}  // namespace

void write_archive(const std::filesystem::path& file, const std::vector<Archived>& files, std::size_t piece) {
  Database db(file, SQLITE_OPEN_READWRITE);
  Transaction transaction(db);
  db.exec(table);
  {
    Statement insert(db, "INSERT INTO sqlar(name, mode, mtime, sz, data) VALUES(?, 33152, 0, ?, ?)");  // 0100600
    for (const auto& source : files) add_file(insert, source, piece);
  }
  transaction.commit();
}

std::vector<std::string> extract_archive(const std::filesystem::path& file, const std::filesystem::path& folder) {
  std::error_code error;
  if (!std::filesystem::exists(file, error)) throw Error::missing("there is no file " + file.string());
  std::vector<std::string> names;
  Database db(file, SQLITE_OPEN_READONLY);
  require_archive(db, file);
  Statement query(db, "SELECT name, sz, data FROM sqlar ORDER BY name");
  std::optional<AtomicFile> out;
  Part next;
  const auto missing = [&] { return Error::tampered(file.string() + " is not a whole kmtool home backup: " + part_name(next.name, next.part, next.parts) + " is missing"); };
  while (query.step()) {
    const auto part = part_of(query.text(0));
    const auto data = query.blob(2);
    require_safe(part.name, file, static_cast<std::int64_t>(data.size()) == query.integer(1));
    if (out && (part.name != next.name || part.part != next.part || part.parts != next.parts)) throw missing();
    if (!out) {
      next = {part.name, 1, part.parts};
      if (part.part != 1) throw missing();
      make_private_dir((folder / part.name).parent_path());
      out.emplace(folder / part.name, false);
      names.push_back(part.name);
    }
    out->write(data);
    ++next.part;
    if (next.part <= next.parts) continue;
    out->commit();
    out.reset();
  }
  if (out) throw missing();
  return names;
}

}  // namespace kmtool::journal
