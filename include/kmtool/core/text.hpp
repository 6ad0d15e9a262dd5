#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace kmtool {

/// Foreign text made safe for a terminal: control characters, escape sequences, bidirectional overrides and invalid UTF-8
/// become \xNN or \u{NNNN}.
std::string printable(std::string_view text);
bool is_utf8(std::string_view text);
std::vector<std::string> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
/// Splits a command into words on white space with '…' and "…" quoting; no expansion of any kind. Throws usage (64) for an
/// unclosed quote.
std::vector<std::string> split_command(std::string_view text);
/// Levenshtein distance, for suggestions.
std::size_t edit_distance(std::string_view a, std::string_view b);
/// The candidate nearest to `word` within a third of its length; empty when none is near.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace kmtool
