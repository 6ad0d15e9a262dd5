#pragma once
#include <string>

namespace kmtool {

/// Why somebody did something, as the journal keeps it: one line of plain text, 1 to 500 bytes, not only blanks. Throws usage (64).
void require_reason(const std::string& reason);

/// What a catalog keeps beside a key for its readers (owner, application): UTF-8, up to 500 bytes; may be empty, and is escaped wherever it
/// is shown. `option` names it in the error. Throws usage (64).
void require_note(const char* option, const std::string& text);

}  // namespace kmtool
