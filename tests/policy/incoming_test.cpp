#include "kmtool/policy/incoming.hpp"

#include <doctest/doctest.h>

#include "fixture.hpp"

using namespace kmtool;
using namespace kmtool::policy;
using namespace kmtool::policy::test;

TEST_CASE("a key that comes in protects only as one that is made here would") {
  auto rules = default_policy();
  auto key = key_facts(Role::data, KeyType::aes128);
  key.originator_end = now + year;
  CHECK(judge_activation(rules, key, now).empty());
  rules.minimum_strength[Role::data] = 256;
  const auto weak = judge_activation(rules, key, now);
  REQUIRE(weak.size() == 1);
  CHECK(weak[0].rule == "G-GEN");
  CHECK(weak[0].what == "payments@1 cannot be activated: aes-128 (128 bits) is weaker than policy's minimum of 256 bits for role data");
  CHECK(weak[0].hint.find("leave --activate out") == 0);
  CHECK(enforce(rules, weak, {{"G-GEN", "until march"}}).size() == 1);
  CHECK(outcome_of([&] { enforce(rules, weak, {}); }).exit == ExitCode::refused);
}

TEST_CASE("its period ends no later than that of a key made now") {
  auto rules = default_policy();
  rules.cryptoperiods[Role::data] = {30 * 86400, 0};
  auto key = key_facts();
  key.originator_end = now + 31 * 86400;  // two clocks
  CHECK(judge_activation(rules, key, now).empty());
  key.originator_end = now + 31 * 86400 + 1;
  const auto found = judge_activation(rules, key, now);
  REQUIRE(found.size() == 1);
  CHECK(found[0].waivable);
  CHECK(found[0].what.find("policy gives role data no longer than 30d from now") != std::string::npos);
  CHECK(judge_activation(rules, key, now + 86400).empty());  // nearer to its end
  key.originator_end.reset();
  CHECK(judge_activation(rules, key, now).empty());
}

TEST_CASE("what was waived elsewhere and is forbidden here") {
  auto rules = default_policy();
  const std::vector<Waiver> waived{{"G-KEK", "no other"}, {"G-GEN", "old"}, {"G-KEK", "again"}};
  CHECK(judge_waived(rules, "root.kmk", waived, "have it exported anew").empty());
  rules.forbidden_waivers = {"G-KEK"};
  const auto found = judge_waived(rules, "root.kmk", waived, "have it exported anew");
  REQUIRE(found.size() == 1);
  CHECK(found[0].what == "root.kmk was made under a waiver of G-KEK (no other), which policy forbids here");
  CHECK_FALSE(found[0].waivable);
  const auto outcome = outcome_of([&] { enforce(rules, found, {}); });
  CHECK(outcome.exit == ExitCode::refused);
  CHECK(outcome.code == "G-KEK");
  CHECK(outcome.hint == "have it exported anew");
}
