#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace kmtool {

/// `1 key`, `2 keys`; `many` where the plural is not the singular with an s.
inline std::string counted(std::uint64_t count, std::string_view one, std::string_view many = {}) {
  std::string text = std::to_string(count) + " ";
  if (count == 1) return text.append(one);
  return many.empty() ? text.append(one).append("s") : text.append(many);
}

}  // namespace kmtool
