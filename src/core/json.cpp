#include "kmtool/core/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool {
namespace {

/// ordered_json looks members up one by one: without a limit a hostile object costs the square of its size.
constexpr std::size_t most_members = 10000;

std::string quoted(const std::string& name) { return fmt::format("\"{}\"", printable(name.substr(0, 64))); }

/// Carries a refusal out of nlohmann's callback; never leaves this file.
struct Refusal {
  std::string what;
};

/// The library keeps the last of duplicate members and nests without limit; this watches both while it parses.
class Watcher {
 public:
  explicit Watcher(std::size_t max_depth) : max_depth_(max_depth) {}

  bool operator()(int, Json::parse_event_t event, Json& parsed) {
    using Event = Json::parse_event_t;
    switch (event) {
      case Event::object_start:
      case Event::array_start:
        members_.emplace_back();
        if (members_.size() > max_depth_) throw Refusal{"nested deeper than " + std::to_string(max_depth_) + " levels"};
        break;
      case Event::object_end:
      case Event::array_end:
        members_.pop_back();
        break;
      case Event::key: {
        auto& names = members_.back();
        const auto& name = parsed.get_ref<const std::string&>();
        if (!names.insert(name).second) throw Refusal{"duplicate field " + quoted(name)};
        if (names.size() > most_members) throw Refusal{"more than " + std::to_string(most_members) + " fields in one object"};
        break;
      }
      default:
        break;
    }
    return true;
  }

 private:
  std::size_t max_depth_;
  std::vector<std::unordered_set<std::string>> members_;
};

[[noreturn]] void refuse(const JsonFail& fail, const std::string& what) {
  fail(what);
  throw Error::internal("a JSON error handler returned");
}

/// The library's own texts quote the input, which may be secret; only the place is told.
std::string place_of(std::string_view text, std::size_t byte) {
  const std::string_view before = text.substr(0, std::min(byte > 0 ? byte - 1 : 0, text.size()));
  if (text.find('\n') == std::string_view::npos) return "at byte " + std::to_string(before.size() + 1);
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const auto last = before.rfind('\n');
  const std::size_t column = before.size() - (last == std::string_view::npos ? 0 : last + 1) + 1;
  return "at line " + std::to_string(line) + ", column " + std::to_string(column);
}

}  // namespace

Json parse_json(std::string_view text, const JsonFail& fail, JsonOptions options) {
  if (!is_utf8(text)) refuse(fail, "not valid UTF-8");
  // The library skips a byte order mark and takes a NUL for the end of the text.
  if (text.starts_with("\xef\xbb\xbf")) refuse(fail, "begins with a byte order mark");
  if (const auto nul = text.find('\0'); nul != std::string_view::npos) {
    refuse(fail, "not valid JSON " + place_of(text, nul + 1));
  }
  std::string problem;
  try {
    // The parser copies its callback: the state must lie outside it.
    Watcher watcher(options.max_depth);
    return Json::parse(text.begin(), text.end(), std::ref(watcher), true, options.comments);
  } catch (const Refusal& refusal) {
    problem = refusal.what;
  } catch (const Json::parse_error& error) {
    problem = "not valid JSON " + place_of(text, error.byte);
  } catch (const Json::exception&) {
    problem = "a number is out of range";
  }
  refuse(fail, problem);
}

namespace {

/// The first text in it that is not UTF-8, also a field's name.
const std::string* foreign_text(const Json& value) {
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    return is_utf8(text) ? nullptr : &text;
  }
  if (!value.is_structured()) return nullptr;
  for (const auto& item : value.items()) {
    if (value.is_object() && !is_utf8(item.key())) return &item.key();
    if (const auto* found = foreign_text(item.value())) return found;
  }
  return nullptr;
}

}  // namespace

std::string dump_json(const Json& value) {
  try {
    return value.dump(-1, ' ', false, Json::error_handler_t::strict);
  } catch (const Json::exception&) {
    // Whatever is read as a document is UTF-8: it is a word of the command line, or the name of a file.
    const auto* text = foreign_text(value);
    throw Error::usage((text != nullptr ? printable(*text) : std::string("a text")) + " is not UTF-8 and cannot be put on record", "give it a name in UTF-8");
  }
}

namespace {

/// An ordered object is a vector of its fields.
const Json::object_t::Container& fields_of(const Json& object) { return object.get_ref<const Json::object_t&>(); }

}  // namespace

