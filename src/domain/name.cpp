#include "kmtool/domain/name.hpp"

#include <algorithm>
#include <charconv>

#include "kmtool/core/error.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool {
namespace {

constexpr std::size_t longest_name = 64;
constexpr std::size_t most_version_digits = 6;

// Not <cctype>: its answers depend on the locale.
bool is_alphanumeric(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

std::optional<int> version_from(std::string_view digits) {
  if (digits.empty() || digits.size() > most_version_digits || digits.front() == '0') return std::nullopt;
  if (!std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; })) return std::nullopt;
  int version = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), version);
  return version;
}

}  // namespace

bool is_name(std::string_view text) {
  if (text.empty() || text.size() > longest_name || !is_alphanumeric(text.front())) return false;
  return std::all_of(text.begin(), text.end(), [](char c) { return is_alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
}

void require_name(std::string_view text, const std::string& what) {
  if (is_name(text)) return;
  const std::string one = (std::string_view("aeiou").find(what.front()) == std::string_view::npos ? "a " : "an ") + what;
  throw Error::usage("\"" + printable(text.substr(0, longest_name)) + "\" is not " + one, one + " matches [A-Za-z0-9][A-Za-z0-9._-]{0,63}");
}

KeyRef KeyRef::parse(std::string_view text) {
  const auto at = text.find('@');
  const std::string_view name = text.substr(0, at);
  require_name(name, "key name");
  KeyRef ref{std::string(name), std::nullopt};
  if (at == std::string_view::npos) return ref;
  const std::string_view digits = text.substr(at + 1);
  ref.version = version_from(digits);
  if (!ref.version) {
    throw Error::usage("\"" + printable(digits.substr(0, longest_name)) + "\" is not a version",
                       "a version is a number from 1 to 999999, as in " + ref.name + "@3");
  }
  return ref;
}

std::string KeyRef::text() const { return version ? label_of(name, *version) : name; }

bool is_version_label(std::string_view text) {
  const auto at = text.find('@');
  return at != std::string_view::npos && is_name(text.substr(0, at)) && version_from(text.substr(at + 1)).has_value();
}

std::string name_in(std::string_view label) { return std::string(label.substr(0, label.find('@'))); }

std::string label_of(const std::string& name, int version) { return name + "@" + std::to_string(version); }

}  // namespace kmtool
