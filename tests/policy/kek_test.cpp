#include <doctest/doctest.h>

#include "fixture.hpp"

using namespace kmtool;
using namespace kmtool::policy;

namespace {

constexpr UnixTime now = 1795464000;

KeyFacts key(Role role, KeyType type, bool exportable = true) {
  return {role == Role::transport ? "transport key 00ff" : "root@1", role, type, strength_of(type), State::active, exportable, {}};
}

const Violation* refusal(const std::vector<Violation>& found) {
  for (const auto& violation : found) {
    if (violation.refuses) return &violation;
  }
  return nullptr;
}

}  // namespace

TEST_CASE("a kek goes to what is at least as strong") {
  const auto rules = default_policy();
  const auto rsa = key(Role::transport, KeyType::rsa4096);
  CHECK(refusal(judge_export(rules, rsa, key(Role::kek, KeyType::aes128), now, false)) == nullptr);
  for (const auto type : {KeyType::aes192, KeyType::aes256}) {
    const auto found = judge_export(rules, rsa, key(Role::kek, type), now, false);
    const auto* violation = refusal(found);
    REQUIRE(violation != nullptr);
    CHECK(violation->rule == "G-KEK");
    CHECK(violation->waivable);
    CHECK(violation->what.find("128 bits") != std::string::npos);
    CHECK(violation->hint.find("aes-256") != std::string::npos);
    CHECK(violation->hint.find("ec-p521") != std::string::npos);
    CHECK(violation->hint.find("--waive G-KEK=REASON") != std::string::npos);
  }
  CHECK(refusal(judge_export(rules, key(Role::transport, KeyType::ec_p384), key(Role::kek, KeyType::aes192), now, false)) == nullptr);
  CHECK(refusal(judge_export(rules, key(Role::transport, KeyType::ec_p521), key(Role::kek, KeyType::aes256), now, false)) == nullptr);
  CHECK(refusal(judge_export(rules, key(Role::kek, KeyType::aes256), key(Role::kek, KeyType::aes256), now, false)) == nullptr);
}

TEST_CASE("a kek that is not exportable leaves at birth alone, and no waiver changes that") {
  const auto rules = default_policy();
  const auto to = key(Role::kek, KeyType::aes256), kek = key(Role::kek, KeyType::aes256, false);
  const auto found = judge_export(rules, to, kek, now, false);
  const auto* violation = refusal(found);
  REQUIRE(violation != nullptr);
  CHECK(violation->rule == "G-SEALED");
  CHECK_FALSE(violation->waivable);
  CHECK(violation->hint.find("gen NAME --role kek --backup FILE") != std::string::npos);
  CHECK_THROWS_AS(enforce(rules, found, {{"G-SEALED", "please"}}), Error);
  CHECK(refusal(judge_export(rules, to, kek, now, true)) == nullptr);
}

TEST_CASE("states and periods of both sides count") {
  const auto rules = default_policy();
  auto kek = key(Role::kek, KeyType::aes128);
  auto to = key(Role::transport, KeyType::rsa4096);
  for (const auto state : all_states()) {
    kek.state = state;
    const bool may = state == State::active || state == State::deactivated || state == State::pre_activation;
    CHECK((refusal(judge_export(rules, to, kek, now, false)) == nullptr) == may);
  }
  kek.state = State::active;
  for (const auto state : all_states()) {
    to.state = state;
    CHECK((refusal(judge_export(rules, to, kek, now, false)) == nullptr) == (state == State::active));
  }
  to.state = State::active;
  to.originator_end = now;
  CHECK(refusal(judge_export(rules, to, kek, now, false))->rule == "G-WORK");
  to = key(Role::kek, KeyType::aes256);
  to.originator_end = now;
  CHECK(refusal(judge_export(rules, to, kek, now, false))->rule == "G-WORK");
  CHECK(refusal(judge_export(rules, key(Role::data, KeyType::aes256), kek, now, false))->rule == "G-SEALED");
  CHECK(refusal(judge_export(rules, key(Role::transport, KeyType::rsa4096), key(Role::data, KeyType::aes128), now, false))->rule == "G-SEALED");
}

TEST_CASE("at the import strength is reported, and the opener must be able to") {
  auto rules = default_policy();
  auto opener = key(Role::transport, KeyType::rsa4096);
  const auto kek = key(Role::kek, KeyType::aes256);
  const auto found = judge_import(rules, opener, kek);
  CHECK(refusal(found) == nullptr);
  REQUIRE(found.size() == 1);
  CHECK(found[0].rule == "G-KEK");
  for (const auto state : all_states()) {
    opener.state = state;
    CHECK((refusal(judge_import(rules, opener, kek)) == nullptr) == may_process(state));
  }
  opener.state = State::active;
  CHECK(refusal(judge_import(rules, key(Role::sign, KeyType::rsa4096), kek))->rule == "G-SEALED");
  rules.minimum_strength[Role::kek] = 192;
  const auto weak = judge_import(rules, opener, key(Role::kek, KeyType::aes128));
  REQUIRE(refusal(weak) != nullptr);
  CHECK(refusal(weak)->rule == "G-GEN");
  CHECK(refusal(weak)->waivable);
}
