#include <doctest/doctest.h>

#include "fixture.hpp"

using namespace kmtool;
using namespace kmtool::policy;
using namespace kmtool::policy::test;

TEST_CASE("a kek carries keys of its own strength or less, for every pair of types") {
  const Policy policy = default_policy();
  for (const KeyType kek_type : types_of(Role::kek)) {
    for (const Role role : {Role::data, Role::mac, Role::sign, Role::transport}) {
      for (const KeyType type : types_of(role)) {
        const KeyFacts kek = kek_facts(kek_type), key = key_facts(role, type);
        CAPTURE(to_text(kek_type));
        CAPTURE(to_text(type));
        for (const auto& found : {judge_wrap(policy, kek, key, now), judge_backup(policy, kek, key, now)}) {
          const bool fits = strength_of(kek_type) >= strength_of(type);
          CHECK(found.empty() == fits);
          if (fits) continue;
          REQUIRE(found.size() == 1);
          CHECK(found[0].rule == "G-KEK");
          CHECK(found[0].refuses);
          CHECK(found[0].waivable);
          CHECK(found[0].what == "kek root@1 (" + std::string(to_text(kek_type)) + ", " + std::to_string(strength_of(kek_type)) +
                                     " bits) is weaker than payments@1 (" + std::string(to_text(type)) + ", " +
                                     std::to_string(strength_of(type)) + " bits)");
          CHECK(found[0].hint.find("aes-256") != std::string::npos);
          CHECK(found[0].hint.find("--waive G-KEK=REASON") != std::string::npos);
        }
        const auto unwrap = judge_unwrap(policy, kek, key, now);
        CHECK_FALSE(refuses(unwrap));
        CHECK((find(unwrap, "G-KEK") != nullptr) == (strength_of(kek_type) < strength_of(type)));
      }
    }
  }
}

TEST_CASE("the strengths that the pairs above rest on are the table's") {
  const std::vector<std::pair<KeyType, int>> table = {
      {KeyType::aes128, 128},      {KeyType::aes192, 192},      {KeyType::aes256, 256},  {KeyType::hmac_sha256, 256},
      {KeyType::hmac_sha384, 256}, {KeyType::hmac_sha512, 256}, {KeyType::ec_p256, 128}, {KeyType::ec_p384, 192},
      {KeyType::ec_p521, 256},     {KeyType::ed25519, 128},     {KeyType::rsa3072, 128}, {KeyType::rsa4096, 128}};
  for (const auto& [listed, strength] : table) {
    const KeyType type = listed;
    CAPTURE(to_text(type));
    CHECK(strength_of(type) == strength);
    for (const auto& [kek, bits] : {std::pair{KeyType::aes128, 128}, {KeyType::aes192, 192}, {KeyType::aes256, 256}}) {
      CHECK(refuses(judge_wrap(default_policy(), kek_facts(kek), key_facts(Role::data, type), now)) == (bits < strength));
    }
  }
}

TEST_CASE("the refusal and its hint, word for word") {
  const auto found = judge_wrap(default_policy(), kek_facts(KeyType::aes128), key_facts(), now);
  REQUIRE(found.size() == 1);
  CHECK(found[0].what == "kek root@1 (aes-128, 128 bits) is weaker than payments@1 (aes-256, 256 bits)");
  CHECK(found[0].hint == "use a kek of type aes-256, or --waive G-KEK=REASON");
  const auto middle = judge_wrap(default_policy(), kek_facts(KeyType::aes128), key_facts(Role::data, KeyType::aes192), now);
  REQUIRE(middle.size() == 1);
  CHECK(middle[0].hint == "use a kek of type aes-256 or aes-192, or --waive G-KEK=REASON");
}

TEST_CASE("only a kek wraps, and keks are not wrapped among keys") {
  const Policy policy = default_policy();
  for (const Role role : all_roles()) {
    KeyFacts kek = kek_facts();
    kek.role = role;
    CAPTURE(to_text(role));
    for (const auto& found : {judge_wrap(policy, kek, key_facts(), now), judge_backup(policy, kek, key_facts(), now),
                              judge_unwrap(policy, kek, key_facts(), now)}) {
      CHECK(refuses(found) == (role != Role::kek));
      if (role == Role::kek) continue;
      REQUIRE(find(found, "G-SEALED") != nullptr);
      CHECK_FALSE(find(found, "G-SEALED")->waivable);
    }
  }
  for (const bool exportable : {true, false}) {
    KeyFacts key = key_facts(Role::kek);
    key.exportable = exportable;
    const auto found = judge_wrap(policy, kek_facts(), key, now);
    REQUIRE(found.size() == 1);
    CHECK(found[0].rule == "G-SEALED");
    CHECK_FALSE(found[0].waivable);
    CHECK(found[0].hint == "kmtool export-kek payments@1");
  }
}

TEST_CASE("a key that is not exportable is not wrapped, but is backed up at birth") {
  KeyFacts key = key_facts();
  key.exportable = false;
  const auto found = judge_wrap(default_policy(), kek_facts(), key, now);
  REQUIRE(found.size() == 1);
  CHECK(found[0].rule == "G-SEALED");
  CHECK_FALSE(found[0].waivable);
  CHECK(found[0].what == "payments@1 is not exportable: it never leaves the token");
  CHECK(found[0].hint.find("gen --exportable") != std::string::npos);
  CHECK(found[0].hint.find("--backup FILE --kek KEK") != std::string::npos);
  CHECK(judge_backup(default_policy(), kek_facts(), key, now).empty());
}

