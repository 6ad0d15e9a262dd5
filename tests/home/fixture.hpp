#pragma once
#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "kmtool/core/error.hpp"
#include "kmtool/core/secret.hpp"
#include "kmtool/home/home.hpp"

namespace kmtool::home {

/// A private folder that goes away again.
class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "kmtool-test-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  [[nodiscard]] Paths paths() const { return {path_ / "home"}; }

 private:
  std::filesystem::path path_;
};

inline std::string put(const std::filesystem::path& path, const std::string& text, mode_t mode = 0600) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
  chmod(path.c_str(), mode);
  return path.string();
}

inline std::string get(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::string revealed(const SecretBytes& secret) { return to_text(secret.reveal()); }

/// The exit code of the Error that `what` throws; 0 when it throws none.
inline int exit_of(const std::function<void()>& what, std::string* message = nullptr) {
  try {
    what();
  } catch (const Error& error) {
    if (message != nullptr) *message = error.message();
    return static_cast<int>(error.exit());
  }
  return 0;
}

}  // namespace kmtool::home
