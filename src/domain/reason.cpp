#include "kmtool/domain/reason.hpp"

#include "kmtool/core/error.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool {

void require_reason(const std::string& reason) {
  constexpr std::size_t longest = 500;
  if (reason.find_first_not_of(' ') == std::string::npos) throw Error::usage("--reason is empty", "say in one line why; it stands in the journal");
  if (reason.size() > longest || !is_utf8(reason) || printable(reason) != reason) {
    throw Error::usage("--reason is one line of plain text, at most 500 bytes", "say in one line why; it stands in the journal");
  }
}

void require_note(const char* option, const std::string& text) {
  constexpr std::size_t longest = 500;
  if (text.size() <= longest && is_utf8(text)) return;
  throw Error::usage(std::string(option) + " is text in UTF-8, at most 500 bytes");
}

}  // namespace kmtool