JsonReader::JsonReader(const Json& object, JsonFail fail, std::string path)
    : object_(&object), fail_(std::move(fail)), path_(std::move(path)) {
  if (!object.is_object()) this->fail("expected an object");
  seen_.resize(object.size());
}

void JsonReader::fail(const std::string& what) const { refuse(fail_, path_.empty() ? what : path_ + ": " + what); }

bool JsonReader::has(const std::string& name) const { return object_->contains(name); }

std::size_t JsonReader::place_of_field(const std::string& name) {
  const auto& fields = fields_of(*object_);
  std::size_t place = next_;
  if (place >= fields.size() || fields[place].first != name) {
    const auto found = std::find_if(fields.begin(), fields.end(), [&](const auto& field) { return field.first == name; });
    if (found == fields.end()) return seen_.size();
    place = static_cast<std::size_t>(found - fields.begin());
  }
  seen_[place] = true;
  next_ = place + 1;
  return place;
}

const Json& JsonReader::need(const std::string& name, const char* expected, bool ok(const Json&)) {
  const std::size_t place = place_of_field(name);
  if (place == seen_.size()) fail("missing field " + quoted(name));
  const Json& value = fields_of(*object_)[place].second;
  if (!ok(value)) fail("field " + quoted(name) + ": expected " + expected);
  return value;
}

std::string JsonReader::text(const std::string& name) {
  return need(name, "a string", [](const Json& value) { return value.is_string(); }).get<std::string>();
}

std::optional<std::string> JsonReader::optional_text(const std::string& name) {
  if (optional_any(name) == nullptr) return std::nullopt;
  return text(name);
}

std::int64_t JsonReader::integer(const std::string& name, std::int64_t min, std::int64_t max) {
  const Json& value = need(name, "an integer", [](const Json& found) { return found.is_number_integer(); });
  const bool beyond = value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX);
  if (beyond || value.get<std::int64_t>() < min || value.get<std::int64_t>() > max) {
    fail("field " + quoted(name) + ": expected an integer from " + std::to_string(min) + " to " + std::to_string(max));
  }
  return value.get<std::int64_t>();
}

std::optional<std::int64_t> JsonReader::optional_integer(const std::string& name, std::int64_t min, std::int64_t max) {
  if (optional_any(name) == nullptr) return std::nullopt;
  return integer(name, min, max);
}

bool JsonReader::boolean(const std::string& name) {
  return need(name, "true or false", [](const Json& value) { return value.is_boolean(); }).get<bool>();
}

std::optional<bool> JsonReader::optional_boolean(const std::string& name) {
  if (optional_any(name) == nullptr) return std::nullopt;
  return boolean(name);
}

Bytes JsonReader::hex(const std::string& name) {
  const std::string digits = text(name);
  auto bytes = from_hex(digits);
  // One spelling only: what is read equals what would be written.
  if (!bytes || kmtool::hex(*bytes) != digits) fail("field " + quoted(name) + ": expected lower-case hexadecimal");
  return *std::move(bytes);
}

Bytes JsonReader::base64(const std::string& name) {
  auto bytes = from_base64(text(name));
  if (!bytes) fail("field " + quoted(name) + ": expected base64");
  return *std::move(bytes);
}

std::vector<std::string> JsonReader::texts(const std::string& name) {
  std::vector<std::string> all;
  for (const Json& value : array(name)) {
    if (!value.is_string()) fail("field " + quoted(name) + ": expected an array of strings");
    all.push_back(value.get<std::string>());
  }
  return all;
}

const Json& JsonReader::array(const std::string& name) {
  return need(name, "an array", [](const Json& value) { return value.is_array(); });
}

const Json& JsonReader::object(const std::string& name) {
  return need(name, "an object", [](const Json& value) { return value.is_object(); });
}

const Json& JsonReader::any(const std::string& name) {
  return need(name, "a value", [](const Json&) { return true; });
}

const Json* JsonReader::optional_any(const std::string& name) {
  const std::size_t place = place_of_field(name);
  if (place == seen_.size()) return nullptr;
  const Json& value = fields_of(*object_)[place].second;
  if (value.is_null()) return nullptr;
  next_ = place;  // who asks whether it is there reads it next
  return &value;
}

void JsonReader::finish() {
  for (std::size_t place = 0; place < seen_.size(); ++place) {
    if (!seen_[place]) fail("unknown field " + quoted(fields_of(*object_)[place].first));
  }
}

}  // namespace kmtool
