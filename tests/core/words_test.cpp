#include "kmtool/core/words.hpp"

#include <doctest/doctest.h>

#include <numeric>

#include "kmtool/core/encoding.hpp"

namespace kmtool {

TEST_CASE("digests as words, with the word list's own example") {
  // The fingerprint that the list was published with.
  const auto bytes = from_hex("E58294F2E9A227486E8B061B31CC528FD7FA3F19").value();
  CHECK(words_of(bytes) ==
        "topmost istanbul pluto vagabond treadmill pacific brackish dictator goldfish medusa afflict bravado chatter revolver "
        "dupont midsummer stopwatch whimsical cowbell bottomless");
  CHECK(bytes_of_words("Topmost Istanbul,pluto-VAGABOND\n treadmill  pacific brackish dictator goldfish medusa afflict bravado chatter "
                       "revolver dupont midsummer stopwatch whimsical cowbell bottomless") == bytes);
}

TEST_CASE("every octet at either place, there and back") {
  for (const int first : {0, 1}) {
    Bytes bytes(256 + static_cast<std::size_t>(first));
    std::iota(bytes.begin() + first, bytes.end(), std::uint8_t{0});
    CHECK(bytes_of_words(words_of(bytes)) == bytes);
  }
  CHECK(words_of({}).empty());
  CHECK(bytes_of_words("")->empty());
}

TEST_CASE("a word that was left out, exchanged or misheard is noticed") {
  CHECK_FALSE(bytes_of_words("topmost pluto vagabond").has_value());
  CHECK_FALSE(bytes_of_words("istanbul topmost").has_value());
  CHECK_FALSE(bytes_of_words("topmost constantinople").has_value());
}

}  // namespace kmtool
