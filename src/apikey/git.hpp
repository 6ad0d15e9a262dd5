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
/// Every object, packed, loose, reachable or not (`git cat-file --batch --batch-all-objects`), in pieces.
void each_git_object(const std::string& repository, const std::function<void(const GitObject&)>& begin, const std::function<void(ByteView)>& bytes,
                     const std::function<void()>& end);
/// The oldest commit that has a blob, and its path there; both stay empty where no commit that a branch or tag leads to has it.
void name_object(const std::string& repository, const std::string& object, std::string& commit, std::string& path);

}  // namespace kmtool::apikey
