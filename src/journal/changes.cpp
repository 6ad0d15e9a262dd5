#include "journal/changes.hpp"

#include <charconv>
#include <cstdint>
#include <cstring>

#include "kmtool/core/json.hpp"

namespace kmtool::journal {

namespace {

constexpr std::string_view catalog_start = ",\"catalog\":\"";
constexpr std::size_t catalog_size = catalog_start.size() + 64 + 2;  // and `"}`

/// A walk over JSON text that trusts nothing: every step says whether it could be made.
class Scan {
 public:
  explicit Scan(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

  bool take(char c) {
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }

  /// A string with its quotes.
  bool string(std::string_view& out) {
    if (at_ == end_ || *at_ != '"') return false;
    const char* begin = at_++;
    for (;;) {
      at_ = static_cast<const char*>(std::memchr(at_, '"', static_cast<std::size_t>(end_ - at_)));
      if (at_ == nullptr) return false;
      const char* slash = at_;
      while (slash[-1] == '\\') --slash;  // ends at the opening quote
      ++at_;
      if ((at_ - 1 - slash) % 2 == 0) break;
      if (at_ == end_) return false;
    }
    out = {begin, static_cast<std::size_t>(at_ - begin)};
    return true;
  }

  /// Any value, as its text.
  bool value(std::string_view& out) {
    const char* begin = at_;
    std::string_view ignored;
    int depth = 0;
    do {
      if (at_ == end_) return false;
      switch (*at_) {
        case '"':
          if (!string(ignored)) return false;
          break;
        case '{':
        case '[':
          ++depth;
          ++at_;
          break;
        case '}':
        case ']':
          if (--depth < 0) return false;
          ++at_;
          break;
        default:
          if (depth == 0) return scalar(begin, out);
          ++at_;
      }
    } while (depth > 0);
    out = {begin, static_cast<std::size_t>(at_ - begin)};
    return true;
  }

  [[nodiscard]] bool at_end() const { return at_ == end_; }

 private:
  const char* at_;
  const char* end_;

  bool scalar(const char* begin, std::string_view& out) {
    while (at_ != end_ && *at_ != ',' && *at_ != '}' && *at_ != ']') ++at_;
    out = {begin, static_cast<std::size_t>(at_ - begin)};
    return !out.empty();
  }
};

/// The text that a JSON string stands for.
bool unquote(std::string_view quoted, std::string& out) {
  if (quoted.find('\\') == std::string_view::npos) {
    out.assign(quoted.substr(1, quoted.size() - 2));
    return true;
  }
  const Json json = Json::parse(quoted, nullptr, false);
  if (!json.is_string()) return false;
  out = json.get<std::string>();
  return true;
}

bool change(Scan& scan, RawChange& out) {
  std::string_view key, value;
  if (!scan.take('{')) return false;
  for (const std::string_view wanted : {"\"kind\"", "\"id\"", "\"value\""}) {
    if (wanted != "\"kind\"" && !scan.take(',')) return false;
    if (!scan.string(key) || key != wanted || !scan.take(':') || !scan.value(value)) return false;
    if (wanted == "\"value\"") {
      out.value = value == "null" ? std::string_view() : value;
    } else if (value.front() != '"' || !unquote(value, wanted == "\"kind\"" ? out.kind : out.id)) {
      return false;
    }
  }
  return scan.take('}');
}

bool changes(Scan& scan, const std::function<void(const RawChange&)>& visit) {
  if (!scan.take('[')) return false;
  if (scan.take(']')) return true;
  RawChange one;
  do {
    if (!change(scan, one)) return false;
    visit(one);
  } while (scan.take(','));
  return scan.take(']');
}

}  // namespace

bool each_change(std::string_view entry, const std::function<void(const RawChange&)>& visit) {
  Scan scan(entry);
  if (!scan.take('{')) return false;
  bool found = false;
  std::string_view key, ignored;
  do {
    if (!scan.string(key) || !scan.take(':')) return false;
    if (key == "\"changes\"") {
      if (found || !changes(scan, visit)) return false;
      found = true;
    } else if (!scan.value(ignored)) {
      return false;
    }
  } while (scan.take(','));
  return found && scan.take('}') && scan.at_end();
}

bool says_number(std::string_view entry, std::uint64_t seq) {
  constexpr std::string_view start = "{\"kmjournal\":1,\"seq\":";
  if (!entry.starts_with(start)) return false;
  entry.remove_prefix(start.size());
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(entry.data(), entry.data() + entry.size(), number);
  return error == std::errc{} && number == seq && end != entry.data() + entry.size() && *end == ',' && (entry[0] != '0' || number == 0);
}

bool says_authenticated(std::string_view entry) {
  // Quotes inside texts are escaped, and what stands before it has no member of this name.
  const auto at = entry.find(",\"authenticated\":");
  return at != std::string_view::npos && entry.substr(at).starts_with(",\"authenticated\":true,");
}

bool closes_draft(std::string_view entry) {
  return entry.size() > catalog_size && entry.ends_with("\"}") && entry.substr(entry.size() - catalog_size).starts_with(catalog_start);
}

bool changes_nothing(std::string_view entry) {
  if (closes_draft(entry)) entry.remove_suffix(catalog_size - 1);
  else if (!entry.empty()) entry.remove_suffix(1);
  return entry.ends_with(",\"changes\":[]");
}

}  // namespace kmtool::journal
