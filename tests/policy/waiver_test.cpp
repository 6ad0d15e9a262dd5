#include <doctest/doctest.h>

#include <set>

#include "fixture.hpp"

using namespace kmtool;
using namespace kmtool::policy;
using namespace kmtool::policy::test;

namespace {

Violation violation(const std::string& rule, bool waivable = true, bool refusing = true) {
  return {.rule = rule, .what = "broken " + rule, .hint = "mend " + rule, .waivable = waivable, .refuses = refusing};
}

}  // namespace

TEST_CASE("the rulebook has seventeen rules with texts, each id once") {
  CHECK(rules().size() == 17);
  std::set<std::string> ids;
  for (const auto& rule : rules()) {
    CHECK(ids.insert(rule.id).second);
    CHECK_FALSE(rule.says.empty());
    CHECK_FALSE(rule.answers.empty());
    CHECK(is_rule(rule.id));
  }
  CHECK(rules().front().id == "G-GEN");
  CHECK(rules().back().id == "A-ENV");
  for (const auto* text : {"", "G-", "g-kek", "G-KEK ", "KEK"}) CHECK_FALSE(is_rule(text));
}

TEST_CASE("severities have four names") {
  for (const auto severity : {Severity::low, Severity::medium, Severity::high, Severity::critical}) {
    CHECK(severity_from(to_text(severity)) == severity);
  }
  for (const auto* text : {"", "Low", "none", "highest"}) CHECK_FALSE(severity_from(text));
  CHECK(Severity::low < Severity::critical);
}

TEST_CASE("waivers on the command line") {
  const auto waiver = Waiver::parse("G-KEK=ticket 7 = approved by Zoë");
  CHECK(waiver.rule == "G-KEK");
  CHECK(waiver.reason == "ticket 7 = approved by Zoë");
  CHECK(Waiver::parse("G-KEK=" + std::string(500, 'a')).reason.size() == 500);
  const std::vector<std::string> bad = {"",
                                        "G-KEK",
                                        "G-KEK=",
                                        "G-KEK=   ",
                                        "=reason",
                                        "g-kek=reason",
                                        "G-KEKS=reason",
                                        "G-KEK=a\nb",
                                        "G-KEK=a\x1b[0m",
                                        std::string("G-KEK=a\0b", 9),
                                        "G-KEK=a\x7f",
                                        "G-KEK=\xff",
                                        "G-KEK=\xe2\x80\xae"
                                        "abc",
                                        "G-KEK=" + std::string(501, 'a')};
  for (const auto& text : bad) {
    CAPTURE(text);
    CHECK(outcome_of([&] { Waiver::parse(text); }).exit == ExitCode::usage);
  }
  CHECK(outcome_of([] { Waiver::parse("G-KEM=x"); }).hint == "did you mean G-KEK");
}

TEST_CASE("the first violation that refuses and is not waived is the refusal") {
  const Policy policy = default_policy();
  CHECK(enforce(policy, {}, {}).empty());
  CHECK(enforce(policy, {violation("G-KEK", false, false)}, {}).empty());
  const auto outcome = outcome_of([&] {
    enforce(policy, {violation("G-HW", false, false), violation("G-KEK"), violation("G-SEALED")}, {});
  });
  CHECK(outcome.exit == ExitCode::refused);
  CHECK(outcome.code == "G-KEK");
  CHECK(outcome.message == "broken G-KEK");
  CHECK(outcome.hint == "mend G-KEK");
  const std::vector<Waiver> one = {{.rule = "G-KEK", .reason = "r"}};
  CHECK(outcome_of([&] { enforce(policy, {violation("G-KEK"), violation("G-SEALED")}, one); }).code == "G-SEALED");
}

TEST_CASE("the waivers that were needed come back once, the others do not") {
  const std::vector<Waiver> given = {{.rule = "G-KEK", .reason = "a"}, {.rule = "G-HW", .reason = "b"}};
  const auto needed = enforce(default_policy(), {violation("G-KEK"), violation("G-KEK"), violation("G-HW", true, false)}, given);
  REQUIRE(needed.size() == 1);
  CHECK(needed[0].rule == "G-KEK");
  CHECK(needed[0].reason == "a");
  CHECK(enforce(default_policy(), {}, given).empty());
}

TEST_CASE("what cannot be waived is refused with its waiver too") {
  const std::vector<Waiver> sealed = {{.rule = "G-SEALED", .reason = "r"}};
  const auto outcome = outcome_of([&] { enforce(default_policy(), {violation("G-SEALED", false)}, sealed); });
  CHECK(outcome.exit == ExitCode::refused);
  CHECK(outcome.code == "G-SEALED");
  CHECK(outcome.message == "broken G-SEALED: this cannot be waived");
  for (const auto* rule : {"G-WORK", "G-PLAINTEXT", "G-MEMORY", "G-VAULT", "G-INTEGRITY", "G-RNG", "G-NOAPP", "A-MONITOR"}) {
    const std::vector<Waiver> waivers = {{.rule = rule, .reason = "r"}};
    const auto refused = outcome_of([&] { enforce(default_policy(), {}, waivers); });
    CAPTURE(rule);
    CHECK(refused.exit == ExitCode::refused);
    CHECK(refused.code == rule);
    CHECK(refused.message == std::string(rule) + " cannot be waived");
  }
}

TEST_CASE("a waiver that policy forbids is refused, needed or not") {
  Policy policy = default_policy();
  policy.forbidden_waivers = {"G-KEK"};
  const std::vector<Waiver> waivers = {{.rule = "G-KEK", .reason = "r"}};
  for (const auto& violations : {std::vector<Violation>{}, std::vector<Violation>{violation("G-KEK")}}) {
    const auto outcome = outcome_of([&] { enforce(policy, violations, waivers); });
    CHECK(outcome.exit == ExitCode::refused);
    CHECK(outcome.code == "G-KEK");
    CHECK(outcome.message == "policy forbids waiving G-KEK");
  }
}
