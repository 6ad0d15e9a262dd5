#include "kmtool/core/progress.hpp"

#include <doctest/doctest.h>

TEST_CASE("a stop is asked for once and stays") {
  kmtool::StopToken stop;
  CHECK_FALSE(stop.requested());
  stop.request();
  stop.request();
  CHECK(stop.requested());
}
