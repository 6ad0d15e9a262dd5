#include <pwd.h>
#include <unistd.h>

#include <cstdlib>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/crypto/digest.hpp"
#include "kmtool/home/home.hpp"

namespace kmtool::home {

Paths default_paths(const std::string& option) {
  std::filesystem::path root = option;
  if (root.empty()) {
    if (const char* env = std::getenv("KMTOOL_HOME"); env != nullptr && *env != '\0') root = env;
  }
  if (root.empty()) {
    if (const char* data = std::getenv("XDG_DATA_HOME"); data != nullptr && *data == '/') {
      root = std::filesystem::path(data) / "kmtool";
    }
  }
  if (root.empty()) {
    const char* user_home = std::getenv("HOME");
    if (user_home == nullptr || *user_home == '\0') {
      const passwd* entry = getpwuid(getuid());
      user_home = entry != nullptr ? entry->pw_dir : nullptr;
    }
    if (user_home == nullptr) throw Error::config("no home folder is known for this user", "give --home DIR or set KMTOOL_HOME");
    root = std::filesystem::path(user_home) / ".local/share/kmtool";
  }
  return {std::filesystem::absolute(root).lexically_normal()};
}

std::string Config::to_json() const {
  Json json;
  json["kmtool_home"] = 1;
  json["home_id"] = home_id;
  json["embedded"] = embedded;
  json["module"] = module.path;
  json["module_args"] = module.init_args;
  json["token"] = {{"label", token.label}, {"serial", token.serial}};
  json["pin_source"] = pin_source.empty() ? Json(nullptr) : Json(pin_source);
  json["validation"] = validation ? Json(validation->text()) : Json(nullptr);
  json["hardware"] = hardware ? Json(*hardware) : Json(nullptr);
  return json.dump(2) + "\n";
}

Config Config::parse(const std::string& text, const std::string& name) {
  const JsonFail fail = [&name](const std::string& what) {
    throw Error::config(name + ": " + what, "config.json is written by kmtool init; restore it from the home's backup");
  };
  const Json json = parse_json(text, fail);
  JsonReader reader(json, fail);
  Config config;
  reader.integer("kmtool_home", 1, 1);
  config.home_id = reader.text("home_id");
  if (!is_uuid(config.home_id)) reader.fail("home_id is not a UUID");
  config.embedded = reader.boolean("embedded");
  config.module.path = reader.text("module");
  config.module.init_args = reader.text("module_args");
  JsonReader token(reader.object("token"), fail, "token");
  config.token.label = token.text("label");
  config.token.serial = token.text("serial");
  token.finish();
  config.pin_source = reader.optional_text("pin_source").value_or("");
  if (const auto validation = reader.optional_text("validation")) config.validation = policy::Validation::parse(*validation);
  config.hardware = reader.optional_boolean("hardware");
  reader.finish();
  if (config.module.path.empty() || config.module.path[0] != '/') fail("module must be an absolute path");
  return config;
}

Bytes Config::anchor_id() const {
  std::string digits = home_id;
  std::erase(digits, '-');
  return from_hex(digits).value();
}

void init_finished(const Paths& paths) { unlink(paths.unfinished_init().c_str()); }

Home open_home(const Paths& paths) {
  finish_restore(paths);
  std::error_code ignored;
  if (!std::filesystem::exists(paths.config(), ignored)) {
    if (access(paths.root.c_str(), F_OK) == 0 && access(paths.root.c_str(), R_OK | X_OK) != 0) {
      throw Error::io("cannot read the home " + paths.root.string(), "check its owner and permissions");
    }
    throw Error::missing("there is no kmtool home at " + paths.root.string(),
                         "make one with kmtool init, or name another with --home DIR or KMTOOL_HOME");
  }
  check_trusted(paths.root);
  for (const auto& part : {paths.journal(), paths.root / "journal.db-wal", paths.signers(), paths.token_dir()}) {
    if (std::filesystem::exists(std::filesystem::symlink_status(part, ignored))) check_trusted(part);
  }
  Home home;
  home.paths = paths;
  const std::string config = read_trusted(paths.config(), {.private_file = true});
  home.config = Config::parse(config, paths.config().string());
  if (home.config.embedded) home.config.pin_source = "file:" + paths.token_pin().string();  // it moves with the home
  home.config_digest = hex(crypto::sha256(view(config)));
  std::string policy;
  if (std::filesystem::exists(paths.policy(), ignored)) policy = read_trusted(paths.policy());
  home.policy = policy.empty() ? policy::default_policy() : parse_policy(policy, paths.policy().string());
  home.policy_digest = hex(crypto::sha256(view(policy)));
  // A module that others can write is code that others run with the PIN in hand.
  if (std::filesystem::exists(home.config.module.path, ignored)) {
    check_trusted(std::filesystem::canonical(home.config.module.path), {.follow_symlink = true});
  }
  return home;
}

}  // namespace kmtool::home