TEST_CASE("the state of the kek: every state, wrapping and unwrapping") {
  struct Row {
    State state;
    bool wraps, unwraps;
  };
  const Row rows[] = {{State::pre_activation, false, false}, {State::active, true, true},       {State::suspended, false, false},
                      {State::deactivated, false, true},     {State::compromised, false, true}, {State::destroyed, false, false}};
  for (const auto& row : rows) {
    KeyFacts kek = kek_facts();
    kek.state = row.state;
    CAPTURE(to_text(row.state));
    for (const auto& found :
         {judge_wrap(default_policy(), kek, key_facts(), now), judge_backup(default_policy(), kek, key_facts(), now)}) {
      CHECK(refuses(found) == !row.wraps);
      if (row.wraps) continue;
      REQUIRE(find(found, "G-WORK") != nullptr);
      CHECK_FALSE(find(found, "G-WORK")->waivable);
      CHECK(find(found, "G-WORK")->what.find(to_text(row.state)) != std::string::npos);
      CHECK_FALSE(find(found, "G-WORK")->hint.empty());
    }
    CHECK(refuses(judge_unwrap(default_policy(), kek, key_facts(), now)) == !row.unwraps);
  }
  KeyFacts kek = kek_facts();
  kek.state = State::deactivated;
  CHECK(judge_wrap(default_policy(), kek, key_facts(), now).at(0).what ==
        "kek root@1 is deactivated: a deactivated kek only unwraps");
}

TEST_CASE("a kek wraps nothing from the second its originator period ends, and goes on unwrapping") {
  KeyFacts kek = kek_facts();
  kek.originator_end = now;
  const auto at_end = judge_wrap(default_policy(), kek, key_facts(), now);
  REQUIRE(at_end.size() == 1);
  CHECK(at_end[0].rule == "G-WORK");
  CHECK_FALSE(at_end[0].waivable);
  CHECK(at_end[0].what == "the originator period of kek root@1 ended on 2026-11-23T20:00:00Z: it only unwraps");
  CHECK(at_end[0].hint == "use another kek, or kmtool rotate root");
  CHECK(judge_wrap(default_policy(), kek, key_facts(), now - 1).empty());
  CHECK(judge_unwrap(default_policy(), kek, key_facts(), now).empty());
  CHECK(judge_unwrap(default_policy(), kek, key_facts(), now + 3 * year - 1).empty());
  const auto over = judge_unwrap(default_policy(), kek, key_facts(), now + 3 * year);
  REQUIRE(over.size() == 1);
  CHECK_FALSE(over[0].refuses);
  kek.originator_end.reset();
  CHECK(judge_wrap(default_policy(), kek, key_facts(), now + 100 * year).empty());
}

TEST_CASE("the state of the key: compromised and destroyed keys are not wrapped") {
  for (const State state : all_states()) {
    KeyFacts key = key_facts();
    key.state = state;
    CAPTURE(to_text(state));
    const auto found = judge_wrap(default_policy(), kek_facts(), key, now);
    const bool lost = state == State::compromised || state == State::destroyed;
    CHECK(refuses(found) == lost);
    if (!lost) continue;
    CHECK(found.at(0).rule == "G-WORK");
    CHECK_FALSE(found.at(0).waivable);
  }
}

TEST_CASE("nothing under 112 bits; 112 until the end of 2030") {
  constexpr UnixTime year_2031 = 1924992000;
  const auto with_strength = [](KeyFacts facts, int strength) {
    facts.strength = strength;
    return facts;
  };
  for (const int strength : {0, 56, 80, 111}) {
    const auto weak_kek = judge_wrap(default_policy(), with_strength(kek_facts(), strength), with_strength(key_facts(), 0), now);
    CAPTURE(strength);
    REQUIRE(find(weak_kek, "G-KEK") != nullptr);
    CHECK(find(weak_kek, "G-KEK")->refuses);
    CHECK_FALSE(find(weak_kek, "G-KEK")->waivable);
    CHECK(find(weak_kek, "G-KEK")->severity == Severity::critical);
    for (const auto& found : {judge_wrap(default_policy(), kek_facts(), with_strength(key_facts(), strength), now),
                              judge_unwrap(default_policy(), kek_facts(), with_strength(key_facts(), strength), now)}) {
      REQUIRE(find(found, "G-GEN") != nullptr);
      CHECK(find(found, "G-GEN")->refuses);
      CHECK_FALSE(find(found, "G-GEN")->waivable);
    }
  }
  const KeyFacts key = with_strength(key_facts(), 112);
  const auto before = judge_wrap(default_policy(), kek_facts(), key, year_2031 - year);
  REQUIRE(find(before, "G-GEN") != nullptr);
  CHECK_FALSE(find(before, "G-GEN")->refuses);
  KeyFacts kek = kek_facts();
  kek.originator_end.reset();
  const auto last = judge_wrap(default_policy(), kek, key, year_2031 - 1);
  CHECK_FALSE(refuses(last));
  const auto after = judge_wrap(default_policy(), kek, key, year_2031);
  REQUIRE(find(after, "G-GEN") != nullptr);
  CHECK(find(after, "G-GEN")->refuses);
  CHECK(find(after, "G-GEN")->waivable);
}

TEST_CASE("labels of foreign tokens are made harmless") {
  KeyFacts key = key_facts();
  key.label = "x\x1b[2J@1";
  key.exportable = false;
  CHECK(judge_wrap(default_policy(), kek_facts(KeyType::aes128), key, now).at(0).what.find('\x1b') == std::string::npos);
  CHECK(judge_wrap(default_policy(), kek_facts(KeyType::aes128), key, now).at(1).what.find("x\\x1b[2J@1") != std::string::npos);
}
