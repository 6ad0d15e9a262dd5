#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace kmtool::journal {

/// One change in an entry, as its bytes say it.
struct RawChange {
  std::string kind, id;
  std::string_view value;  ///< JSON text; empty: removed
};

/// What encode() puts at fixed places of an entry.
struct Marks {
  bool authenticated = false;
  bool closes = false;           ///< carries a catalog root: the last entry of something authenticated
  bool changes_nothing = false;  ///< `"changes":[]`
  std::size_t details = 1;       ///< where `"details":` begins
};
Marks marks_of(std::string_view entry);
bool says_number(std::string_view entry, std::uint64_t seq);  ///< `{"kmjournal":1,"seq":N,`

/// The changes of an entry, found without building its JSON: a million entries are read in the time that hashing them takes. False
/// when the bytes are not what encode() writes.
bool each_change(std::string_view entry, const Marks& marks, const std::function<void(const RawChange&)>& visit);

}  // namespace kmtool::journal
