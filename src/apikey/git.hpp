#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "kmtool/core/bytes.hpp"

namespace kmtool::apikey {

/// git, started without a shell, without the caller's GIT_* variables, without anything that a repository's configuration could start.
struct GitObject {
  std::string id, type;
  std::uint64_t size = 0;
};
/// The folder that the repository of `folder` lies in. Throws usage (64) where it lies in none.
std::string git_folder(const std::filesystem::path& folder);
/// The top of its work tree; empty where it has none.
std::string git_top(const std::filesystem::path& folder);
/// What is done with an object that comes in pieces. After begin() there is always an end().
struct GitReader {
  std::function<void(const GitObject&)> begin;
  std::function<void(ByteView)> bytes;
  std::function<void()> end;
  std::function<void(const std::string& what)> damaged;  ///< could not be read, or not to its end; the others still are
};
/// Every object, packed, loose, reachable or not (`git cat-file --batch`).
void each_git_object(const std::string& repository, const GitReader& reader);
/// The oldest commit that has a blob, and its path there; both stay empty where no commit that a branch or tag leads to has it.
void name_object(const std::string& repository, const std::string& object, std::string& commit, std::string& path);

}  // namespace kmtool::apikey
