#include <doctest/doctest.h>

#include "fixture.hpp"

using namespace kmtool;
using namespace kmtool::policy;
using namespace kmtool::policy::test;

TEST_CASE("validations are parsed in one form only") {
  const auto validation = Validation::parse("FIPS 140-3:3:CMVP-4567");
  CHECK(validation.standard == "FIPS 140-3");
  CHECK(validation.level == 3);
  CHECK(validation.certificate == "CMVP-4567");
  for (const auto* text : {"FIPS 140-3:3:CMVP-4567", "FIPS 140-2:1:#99", "FIPS 140-3:4:1"}) {
    CHECK(Validation::parse(text).text() == text);
  }
  for (const auto* text : {"", "FIPS 140-3", "FIPS 140-3:3", "FIPS 140-3:3:", "FIPS 140-3:0:1", "FIPS 140-3:5:1",
                           "FIPS 140-3:03:1", "FIPS 140-3::1", "FIPS 140-1:1:1", "fips 140-3:1:1", "FIPS 140-3:1:a:b",
                           "FIPS 140-3:1:a b", " FIPS 140-3:1:a", "FIPS 140-3:1:\x1b", "CC:3:1"}) {
    const auto outcome = outcome_of([&] { Validation::parse(text); });
    CAPTURE(text);
    CHECK(outcome.exit == ExitCode::usage);
    CHECK(outcome.hint.find("STANDARD:LEVEL:CERTIFICATE") != std::string::npos);
    CHECK(outcome.message.find('\x1b') == std::string::npos);
  }
  CHECK(outcome_of([] { Validation::parse("FIPS 140-3:1:" + std::string(65, 'a')); }).exit == ExitCode::usage);
}

TEST_CASE("what policy does not demand of a token is reported, not refused") {
  const Policy policy = default_policy();
  const auto software = judge_token(policy, {.hardware = false, .validation = std::nullopt});
  REQUIRE(software.size() == 2);
  CHECK(find(software, "G-HW")->severity == Severity::low);
  CHECK(find(software, "G-GEN")->severity == Severity::medium);
  CHECK_FALSE(refuses(software));
  const auto good = judge_token(policy, {.hardware = true, .validation = Validation{"FIPS 140-3", 1, "1"}});
  CHECK(good.empty());
  const auto old = judge_token(policy, {.hardware = true, .validation = Validation{"FIPS 140-2", 4, "1"}});
  REQUIRE(old.size() == 1);
  CHECK(old[0].rule == "G-GEN");
  CHECK_FALSE(old[0].refuses);
  CHECK(enforce(policy, software, {}).empty());
}

TEST_CASE("hardware where policy demands it") {
  Policy policy = default_policy();
  policy.require_hardware = true;
  const auto found = judge_token(policy, {.hardware = false, .validation = Validation{"FIPS 140-3", 1, "1"}});
  REQUIRE(found.size() == 1);
  CHECK(found[0].rule == "G-HW");
  CHECK(found[0].severity == Severity::high);
  CHECK(found[0].refuses);
  CHECK(found[0].waivable);
  CHECK(judge_token(policy, {.hardware = true, .validation = Validation{"FIPS 140-3", 1, "1"}}).empty());
}

TEST_CASE("validation where policy demands it: every demand against every token") {
  const std::optional<Validation> none;
  struct Row {
    std::string standard;
    int level;
    std::optional<Validation> validation;
    bool refused;
  };
  const Row rows[] = {{"FIPS 140-3", 0, none, true},
                      {"FIPS 140-3", 0, Validation{"FIPS 140-2", 4, "c"}, true},
                      {"FIPS 140-3", 0, Validation{"FIPS 140-3", 1, "c"}, false},
                      {"FIPS 140-2", 0, none, true},
                      {"FIPS 140-2", 0, Validation{"FIPS 140-2", 1, "c"}, false},
                      {"FIPS 140-2", 0, Validation{"FIPS 140-3", 1, "c"}, false},
                      {"FIPS 140-3", 3, Validation{"FIPS 140-3", 2, "c"}, true},
                      {"FIPS 140-3", 3, Validation{"FIPS 140-3", 3, "c"}, false},
                      {"FIPS 140-3", 3, Validation{"FIPS 140-2", 3, "c"}, true},
                      {"", 2, none, true},
                      {"", 2, Validation{"FIPS 140-2", 1, "c"}, true},
                      {"", 2, Validation{"FIPS 140-2", 2, "c"}, false},
                      {"", 0, none, false}};
  for (const auto& row : rows) {
    Policy policy = default_policy();
    policy.min_validation = row.standard;
    policy.min_validation_level = row.level;
    const auto found = judge_token(policy, {.hardware = true, .validation = row.validation});
    CAPTURE(row.standard);
    CAPTURE(row.level);
    CAPTURE(row.validation ? row.validation->text() : "none");
    CHECK(refuses(found) == row.refused);
    for (const auto& violation : found) {
      CHECK(violation.rule == "G-GEN");
      CHECK(violation.waivable == violation.refuses);
    }
  }
}

TEST_CASE("FIPS 140-2 counts for FIPS 140-3 only under a waiver that names the certificate") {
  Policy policy = default_policy();
  policy.min_validation = "FIPS 140-3";
  const auto found = judge_token(policy, {.hardware = true, .validation = Validation{"FIPS 140-2", 3, "CMVP-4567"}});
  const auto with = [&](const std::string& reason) {
    const std::vector<Waiver> waivers = {{.rule = "G-GEN", .reason = reason}};
    return outcome_of([&] { static_cast<void>(enforce(policy, found, waivers)); });
  };
  CHECK(outcome_of([&] { enforce(policy, found, {}); }).exit == ExitCode::refused);
  CHECK(outcome_of([&] { enforce(policy, found, {}); }).hint.find("CMVP-4567") != std::string::npos);
  CHECK(with("existing system, CMVP-4567 until 2027").exit == ExitCode::done);
  CHECK(with("CMVP-4567").exit == ExitCode::done);
  CHECK(with("(CMVP-4567)").exit == ExitCode::done);
  for (const std::string reason : {"existing system", "CMVP-45678", "XCMVP-4567", "CMVP-456", "cmvp-4567"}) {
    CAPTURE(reason);
    CHECK(with(reason).exit == ExitCode::refused);
    CHECK(with(reason).code == "G-GEN");
    CHECK(with(reason).message.find("does not name CMVP-4567") != std::string::npos);
  }
  const std::vector<Waiver> two = {{.rule = "G-GEN", .reason = "other"}, {.rule = "G-GEN", .reason = "CMVP-4567 stays"}};
  const auto needed = enforce(policy, found, two);
  REQUIRE(needed.size() == 1);
  CHECK(needed[0].reason == "CMVP-4567 stays");
}
