#include <algorithm>
#include <filesystem>
#include <functional>

#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/pkcs11/survey.hpp"

namespace kmtool::pkcs11 {

void require_module_file(const std::string& path) {
  constexpr std::size_t largest = std::size_t{1} << 30;
  constexpr std::string_view magic = "\x7f" "ELF", wanted = "C_GetFunctionList";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) throw Error::missing("there is no PKCS#11 module " + printable(path), "give the path of the HSM's module");
  const auto none = [&] { throw Error::unavailable(printable(path) + " is not a PKCS#11 module", "give the path of the shared library that came with the HSM"); };
  if (!std::filesystem::is_regular_file(path, ignored)) none();
  const auto bytes = read_file(path, largest);
  if (!bytes.starts_with(magic)) none();
  // The name of what every module exports stands in it as text.
  if (std::search(bytes.begin(), bytes.end(), std::boyer_moore_horspool_searcher(wanted.begin(), wanted.end())) == bytes.end()) none();
}

}  // namespace kmtool::pkcs11
