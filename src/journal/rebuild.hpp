#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "journal/changes.hpp"
#include "journal/findings.hpp"
#include "journal/sqlite.hpp"

namespace kmtool::journal {

/// The catalog as the entries make it. Of each row only its name and the entry that set it are kept, so that a journal of any length fits;
/// values are looked up in that entry when the rows are compared.
class Rebuild {
 public:
  /// Entries in their order, each with what marks_of() says. False when the entry's bytes cannot be read.
  bool add(std::uint64_t seq, std::string_view entry, const Marks& marks);
  /// Holds the database's rows against it, row by row.
  void compare(Database& db, Findings& findings);
  [[nodiscard]] std::size_t rows() const { return rows_.size(); }

 private:
  struct Hashed {
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const { return std::hash<std::string_view>{}(name); }
  };
  using Rows = std::unordered_map<std::string, std::uint64_t, Hashed, std::equal_to<>>;
  struct Pending {
    std::string name;
    bool removed;
  };
  const std::string& name_of(std::string_view kind, std::string_view id);
  void set(const std::string& name, bool removed, std::uint64_t seq);
  Rows::value_type*& recent(const std::string& name);
  void name_the_missing(Database& db, Findings& findings);

  std::string name_;  ///< kind, a zero byte, id
  Rows rows_;
  std::array<Rows::value_type*, 64> recent_{};  ///< rows set lately, by a quick hash of their names: one that every entry sets need not be looked up
  std::vector<Pending> pending_;  ///< of a draft whose last part has not come: rows carry the last part's number
};

}  // namespace kmtool::journal
