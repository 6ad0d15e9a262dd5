#pragma once
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace kmtool::journal {

/// A file that goes into an archive.
struct Archived {
  std::string name;  ///< relative, e.g. `signers/log.pem`
  std::filesystem::path file;
};
/// SQLite takes no more than 1 GB in one place; this much is held in memory.
inline constexpr std::size_t archive_piece = std::size_t{64} << 20;
/// SQLite's archive format (table sqlar; entries stored uncompressed): `sqlite3 -Ax` opens it without kmtool. What is longer than `piece`
/// is in several entries, NAME.part0001-of-0003 and so on, one behind the other. Makes `file` a database: it is there, and empty.
void write_archive(const std::filesystem::path& file, const std::vector<Archived>& files, std::size_t piece = archive_piece);
/// Writes what an archive holds into `folder`, fsynced, and names it, sorted. Throws damaged (65) for anything else, for names that are
/// absolute or contain `..`, and where a part is missing.
std::vector<std::string> extract_archive(const std::filesystem::path& file, const std::filesystem::path& folder);

}  // namespace kmtool::journal
