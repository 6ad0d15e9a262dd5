#include <algorithm>

#include "fixture.hpp"

namespace kmtool::home {
namespace {

Config sample() {
  Config config;
  config.home_id = "6f1c2f0e-5f3a-4c1b-9d2e-0123456789ab";
  config.embedded = true;
  config.module.path = "/usr/lib/softhsm/libsofthsm2.so";
  config.token.label = "vault";
  config.token.serial = "0011";
  config.pin_source = "file:/x/token.pin";
  config.hardware = false;
  return config;
}

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  const auto at = text.find(what);
  REQUIRE(at != std::string::npos);
  return text.replace(at, what.size(), with);
}

TEST_CASE("config.json reads back as it was written") {
  const Config was = sample();
  const Config is = Config::parse(was.to_json(), "config.json");
  CHECK(is.home_id == was.home_id);
  CHECK(is.embedded);
  CHECK(is.module.path == was.module.path);
  CHECK(is.token.label == "vault");
  CHECK(is.token.serial == "0011");
  CHECK(is.pin_source == was.pin_source);
  CHECK(is.hardware == false);
  CHECK_FALSE(is.validation);
  CHECK(is.to_json() == was.to_json());
  CHECK(is.anchor_id().size() == 16);
  CHECK(is.anchor_id().front() == 0x6f);
  CHECK(is.origin() == "kmtool/" + was.home_id);
}

TEST_CASE("a config.json that is not as init writes it is refused with 78") {
  const std::string good = sample().to_json();
  const std::vector<std::string> bad{
      "",
      "{}",
      replaced(good, "\"kmtool_home\": 1", "\"kmtool_home\": 2"),
      replaced(good, "6f1c2f0e-", "6f1c2f0e"),
      replaced(good, "\"embedded\": true", "\"embedded\": \"true\""),
      replaced(good, "\"embedded\": true", "\"embedded\": true, \"extra\": 1"),
      replaced(good, "\"embedded\": true", "\"embedded\": true, \"embedded\": true"),
      replaced(good, "\"/usr/lib", "\"usr/lib"),
      good + "x",
  };
  for (const auto& text : bad) {
    CAPTURE(text);
    CHECK(exit_of([&] { Config::parse(text, "config.json"); }) == 78);
  }
}

TEST_CASE("the default policy text says what the defaults are") {
  const auto written = parse_policy(default_policy_text(), "policy.json");
  const auto built_in = policy::default_policy();
  CHECK(written.minimum_strength == built_in.minimum_strength);
  CHECK(written.require_hardware == built_in.require_hardware);
  CHECK(written.min_validation == built_in.min_validation);
  CHECK(written.min_validation_level == built_in.min_validation_level);
  CHECK(written.forbidden_waivers == built_in.forbidden_waivers);
  CHECK(written.sessions == built_in.sessions);
  CHECK(written.checkpoint_sink == built_in.checkpoint_sink);
  CHECK(written.checkpoint_sink_wait == built_in.checkpoint_sink_wait);
  for (const auto& [role, period] : built_in.cryptoperiods) {
    CHECK(written.cryptoperiods.at(role).originator == period.originator);
    CHECK(written.cryptoperiods.at(role).recipient == period.recipient);
  }
}

TEST_CASE("what a policy leaves out has the default, and what it says counts") {
  const auto policy = parse_policy(
      "// mine\n{\"cryptoperiods\":{\"data\":{\"originator\":\"90d\"}},\"sessions\":8,\"require_hardware\":true}", "p");
  CHECK(policy.cryptoperiods.at(Role::data).originator == 90 * 86400);
  CHECK(policy.cryptoperiods.at(Role::data).recipient == policy::default_policy().cryptoperiods.at(Role::data).recipient);
  CHECK(policy.sessions == 8);
  CHECK(policy.require_hardware);
  CHECK_FALSE(parse_policy("{}", "p").require_hardware);
}

TEST_CASE("a policy beyond the guideline or not well-formed is refused with 78") {
  for (const char* text :
       {"", "[]", "{\"unknown\":1}", "{\"sessions\":0}", "{\"sessions\":65}", "{\"sessions\":\"2\"}",
        "{\"sessions\":1,\"sessions\":2}", "{\"cryptoperiods\":{\"data\":{\"originator\":\"3y\"}}}",
        "{\"cryptoperiods\":{\"data\":{\"originator\":\"1 month\"}}}", "{\"cryptoperiods\":{\"data\":{\"originator\":\"0\"}}}",
        "{\"cryptoperiods\":{\"data\":{\"recipient\":\"4y\"}}}", "{\"cryptoperiods\":{\"dat\":{}}}",
        "{\"minimum_strength\":{\"kek\":80}}", "{\"min_validation\":\"FIPS 140-9\"}", "{\"min_validation_level\":5}",
        "{\"forbidden_waivers\":[\"G-NONSENSE\"]}", "{\"require_hardware\":1}", "{\"checkpoint_sink\":\"\"}",
        "{\"checkpoint_sink\":\"exec:sh\"}", "{\"checkpoint_sink\":\"file:/x\\n\"}", "{\"checkpoint_sink_wait\":\"6m\"}"}) {
    CAPTURE(text);
    CHECK(exit_of([&] { parse_policy(text, "policy.json"); }) == 78);
  }
}

TEST_CASE("a home that is not there, or not ours alone, is not opened") {
  const Scratch scratch;
  const Paths paths = scratch.paths();
  CHECK(exit_of([&] { open_home(paths); }) == 66);
  std::filesystem::create_directory(paths.root);
  chmod(paths.root.c_str(), 0700);
  CHECK(exit_of([&] { open_home(paths); }) == 66);
  put(paths.config(), sample().to_json());
  CHECK(open_home(paths).config.token.label == "vault");
  CHECK(open_home(paths).config_digest.size() == 64);
  put(paths.policy(), "{\"sessions\":4}");
  CHECK(open_home(paths).policy.sessions == 4);
  chmod(paths.policy().c_str(), 0666);
  CHECK(exit_of([&] { open_home(paths); }) == 78);
  chmod(paths.policy().c_str(), 0600);
  chmod(paths.root.c_str(), 0777);
  CHECK(exit_of([&] { open_home(paths); }) == 78);
  chmod(paths.root.c_str(), 0700);
  chmod(paths.config().c_str(), 0644);
  CHECK(exit_of([&] { open_home(paths); }) == 78);
}

TEST_CASE("the home is chosen by option, then environment") {
  setenv("KMTOOL_HOME", "/from/env", 1);
  CHECK(default_paths("/from/option").root == "/from/option");
  CHECK(default_paths("").root == "/from/env");
  unsetenv("KMTOOL_HOME");
  setenv("XDG_DATA_HOME", "/xdg", 1);
  CHECK(default_paths("").root == "/xdg/kmtool");
  unsetenv("XDG_DATA_HOME");
  setenv("HOME", "/home/someone", 1);
  CHECK(default_paths("").root == "/home/someone/.local/share/kmtool");
  CHECK(default_paths("relative").root.is_absolute());
}

}  // namespace
}  // namespace kmtool::home
