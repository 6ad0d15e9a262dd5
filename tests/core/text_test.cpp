#include "kmtool/core/text.hpp"

#include <doctest/doctest.h>

#include "kmtool/core/error.hpp"

using namespace kmtool;
using Words = std::vector<std::string>;

TEST_CASE("printable") {
  CHECK(printable("plain text, \\ and all") == "plain text, \\ and all");
  CHECK(printable("gr\xc3\xbc\xc3\x9f \xe4\xb8\xad \xf0\x9f\x94\x91") == "gr\xc3\xbc\xc3\x9f \xe4\xb8\xad \xf0\x9f\x94\x91");
  CHECK(printable("a\nb\tc\r\x1b[31m\x7f") == "a\\x0ab\\x09c\\x0d\\x1b[31m\\x7f");
  CHECK(printable(std::string_view("a\0b", 3)) ==
        "a\\x00"
        "b");
  CHECK(printable("\xc2\x9b"
                  "31m") == "\\u{009b}31m");  // the one-character CSI
  CHECK(printable("a\xe2\x80\xae"
                  "b\xe2\x81\xa6") == "a\\u{202e}b\\u{2066}");           // bidirectional override, isolate
  CHECK(printable("\xe2\x80\x8b\xef\xbb\xbf") == "\\u{200b}\\u{feff}");  // zero width
  CHECK(printable("\xf3\xa0\x81\x81") == "\\u{e0041}");                  // tag characters
  CHECK(printable("a\xff"
                  "b\xc3") == "a\\xffb\\xc3");
  CHECK(printable("\xc0\xaf") == "\\xc0\\xaf");           // overlong
  CHECK(printable("\xed\xa0\x80") == "\\xed\\xa0\\x80");  // surrogate
}

TEST_CASE("printable never lets a control character through") {
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      const std::string shown = printable(std::string{static_cast<char>(a), static_cast<char>(b)});
      for (const char c : shown) CHECK_FALSE((static_cast<unsigned char>(c) < 0x20 || c == 0x7f));
      CHECK(is_utf8(shown));
    }
  }
}

TEST_CASE("utf-8") {
  CHECK(is_utf8(""));
  CHECK(is_utf8("\xf4\x8f\xbf\xbf"));
  for (const char* bad : {"\x80", "\xc3", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf",
                          "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xff", "\xe2\x82"}) {
    CHECK_FALSE(is_utf8(bad));
  }
}

TEST_CASE("split and join") {
  CHECK(split("a,b,,c", ',') == Words{"a", "b", "", "c"});
  CHECK(split("", ',') == Words{""});
  CHECK(split(",", ',') == Words{"", ""});
  CHECK(join({}, ", ").empty());
  CHECK(join({"a"}, ", ") == "a");
  CHECK(join({"a", "b"}, ", ") == "a, b");
}

TEST_CASE("split_command splits and expands nothing") {
  CHECK(split_command("") == Words{});
  CHECK(split_command(" \t\n ") == Words{});
  CHECK(split_command(" a  'b c' \"d 'e'\" f\"g h\"i ") == Words{"a", "b c", "d 'e'", "fg hi"});
  CHECK(split_command("'' \"\"") == Words{"", ""});
  CHECK(split_command("$HOME ~ *.c `id` a\\ b ; |") == Words{"$HOME", "~", "*.c", "`id`", "a\\", "b", ";", "|"});
  for (const char* bad : {"'", "a \"b", "'a\"", "\"a'"}) {
    try {
      split_command(bad);
      FAIL("accepted: ", bad);
    } catch (const Error& error) {
      CHECK(error.exit() == ExitCode::usage);
    }
  }
}

TEST_CASE("suggestions") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("abc", "") == 3);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("same", "same") == 0);
  CHECK(nearest("rotat", {"wrap", "rotate", "state"}) == "rotate");
  CHECK(nearest("xyz", {"wrap", "rotate"}).empty());
  CHECK(nearest("ab", {"abc"}).empty());  // one letter is more than a third of two
  CHECK(nearest("abc", {"abd", "abc"}) == "abc");
  CHECK(nearest("", {"a"}).empty());
  CHECK(nearest("word", {}).empty());
}
