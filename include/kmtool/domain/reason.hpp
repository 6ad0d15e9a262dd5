#pragma once
#include <string>

namespace kmtool {

/// Why somebody did something, as the journal keeps it: one line of plain text, 1 to 500 bytes, not only blanks. Throws usage (64).
void require_reason(const std::string& reason);

}  // namespace kmtool
