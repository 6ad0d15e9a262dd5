#pragma once
#include <optional>
#include <string_view>

namespace kmtool {

/// Wrapping algorithms by what they *are*, not by mechanism number (TOKENS.md: one number means two algorithms).
enum class WrapAlgorithm { aes_kw, aes_kwp };  ///< RFC 3394; RFC 5649

std::string_view to_text(WrapAlgorithm algorithm);  ///< `AES-KW`, `AES-KWP`
std::optional<WrapAlgorithm> wrap_algorithm_from(std::string_view text);

}  // namespace kmtool
