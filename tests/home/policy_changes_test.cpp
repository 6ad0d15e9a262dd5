#include "kmtool/home/policy_changes.hpp"

#include <doctest/doctest.h>

#include "kmtool/home/home.hpp"

using namespace kmtool;
using namespace kmtool::home;

TEST_CASE("changes of a policy: values count, spelling and written defaults do not") {
  CHECK(policy_changes("", default_policy_text()).empty());
  CHECK(policy_changes(R"({"checkpoint_sink": null, "sessions": 1})", "{} // as before").empty());
  const auto changes = policy_changes(R"({"require_hardware": true, "destroy_after": {"mac": "3y"}})", R"({"cryptoperiods": {"kek": {"originator": "2y"}}, "checkpoint_sink": "syslog"})");
  std::vector<std::string> said;
  for (const auto& change : changes) said.push_back(change.field + " " + dump_json(change.before) + " " + dump_json(change.after));
  CHECK(said == std::vector<std::string>{R"(cryptoperiods.kek.originator "1y" "2y")", R"(destroy_after.mac "3y" null)", "require_hardware true false", R"(checkpoint_sink null "syslog")"});
}
