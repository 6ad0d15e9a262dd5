#include "kmtool/domain/name.hpp"

#include <doctest/doctest.h>

#include "kmtool/core/error.hpp"

using namespace kmtool;

namespace {
bool refused(std::string_view text) {
  try {
    KeyRef::parse(text);
  } catch (const Error& error) {
    return error.exit() == ExitCode::usage && !error.hint().empty();
  }
  return false;
}
}  // namespace

TEST_CASE("names") {
  for (const char* good : {"a", "0", "payments", "A.b_c-D9", "9lives"}) CHECK(is_name(good));
  CHECK(is_name(std::string(64, 'a')));
  CHECK_FALSE(is_name(std::string(65, 'a')));
  for (const char* bad : {"", ".a", "-a", "_a", "a b", "a/b", "a@1", "a\n", "\xc3\xbc", "a*", "..", "a:b", "--help"})
    CHECK_FALSE(is_name(bad));
  CHECK_FALSE(is_name(std::string_view("a\0b", 3)));
}

TEST_CASE("exactly the letters of the pattern") {
  for (int c = 0; c < 256; ++c) {
    const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    CHECK(is_name(std::string(1, static_cast<char>(c))) == alphanumeric);
    CHECK(is_name(std::string{'x', static_cast<char>(c)}) == (alphanumeric || c == '.' || c == '_' || c == '-'));
  }
}

TEST_CASE("require_name says what was wanted") {
  CHECK_NOTHROW(require_name("root", "signer name"));
  try {
    require_name("a\x1b[0m", "signer name");
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK(error.exit() == ExitCode::usage);
    CHECK(error.message() == "\"a\\x1b[0m\" is not a signer name");
    CHECK(error.hint().find("[A-Za-z0-9][A-Za-z0-9._-]{0,63}") != std::string::npos);
  }
}

TEST_CASE("key references") {
  CHECK(KeyRef::parse("payments").name == "payments");
  CHECK_FALSE(KeyRef::parse("payments").version);
  CHECK(KeyRef::parse("payments@3").version == 3);
  CHECK(KeyRef::parse("p@999999").version == 999999);
  for (const char* text : {"payments", "payments@3", "a.b@120"}) CHECK(KeyRef::parse(text).text() == text);
  for (const char* bad : {"", "@", "@3", "p@", "p@0", "p@01", "p@1000000", "p@-1", "p@+1", "p@1 ", "p@ 1", "p@1@2", "p@x",
                          "p@1.0", "p @1", "p@99999999999999999999"}) {
    CAPTURE(bad);
    CHECK(refused(bad));
  }
  CHECK(label_of("payments", 3) == "payments@3");
}

TEST_CASE("labels of versions, and whose they are") {
  for (const char* label : {"payments@3", "a.b@120", "p@999999"}) CHECK(is_version_label(label));
  for (const char* other : {"", "payments", "@", "@3", "p@", "p@0", "p@01", "p@1000000", "p@1@2", "p@x", "p @1", "payments@1#0a1b"}) {
    CAPTURE(other);
    CHECK_FALSE(is_version_label(other));
  }
  CHECK(name_in("payments@3") == "payments");
  CHECK(name_in("payments") == "payments");
  CHECK(name_in("") == "");
}
