#include "kmtool/op/plan.hpp"

#include <doctest/doctest.h>

using namespace kmtool;
using namespace kmtool::op;

TEST_CASE("a plan survives the journal: rows and back") {
  Plan plan;
  plan.command = "gen";
  plan.target = "many";
  for (int i = 0; i < 450; ++i) {
    plan.keys.push_back({"k" + std::to_string(i) + "@1", Bytes(16, static_cast<std::uint8_t>(i)), Role::mac, KeyType::hmac_sha384, i % 2 == 0, false});
    plan.finish.push_back({"key", "k" + std::to_string(i), Json{{"n", i}}});
  }
  plan.files.push_back({"/final", "/temporary", "id", "old", "/kept"});
  plan.each_alone = true;
  plan.destroys = {"gone@1"};
  plan.nameless["abc"] = 2;
  std::vector<Json> rows;
  for (const auto& change : plan.to_changes("intent")) {
    CHECK(change.kind == "intent");
    CHECK(change.id.rfind("intent/", 0) == 0);
    CHECK(dump_json(*change.value).size() < journal::max_entry / 2);
    rows.push_back(*change.value);
  }
  CHECK(plan.removal("intent").size() == rows.size());
  const Plan back = Plan::from_rows(rows);
  CHECK(back.command == plan.command);
  CHECK(back.keys.size() == plan.keys.size());
  CHECK(back.keys[449].label == "k449@1");
  CHECK(back.keys[449].id == plan.keys[449].id);
  CHECK(back.keys[448].extractable);
  CHECK(back.keys[1].type == KeyType::hmac_sha384);
  CHECK(back.finish.size() == 450);
  CHECK(*back.finish[7].value == Json{{"n", 7}});
  CHECK(back.files.at(0).bundle == "id");
  CHECK(back.files.at(0).replaces == "old");
  CHECK(back.files.at(0).kept_path == "/kept");
  CHECK(back.each_alone);
  CHECK(back.destroys == plan.destroys);
  CHECK(back.nameless == plan.nameless);
}

TEST_CASE("a malformed plan is refused, not guessed") {
  CHECK_THROWS_AS(Plan::from_rows({Json{{"keys", Json::array({Json::array({1, 2})})}}}), Error);
  CHECK_THROWS_AS(Plan::from_rows({Json{{"command", 1}}}), Error);
  CHECK_THROWS_AS(Plan::from_rows({Json{{"keys", Json::array({Json::array({"l", "zz", "mac", "aes-256", true, false})})}}}), Error);
}
