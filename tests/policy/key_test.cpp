#include <doctest/doctest.h>

#include "fixture.hpp"

using namespace kmtool;
using namespace kmtool::policy;
using namespace kmtool::policy::test;

TEST_CASE("the defaults are the standard's") {
  const Policy policy = default_policy();
  for (const Role role : all_roles()) {
    CAPTURE(to_text(role));
    CHECK(policy.minimum_strength.at(role) == 128);
    const bool pair = role == Role::sign || role == Role::transport;
    CHECK(policy.cryptoperiods.at(role).originator == (pair ? 2 : 1) * year);
    CHECK(policy.cryptoperiods.at(role).recipient == (pair ? 0 : 3) * year);
  }
  CHECK_FALSE(policy.require_hardware);
  CHECK(policy.min_validation.empty());
  CHECK(policy.min_validation_level == 0);
  CHECK(policy.forbidden_waivers.empty());
  CHECK(policy.sessions == 1);
}

TEST_CASE("every pair of role and type: in the table it is accepted, outside it refused for good") {
  const std::vector<KeyType> types = {KeyType::aes128,      KeyType::aes192,      KeyType::aes256,  KeyType::hmac_sha256,
                                      KeyType::hmac_sha384, KeyType::hmac_sha512, KeyType::ec_p256, KeyType::ec_p384,
                                      KeyType::ec_p521,     KeyType::ed25519,     KeyType::rsa3072, KeyType::rsa4096};
  for (const Role role : all_roles()) {
    const auto& table = types_of(role);
    for (const KeyType type : types) {
      CAPTURE(to_text(role));
      CAPTURE(to_text(type));
      const bool listed = std::find(table.begin(), table.end(), type) != table.end();
      const auto found = judge_key(default_policy(), role, type, false, false);
      CHECK(refuses(found) == !listed);
      if (!listed) CHECK_FALSE(found.at(0).waivable);
    }
  }
}

TEST_CASE("a minimum strength of policy refuses what is weaker, and can be waived") {
  for (const int minimum : {112, 128, 192, 256}) {
    for (const Role role : all_roles()) {
      for (const KeyType type : types_of(role)) {
        Policy policy = default_policy();
        policy.minimum_strength[role] = minimum;
        const auto found = judge_key(policy, role, type, false, false);
        CAPTURE(to_text(type));
        CAPTURE(minimum);
        CHECK(found.empty() == (strength_of(type) >= minimum));
        if (found.empty()) continue;
        CHECK(found[0].rule == "G-GEN");
        CHECK(found[0].waivable);
        CHECK(found[0].what.find(std::to_string(strength_of(type)) + " bits") != std::string::npos);
        CHECK(found[0].what.find("minimum of " + std::to_string(minimum) + " bits") != std::string::npos);
      }
    }
  }
}

TEST_CASE("private signature keys are not backed up without a waiver; other keys may be") {
  for (const Role role : all_roles()) {
    for (const bool exportable : {false, true}) {
      for (const bool backup : {false, true}) {
        const auto found = judge_key(default_policy(), role, types_of(role).front(), exportable, backup);
        CAPTURE(to_text(role));
        CHECK(found.empty() == !(role == Role::sign && (exportable || backup)));
        if (found.empty()) continue;
        CHECK(found[0].rule == "G-SEALED");
        CHECK(found[0].waivable);
        CHECK(found[0].what.find(backup ? "backed up" : "exportable") != std::string::npos);
        CHECK(found[0].hint.find("--waive G-SEALED=REASON") != std::string::npos);
      }
    }
  }
}

TEST_CASE("cryptoperiods: the end of use, and what is longer than allowed") {
  const Policy policy = default_policy();
  CHECK(originator_end(policy, Role::data, now, std::nullopt) == now + year);
  CHECK(originator_end(policy, Role::sign, now, std::nullopt) == now + 2 * year);
  CHECK(originator_end(policy, Role::data, now, 86400) == now + 86400);
  CHECK(originator_end(Policy{}, Role::transport, now, std::nullopt) == now + 2 * year);
  for (const std::int64_t wrong : {std::int64_t{0}, std::int64_t{-1}, INT64_MIN, INT64_MAX}) {
    CHECK(outcome_of([&] { originator_end(policy, Role::data, now, wrong); }).exit == ExitCode::usage);
  }
  for (const std::int64_t wrong : {std::int64_t{0}, std::int64_t{-1}, INT64_MIN}) {
    const auto found = judge_period(policy, Role::data, wrong);
    REQUIRE(found.size() == 1);
    CHECK(found[0].refuses);
    CHECK_FALSE(found[0].waivable);
  }
  for (const Role role : all_roles()) {
    const std::int64_t allowed = policy.cryptoperiods.at(role).originator;
    const std::int64_t limit = (role == Role::sign ? 3 : 2) * year;
    CAPTURE(to_text(role));
    CHECK(judge_period(policy, role, 1).empty());
    CHECK(judge_period(policy, role, allowed).empty());
    const auto longer = judge_period(policy, role, allowed + 1);
    REQUIRE(longer.size() == 1);
    CHECK(longer[0].rule == "G-GEN");
    CHECK(longer[0].refuses);
    CHECK(longer[0].waivable);
    CHECK(longer[0].hint.find(duration_text(allowed)) != std::string::npos);
    const auto beyond = judge_period(policy, role, limit + 86400);
    REQUIRE(beyond.size() == 1);
    CHECK(beyond[0].severity == Severity::high);
    CHECK(beyond[0].what.find("SP 800-57") != std::string::npos);
  }
}
