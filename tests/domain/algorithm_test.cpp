#include "kmtool/domain/algorithm.hpp"

#include <doctest/doctest.h>

using namespace kmtool;

TEST_CASE("wrapping algorithms") {
  CHECK(to_text(WrapAlgorithm::aes_kw) == "AES-KW");
  CHECK(to_text(WrapAlgorithm::aes_kwp) == "AES-KWP");
  CHECK(wrap_algorithm_from("AES-KW") == WrapAlgorithm::aes_kw);
  CHECK(wrap_algorithm_from("AES-KWP") == WrapAlgorithm::aes_kwp);
  for (const char* bad : {"", "AES-KWP ", "aes-kw", "AES", "AES-KWPP"}) CHECK_FALSE(wrap_algorithm_from(bad));
}
