#include "journal/changes.hpp"

#include <charconv>
#include <cstdint>
#include <cstring>

#include "kmtool/core/json.hpp"

namespace kmtool::journal {

namespace {

constexpr std::string_view catalog_start = ",\"catalog\":\"";
constexpr std::size_t catalog_size = catalog_start.size() + 64 + 2;  // and `"}`

/// memmem: entries are full of commas, and std::string_view::find() stops at each.
std::size_t find(std::string_view text, std::string_view what) {
  const void* at = memmem(text.data(), text.size(), what.data(), what.size());
  return at == nullptr ? std::string_view::npos : static_cast<std::size_t>(static_cast<const char*>(at) - text.data());
}

/// A walk over JSON text that trusts nothing: every step says whether it could be made.
class Scan {
 public:
  explicit Scan(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

  bool take(char c) {
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }
  bool take(std::string_view text) {
    if (static_cast<std::size_t>(end_ - at_) < text.size() || std::memcmp(at_, text.data(), text.size()) != 0) return false;
    at_ += text.size();
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
  std::string_view text;
  if (!scan.take("{\"kind\":") || !scan.string(text) || !unquote(text, out.kind)) return false;
  if (!scan.take(",\"id\":") || !scan.string(text) || !unquote(text, out.id)) return false;
  if (!scan.take(",\"value\":") || !scan.value(text)) return false;
  out.value = text == "null" ? std::string_view() : text;
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

bool each_change(std::string_view entry, const Marks& marks, const std::function<void(const RawChange&)>& visit) {
  if (!entry.starts_with('{')) return false;
  Scan scan(entry.substr(marks.details));
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

Marks marks_of(std::string_view entry) {
  Marks marks;
  // Quotes inside texts are escaped, and what stands before has no members of these names. It is texts and numbers of kmtool's own, and
  // passed over: most of an entry's members.
  constexpr std::string_view authenticated = ",\"authenticated\":", details = ",\"details\":";
  if (const auto at = find(entry, authenticated); at != std::string_view::npos) {
    const auto rest = entry.substr(at + authenticated.size());
    marks.authenticated = rest.starts_with("true,");
    constexpr std::size_t usual = std::string_view("true,\"policy\":\"\",\"config\":\"\"").size() + 2 * std::size_t{64};  // with two digests
    const auto found = marks.authenticated && rest.size() > usual && rest.substr(usual).starts_with(details) ? usual : find(rest, details);
    if (found != std::string_view::npos) marks.details = at + authenticated.size() + found + 1;
  }
  marks.closes = entry.size() > catalog_size && entry.ends_with("\"}") && entry.substr(entry.size() - catalog_size).starts_with(catalog_start);
  entry.remove_suffix(marks.closes ? catalog_size - 1 : entry.empty() ? 0 : 1);
  marks.changes_nothing = entry.ends_with(",\"changes\":[]");
  return marks;
}

}  // namespace kmtool::journal
