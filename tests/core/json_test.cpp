#include "kmtool/core/json.hpp"

#include <doctest/doctest.h>

using namespace kmtool;

namespace {

struct Failed {
  std::string what;
};
void fail(const std::string& what) { throw Failed{what}; }

template <typename Call>
std::string failure_of(const Call& call) {
  try {
    call();
  } catch (const Failed& failed) {
    return failed.what;
  }
  return "(no failure)";
}

std::string parse_failure(std::string_view text, JsonOptions options = {}) {
  return failure_of([&] { parse_json(text, fail, options); });
}

}  // namespace

TEST_CASE("what is read is written again byte for byte") {
  for (const char* text :
       {R"({"b":1,"a":[true,false,null,-5,"x"],"c":{}})", "[]", "\"\xc3\xbc\"", "18446744073709551615", R"("\n\"\\")"}) {
    CHECK(dump_json(parse_json(text, fail)) == text);
  }
  CHECK(dump_json(parse_json(" { \"b\" : 1 ,\n \"a\" : 2 } \n", fail)) == R"({"b":1,"a":2})");
  CHECK_THROWS_AS(dump_json(Json("\xff")), Error);
}

TEST_CASE("duplicates are refused at every level, however they are spelt") {
  CHECK(parse_failure(R"({"id":1,"id":2})") == "duplicate field \"id\"");
  CHECK(parse_failure(R"({"a":{"b":1,"c":2,"b":3}})") == "duplicate field \"b\"");
  CHECK(parse_failure(R"([[{"x":{},"x":{}}]])") == "duplicate field \"x\"");
  CHECK(parse_failure(R"({"a":1,"\u0061":2})") == "duplicate field \"a\"");
  CHECK(parse_failure(R"({"a":{"z":1},"b":2,"a":3})") == "duplicate field \"a\"");
  CHECK(parse_failure(R"({"\u001b[2J":1,"\u001b[2J":2})") == "duplicate field \"\\x1b[2J\"");
  // The same name in different objects is none.
  CHECK(parse_json(R"({"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]})", fail).size() == 2);
}

TEST_CASE("not one whole document") {
  for (const std::string_view bad :
       {"",       " ",      "{",       "[1,]",        "{\"a\":1,}", "{\"a\"}", "{a:1}",  "'a'",    "{} {}",
        "{}x",    "1 2",    "nul",     "01",          "+1",         ".5",      "1.",     "NaN",    "Infinity",
        "\"\n\"", "\"\t\"", "\"\\x\"", "\"\\ud800\"", "\"a",        "// x\n1", "/* */1", "# x\n1", "{}\v"}) {
    CAPTURE(bad);
    CHECK(parse_failure(bad).find("not valid JSON") == 0);
  }
  CHECK(parse_failure("1e999") == "a number is out of range");
}

TEST_CASE("bytes that the library would pass over") {
  using namespace std::string_view_literals;
  CHECK(parse_failure("{}\0{\"hidden\":1}"sv) == "not valid JSON at byte 3");
  CHECK(parse_failure("{}\0"sv) == "not valid JSON at byte 3");
  CHECK(parse_failure("\xef\xbb\xbf{}") == "begins with a byte order mark");
  CHECK(parse_failure("\"\xff\"") == "not valid UTF-8");
  CHECK(parse_failure("\"\xc0\x80\"") == "not valid UTF-8");
  CHECK(parse_failure("{} // \xff", {.comments = true}) == "not valid UTF-8");
}

TEST_CASE("a failure tells the place and never the content") {
  CHECK(parse_failure(R"({"pin":"s3cret" x})") == "not valid JSON at byte 17");
  CHECK(parse_failure("{\n  \"a\": 1,\n  oops\n}") == "not valid JSON at line 3, column 3");
  CHECK(parse_failure("[\"s3cret").find("s3cret") == std::string::npos);
}

TEST_CASE("depth") {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  CHECK(parse_json(nested(32), fail).is_array());
  CHECK(parse_failure(nested(33)) == "nested deeper than 32 levels");
  CHECK(parse_failure(nested(3), {.max_depth = 2}) == "nested deeper than 2 levels");
  CHECK(parse_failure(std::string(1000000, '[')) == "nested deeper than 32 levels");
  CHECK(parse_json("[[],[],[[]],{}]", fail, {.max_depth = 3}).size() == 4);
}

TEST_CASE("an object with too many fields is refused before it costs much") {
  std::string text = "{";
  for (int i = 0; i < 200000; ++i) text += "\"k" + std::to_string(i) + "\":1,";
  CHECK(parse_failure(text + "\"z\":1}") == "more than 10000 fields in one object");
}

TEST_CASE("comments where they are allowed") {
  const Json value = parse_json("// why\n{\"a\": 1 /* b */}\n", fail, {.comments = true});
  CHECK(value["a"] == 1);
}

TEST_CASE("an error handler that returns is a fault of ours") {
  CHECK_THROWS_AS(parse_json("{", [](const std::string&) {}), Error);
}

TEST_CASE("reader: every kind") {
  const Json value = parse_json(R"({"s":"x","i":-3,"b":true,"h":"00ff","q":"Zg==","t":["a","b"],"a":[1],"o":{},"n":null})", fail);
  JsonReader reader(value, fail);
  CHECK(reader.has("s"));
  CHECK_FALSE(reader.has("zz"));
  CHECK(reader.text("s") == "x");
  CHECK(reader.integer("i", -3, 0) == -3);
  CHECK(reader.boolean("b"));
  CHECK(reader.hex("h") == Bytes{0, 255});
  CHECK(reader.base64("q") == to_bytes("f"));
  CHECK(reader.texts("t") == std::vector<std::string>{"a", "b"});
  CHECK(reader.array("a").size() == 1);
  CHECK(reader.object("o").empty());
  CHECK(reader.any("n").is_null());
  CHECK(reader.optional_any("n") == nullptr);
  CHECK(reader.optional_text("n") == std::nullopt);
  CHECK(reader.optional_text("zz") == std::nullopt);
  CHECK(reader.optional_text("s") == "x");
  CHECK(reader.optional_integer("i", -5, 5) == -3);
  CHECK(reader.optional_integer("zz", -5, 5) == std::nullopt);
  CHECK(reader.optional_boolean("b") == true);
  CHECK(reader.optional_boolean("zz") == std::nullopt);
  REQUIRE(reader.optional_any("s") != nullptr);
  reader.finish();
}

TEST_CASE("reader: refusals name the field") {
  const Json value = parse_json(
      R"({"s":"x","i":7,"f":1.0,"big":18446744073709551615,"h":"0G","up":"AA","q":"Zh==","t":["a",1],"n":null})", fail);
  JsonReader reader(value, fail, "recipients[0]");
  const auto failing = [&](auto call) { return failure_of([&] { call(reader); }); };
  CHECK(failing([](auto& r) { r.text("zz"); }) == "recipients[0]: missing field \"zz\"");
  CHECK(failing([](auto& r) { r.text("i"); }) == "recipients[0]: field \"i\": expected a string");
  CHECK(failing([](auto& r) { r.text("n"); }) == "recipients[0]: field \"n\": expected a string");
  CHECK(failing([](auto& r) { r.integer("s", 0, 9); }) == "recipients[0]: field \"s\": expected an integer");
  CHECK(failing([](auto& r) { r.integer("f", 0, 9); }) == "recipients[0]: field \"f\": expected an integer");
  CHECK(failing([](auto& r) { r.integer("i", 0, 6); }) == "recipients[0]: field \"i\": expected an integer from 0 to 6");
  CHECK(failing([](auto& r) { r.integer("i", 8, 9); }) == "recipients[0]: field \"i\": expected an integer from 8 to 9");
  CHECK(failing([](auto& r) { r.integer("big", INT64_MIN, INT64_MAX); }).find("expected an integer from") != std::string::npos);
  CHECK(failing([](auto& r) { r.optional_integer("s", 0, 9); }) == "recipients[0]: field \"s\": expected an integer");
  CHECK(failing([](auto& r) { r.boolean("i"); }) == "recipients[0]: field \"i\": expected true or false");
  CHECK(failing([](auto& r) { r.hex("h"); }) == "recipients[0]: field \"h\": expected lower-case hexadecimal");
  CHECK(failing([](auto& r) { r.hex("up"); }) == "recipients[0]: field \"up\": expected lower-case hexadecimal");
  CHECK(failing([](auto& r) { r.base64("q"); }) == "recipients[0]: field \"q\": expected base64");
  CHECK(failing([](auto& r) { r.texts("t"); }) == "recipients[0]: field \"t\": expected an array of strings");
  CHECK(failing([](auto& r) { r.texts("s"); }) == "recipients[0]: field \"s\": expected an array");
  CHECK(failing([](auto& r) { r.object("t"); }) == "recipients[0]: field \"t\": expected an object");
  CHECK(failure_of([] { const JsonReader none(Json::array(), fail, "key"); }) == "key: expected an object");
}

TEST_CASE("reader: what nobody asked for is refused") {
  const Json value = parse_json(R"({"a":1,"b\u001b":2})", fail);
  JsonReader reader(value, fail);
  reader.any("a");
  CHECK(failure_of([&] { reader.finish(); }) == "unknown field \"b\\x1b\"");
  CHECK(reader.has("a"));
  JsonReader asked_only(value, fail);
  (void)asked_only.has("a");
  CHECK(failure_of([&] { asked_only.finish(); }) == "unknown field \"a\"");
}
