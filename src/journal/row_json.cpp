#include "journal/row_json.hpp"

#include <vector>

namespace kmtool::journal {
namespace {

constexpr std::size_t usual_fields = 24;  // a key version has about 20

/// Builds the tree from the parser's events, with room for an object's fields from the start.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(number_integer_t value) override { return put(value); }
  bool number_unsigned(number_unsigned_t value) override { return put(value); }
  bool number_float(number_float_t value, const string_t&) override { return put(value); }
  bool string(string_t& value) override { return put(static_cast<const string_t&>(value)); }
  bool binary(binary_t&) override { return false; }
  bool key(string_t& name) override {
    object_of(*open_.back()).emplace_back(name, nullptr);
    return true;
  }
  bool start_object(std::size_t) override { return begin(Json::object()); }
  bool end_object() override { return end(); }
  bool start_array(std::size_t) override { return begin(Json::array()); }
  bool end_array() override { return end(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

  Json take() { return std::move(root_); }

 private:
  static Json::object_t& object_of(Json& json) { return json.get_ref<Json::object_t&>(); }

  /// Where the next value belongs.
  Json& place() {
    if (open_.empty()) return root_;
    Json& inner = *open_.back();
    if (inner.is_array()) return inner.emplace_back(nullptr);
    return object_of(inner).back().second;
  }
  template <class Value>
  bool put(const Value& value) {
    place() = value;
    return true;
  }
  /// A place stays where it is while it is open: only its inner values grow then.
  bool begin(Json empty) {
    Json& here = place();
    here = std::move(empty);
    if (here.is_object() && open_.empty()) object_of(here).reserve(usual_fields);
    open_.push_back(&here);
    return true;
  }
  bool end() {
    open_.pop_back();
    return true;
  }

  Json root_;
  std::vector<Json*> open_;
};

}  // namespace

std::optional<Json> row_json(const std::string& text) {
  Builder builder;
  if (!Json::sax_parse(text, &builder)) return std::nullopt;
  return builder.take();
}

}  // namespace kmtool::journal
