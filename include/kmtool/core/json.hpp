#pragma once
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kmtool/core/bytes.hpp"
#include "kmtool/core/error.hpp"

namespace kmtool {

/// Insertion order is kept, so that what is written can be given one spelling.
using Json = nlohmann::ordered_json;

struct JsonOptions {
  bool comments = false;       ///< allow // and /* */ (policy.json, spec files)
  std::size_t max_depth = 32;  ///< deeper nesting is refused
};

/// Strict parse of one document: UTF-8, no duplicate member anywhere, no trailing bytes, no depth beyond the limit.
/// Throws through `fail` with a text such as `duplicate field "id"`; `fail` must throw.
using JsonFail = std::function<void(const std::string& what)>;
Json parse_json(std::string_view text, const JsonFail& fail, JsonOptions options = {});

/// One spelling: no spaces, members in the order given, non-ASCII kept as UTF-8.
std::string dump_json(const Json& value);

/// Reads one object strictly: every member is asked for by name with its type, and finish() refuses what nobody asked for.
/// All failures go through `fail` (which must throw) as `field "x": expected a string` and the like.
class JsonReader {
 public:
  JsonReader(const Json& object, JsonFail fail, std::string path = {});

  [[nodiscard]] bool has(const std::string& name) const;
  std::string text(const std::string& name);
  std::optional<std::string> optional_text(const std::string& name);   ///< absent or null → nullopt
  std::int64_t integer(const std::string& name, std::int64_t min, std::int64_t max);
  std::optional<std::int64_t> optional_integer(const std::string& name, std::int64_t min, std::int64_t max);
  bool boolean(const std::string& name);
  std::optional<bool> optional_boolean(const std::string& name);
  Bytes hex(const std::string& name);
  Bytes base64(const std::string& name);
  std::vector<std::string> texts(const std::string& name);             ///< array of strings
  const Json& array(const std::string& name);
  const Json& object(const std::string& name);
  const Json& any(const std::string& name);
  const Json* optional_any(const std::string& name);
  /// Refuses members nobody read.
  void finish();
  /// Calls fail with the path of this object before the text.
  [[noreturn]] void fail(const std::string& what) const;

 private:
  /// The field's place in the object, or the number of fields.
  std::size_t place_of_field(const std::string& name);
  const Json& need(const std::string& name, const char* expected, bool ok(const Json&));
  const Json* object_;
  JsonFail fail_;
  std::string path_;
  std::vector<bool> seen_;  ///< by place in the object
  std::size_t next_ = 0;    ///< where the next field is likely to be: readers ask in the order of writers
};

}  // namespace kmtool
