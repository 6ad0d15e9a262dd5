#include "journal/row_json.hpp"

#include <doctest/doctest.h>

using namespace kmtool;

TEST_CASE("a catalog row's text is read as the library reads it") {
  const std::string fields = R"({"a":"x","b":[],"c":{"d":[1,-2,{"e":null}],"f":true},"g":18446744073709551615,"h":1.5,"i":"\u00e9\n"})";
  for (const std::string& text : {fields, std::string("[]"), std::string("{}"), std::string(R"(["payments@1","payments@2"])"), std::string("7")}) {
    const auto read = journal::row_json(text);
    REQUIRE(read.has_value());
    CHECK(*read == Json::parse(text));
    CHECK(read->dump() == Json::parse(text).dump());  // in the same order
  }
}

TEST_CASE("a row of more fields than usual keeps them all") {
  Json many;
  for (int i = 0; i < 100; ++i) many["field" + std::to_string(i)] = {{"inner", Json::array({i, std::string(50, 'x')})}};
  const auto read = journal::row_json(many.dump());
  REQUIRE(read.has_value());
  CHECK(*read == many);
}

TEST_CASE("what is not JSON is none") {
  for (const char* text : {"", "{", R"({"a":1}x)", R"({"a"})", "[1,]", "nul"}) CHECK_FALSE(journal::row_json(text).has_value());
}
