#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "kmtool/core/bytes.hpp"

namespace kmtool {

/// Octets as words of the PGP word list, to be read aloud: lower case, one blank between.
std::string words_of(ByteView bytes);
/// The octets of such words; blanks, hyphens, commas and capitals do not matter. nullopt where a word is not on the list, or stands at
/// a place that belongs to the other half of it (one was left out, or two were exchanged).
std::optional<Bytes> bytes_of_words(std::string_view text);

}  // namespace kmtool
