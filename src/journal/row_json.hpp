#pragma once
#include <optional>
#include <string>

#include "kmtool/core/json.hpp"

namespace kmtool::journal {

/// The value of a catalog row as JSON; nothing where it is none. Rows were written by kmtool and are proven where it matters: of the strict
/// reader's checks (core/json.hpp) none is made. A catalog has one such text per key version, so each costs few allocations: the library's
/// own parser lets an object's fields grow, and copies them, one by one.
std::optional<Json> row_json(const std::string& text);

}  // namespace kmtool::journal
