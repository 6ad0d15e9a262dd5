#include "kmtool/core/time.hpp"

#include <doctest/doctest.h>

#include <ctime>

#include "kmtool/core/error.hpp"

using namespace kmtool;

TEST_CASE("rfc 3339 out") {
  CHECK(rfc3339(0) == "1970-01-01T00:00:00Z");
  CHECK(rfc3339(1795464000) == "2026-11-23T20:00:00Z");
  CHECK(rfc3339(951782400) == "2000-02-29T00:00:00Z");
  CHECK(rfc3339(-1) == "1969-12-31T23:59:59Z");
  CHECK(rfc3339(253402300799) == "9999-12-31T23:59:59Z");
  CHECK_THROWS_AS(rfc3339(253402300800), Error);
  CHECK(rfc3339(-62167219200) == "0000-01-01T00:00:00Z");
  CHECK_THROWS_AS(rfc3339(INT64_MIN), Error);
}

TEST_CASE("rfc 3339 in") {
  CHECK(parse_rfc3339("2026-11-23T20:00:00Z") == 1795464000);
  CHECK(parse_rfc3339("2026-11-23T21:30:00+01:30") == 1795464000);
  CHECK(parse_rfc3339("2026-11-23T15:00:00-05:00") == 1795464000);
  CHECK(parse_rfc3339("2026-11-23T20:00:00.999999Z") == 1795464000);
  CHECK(parse_rfc3339("2024-02-29T00:00:00Z").has_value());
  for (const char* bad : {"",
                          "2026-11-23",
                          "2026-11-23T20:00:00",
                          "2026-11-23 20:00:00Z",
                          "2026-11-23t20:00:00z",
                          "2026-13-01T00:00:00Z",
                          "2026-00-01T00:00:00Z",
                          "2026-01-00T00:00:00Z",
                          "2025-02-29T00:00:00Z",
                          "2026-04-31T00:00:00Z",
                          "2026-11-23T24:00:00Z",
                          "2026-11-23T20:60:00Z",
                          "2026-11-23T20:00:60Z",
                          "2026-11-23T20:00:00.Z",
                          "2026-11-23T20:00:00+24:00",
                          "2026-11-23T20:00:00+01:60",
                          "2026-11-23T20:00:00+0100",
                          "2026-11-23T20:00:00Zx",
                          " 2026-11-23T20:00:00Z",
                          "2026-11-23T20:00:00+01:00Z",
                          "+026-11-23T20:00:00Z",
                          "2026-1-23T20:00:00Z",
                          "2026-11-23T20:00Z"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_rfc3339(bad));
  }
}

TEST_CASE("what is written is read back") {
  for (UnixTime time = -5000000000; time < 5000000000; time += 86399 * 997) CHECK(parse_rfc3339(rfc3339(time)) == time);
}

TEST_CASE("durations") {
  CHECK(parse_duration("90d") == 7776000);
  CHECK(parse_duration("12h") == 43200);
  CHECK(parse_duration("30m") == 1800);
  CHECK(parse_duration("45s") == 45);
  CHECK(parse_duration("2w") == 1209600);
  CHECK(parse_duration("1y") == 31536000);
  CHECK(parse_duration("100y") == 3153600000);
  for (const char* bad : {"", "d", "0d", "01d", "-1d", "+1d", "1.5d", "1", "1 d", " 1d", "1d ", "1D", "1mo", "101y", "36501d",
                          "99999999999999999999s", "3153600001s", "1d1h"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_duration(bad));
  }
}

TEST_CASE("durations are shown in their largest whole unit") {
  CHECK(duration_text(31536000) == "1y");
  CHECK(duration_text(7776000) == "90d");
  CHECK(duration_text(1209600) == "2w");
  CHECK(duration_text(5400) == "90m");
  CHECK(duration_text(61) == "61s");
  CHECK(duration_text(0) == "0s");
  CHECK(duration_text(-86400) == "-1d");
  for (std::int64_t seconds = 1; seconds < 100000000; seconds = seconds * 3 + 1) {
    CHECK(parse_duration(duration_text(seconds)) == seconds);
  }
}

TEST_CASE("the system clock") {
  const auto before = static_cast<UnixTime>(std::time(nullptr));
  const UnixTime now = system_clock()();
  CHECK(now >= before - 1);
  CHECK(now <= before + 5);
}
