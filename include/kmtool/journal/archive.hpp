#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "kmtool/core/bytes.hpp"

namespace kmtool::journal {

/// A file in an archive.
struct Archived {
  std::string name;  ///< relative, e.g. `signers/log.pem`
  Bytes data;
};
/// SQLite's archive format (table sqlar; entries stored uncompressed): `sqlite3 -Ax` opens it without kmtool.
void write_archive(const std::filesystem::path& file, const std::vector<Archived>& files);
/// Throws damaged (65) for anything else, and for names that are absolute or contain `..`.
std::vector<Archived> read_archive(const std::filesystem::path& file);

}  // namespace kmtool::journal
