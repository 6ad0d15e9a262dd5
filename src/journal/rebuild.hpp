#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "journal/findings.hpp"
#include "journal/sqlite.hpp"

namespace kmtool::journal {

/// The catalog as the entries make it. Of each row only a digest of its name and the entry that set it are kept, so that a journal of any
/// length fits; values are looked up in that entry when the rows are compared.
class Rebuild {
 public:
  /// Entries in their order. False when the entry's bytes cannot be read.
  bool add(std::uint64_t seq, std::string_view entry);
  /// Holds the database's rows against it, row by row.
  void compare(Database& db, Findings& findings);
  [[nodiscard]] std::size_t rows() const { return rows_.size(); }

 private:
  using Name = std::array<std::uint8_t, 16>;
  struct Hashed {
    std::size_t operator()(const Name& name) const {
      std::size_t value = 0;
      std::memcpy(&value, name.data(), sizeof value);
      return value;
    }
  };
  struct Pending {
    Name name;
    bool removed;
  };
  static Name name_of(const std::string& kind, const std::string& id);
  void name_the_missing(Database& db, Findings& findings);

  std::unordered_map<Name, std::uint64_t, Hashed> rows_;
  std::vector<Pending> pending_;  ///< of a draft whose last part has not come: rows carry the last part's number
};

}  // namespace kmtool::journal
