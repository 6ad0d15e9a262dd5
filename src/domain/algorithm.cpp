#include "kmtool/domain/algorithm.hpp"

namespace kmtool {

std::string_view to_text(WrapAlgorithm algorithm) { return algorithm == WrapAlgorithm::aes_kw ? "AES-KW" : "AES-KWP"; }

std::optional<WrapAlgorithm> wrap_algorithm_from(std::string_view text) {
  for (const auto algorithm : {WrapAlgorithm::aes_kw, WrapAlgorithm::aes_kwp}) {
    if (to_text(algorithm) == text) return algorithm;
  }
  return std::nullopt;
}

}  // namespace kmtool
