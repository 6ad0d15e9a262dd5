#include "kmtool/policy/use.hpp"

#include <doctest/doctest.h>

#include "fixture.hpp"

using namespace kmtool;
using namespace kmtool::policy;

namespace {

constexpr UnixTime now = 1800000000, day = 86400;

KeyFacts key_in(Role role, State state) { return {.label = "k@1", .role = role, .type = types_of(role).front(), .strength = 256, .state = state, .exportable = false, .originator_end = now + day}; }

/// `` where it may, the rule where it is refused, `reported` where it is only told.
std::string verdict(const KeyFacts& key, Use use) {
  std::string told;
  for (const auto& found : judge_use(default_policy(), key, use, now)) {
    CHECK_FALSE(found.waivable);
    CHECK_FALSE(found.hint.empty());
    if (found.refuses) return found.rule;
    told = "reported";
  }
  return told;
}

}  // namespace

TEST_CASE("one key, one role") {
  for (const Use use : {Use::encrypt, Use::decrypt, Use::mac, Use::verify_mac, Use::sign}) {
    for (const Role role : all_roles()) CHECK(verdict(key_in(role, State::active), use) == (role == role_for(use) ? "" : "G-SEALED"));
  }
}

TEST_CASE("a state lets a key protect, process, or nothing") {
  for (const Use use : {Use::encrypt, Use::decrypt, Use::mac, Use::verify_mac, Use::sign}) {
    INFO(to_text(use));
    const bool process = !protects(use);
    const auto in = [&](State state) { return verdict(key_in(role_for(use), state), use); };
    CHECK(in(State::active) == "");
    CHECK(in(State::pre_activation) == "G-WORK");
    CHECK(in(State::suspended) == "G-WORK");
    CHECK(in(State::deactivated) == (process ? "" : "G-WORK"));
    CHECK(in(State::compromised) == (process ? "reported" : "G-WORK"));
    CHECK(in(State::destroyed) == "G-WORK");
  }
}

TEST_CASE("the originator period ends protecting, the recipient period is told") {
  auto key = key_in(Role::data, State::active);
  key.originator_end = now + 1;
  CHECK(verdict(key, Use::encrypt) == "");
  key.originator_end = now;
  CHECK(verdict(key, Use::encrypt) == "G-WORK");
  CHECK(verdict(key, Use::decrypt) == "");
  key.originator_end = now - 3 * 365 * day + 1;
  CHECK(verdict(key, Use::decrypt) == "");
  key.originator_end = now - 3 * 365 * day;
  CHECK(verdict(key, Use::decrypt) == "reported");
  key.originator_end = std::nullopt;
  CHECK(verdict(key, Use::encrypt) == "");
}

TEST_CASE("all copies of a key together stay within 2^32 invocations") {
  CHECK(gcm_invocations(Origin::here) + 128 * gcm_invocations(Origin::copy) == std::uint64_t{1} << 32);
}
