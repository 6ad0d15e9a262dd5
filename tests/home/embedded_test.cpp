#include <chrono>
#include <optional>
#include <thread>

#include "fixture.hpp"
#include "kmtool/core/lock.hpp"
#include "kmtool/pkcs11/init_token.hpp"

namespace kmtool::home {
namespace {

namespace fs = std::filesystem;

std::optional<std::string> installed_softhsm() {
  try {
    return softhsm_module();
  } catch (const Error&) {
    return std::nullopt;
  }
}

mode_t mode_of(const fs::path& path) {
  struct stat status {};
  REQUIRE(stat(path.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

fs::path only_folder_in(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder)) found.push_back(entry.path());
  REQUIRE(found.size() == 1);
  return found.front();
}

/// A home with a token folder in it that no SoftHSM made.
Paths with_folder(const Scratch& scratch) {
  Paths paths = scratch.paths();
  put(paths.token_dir() / "t" / "token.object", "token");
  return paths;
}

TEST_CASE("an embedded token is made, private, and has a random PIN and label") {
  const auto module = installed_softhsm();
  if (!module) return;
  const Scratch scratch;
  const Paths paths = scratch.paths();
  const auto selector = make_embedded_token(paths, {*module, ""});
  CHECK(selector.label.starts_with("kmtool-embedded-"));
  CHECK(selector.label.size() == 24);
  CHECK_FALSE(selector.serial.empty());
  for (const auto& file : {paths.token_pin(), paths.softhsm_conf(), paths.token_copy()}) CHECK(mode_of(file) == 0600);
  CHECK(mode_of(paths.token_dir()) == 0700);
  const std::string pin = revealed(read_pin({PinSource::Kind::file, paths.token_pin().string()}, true));
  CHECK(pin.size() >= 24);
  CHECK(get(paths.softhsm_conf()).find("directories.tokendir = " + paths.token_dir().string()) == 0);
  const fs::path object = only_folder_in(paths.token_dir()) / "token.object";
  CHECK(get(object) == get(paths.token_copy()));

  SUBCASE("a second token is not put over the first") {
    CHECK(exit_of([&] { make_embedded_token(paths, {*module, ""}); }) == 73);
    CHECK(revealed(read_pin({PinSource::Kind::file, paths.token_pin().string()}, true)) == pin);
  }
  SUBCASE("another home gets another PIN and label") {
    const Scratch elsewhere;
    CHECK(make_embedded_token(elsewhere.paths(), {*module, ""}).label != selector.label);
    CHECK(get(elsewhere.paths().token_pin()) != get(paths.token_pin()));
  }
  SUBCASE("a lost token.object comes back from the copy") {
    const std::string was = get(object);
    CHECK(check_token_object(paths, false) == TokenObject::whole);
    put(object, "");
    CHECK(check_token_object(paths, false) == TokenObject::empty);
    CHECK(get(object).empty());
    CHECK(check_token_object(paths, true) == TokenObject::empty);
    CHECK(get(object) == was);
    fs::remove(object);
    CHECK(check_token_object(paths, false) == TokenObject::missing);
    CHECK_FALSE(fs::exists(object));
    CHECK(check_token_object(paths, true) == TokenObject::missing);
    CHECK(get(object) == was);
  }
}

TEST_CASE("nothing stays behind when the token cannot be made") {
  const Scratch scratch;
  const Paths paths = scratch.paths();
  CHECK(exit_of([&] { make_embedded_token(paths, {"/nonexistent/module.so", ""}); }) == 69);
  CHECK_FALSE(fs::exists(paths.token_pin()));
  CHECK_FALSE(fs::exists(paths.softhsm_conf()));
  CHECK(fs::is_empty(paths.token_dir()));
}

TEST_CASE("a failing PIN maker leaves the module unloaded and usable") {
  const auto module = installed_softhsm();
  if (!module) return;
  const Scratch scratch;
  const Paths paths = scratch.paths();
  fs::create_directories(paths.token_dir());
  prepare_embedded(paths);
  const auto failing = [](const pkcs11::RandomBytes&) -> SecretBytes { throw Error::io("no room"); };
  CHECK(exit_of([&] { pkcs11::init_software_token({*module, ""}, "first", failing); }) == 74);
  const auto selector = pkcs11::init_software_token({*module, ""}, "second", [](const pkcs11::RandomBytes& random) {
    CHECK(random(24).size() == 24);
    CHECK(random(24) != random(24));
    return SecretBytes(view("123456"));
  });
  CHECK(selector.label == "second");
}

TEST_CASE("SoftHSM's configuration follows a home that was moved") {
  const Scratch scratch;
  const Paths paths = with_folder(scratch);
  put(paths.softhsm_conf(), "directories.tokendir = /elsewhere\n");
  prepare_embedded(paths);
  CHECK(get(paths.softhsm_conf()).find("directories.tokendir = " + paths.token_dir().string() + "\n") == 0);
  CHECK(getenv("SOFTHSM2_CONF") == paths.softhsm_conf().string());
}

TEST_CASE("a path that SoftHSM cannot have is refused") {
  const Scratch scratch;
  CHECK(exit_of([&] { make_embedded_token({scratch / "a#b"}, {"/x.so", ""}); }) == 78);
}

TEST_CASE("the copy of token.object is kept when it changed, and never an empty one") {
  const Scratch scratch;
  const Paths paths = with_folder(scratch);
  const fs::path object = paths.token_dir() / "t" / "token.object";
  keep_token_copy(paths);
  CHECK(get(paths.token_copy()) == "token");
  const auto written = fs::last_write_time(paths.token_copy()) - std::chrono::hours(1);
  fs::last_write_time(paths.token_copy(), written);
  keep_token_copy(paths);
  CHECK(fs::last_write_time(paths.token_copy()) == written);
  put(object, "other");
  keep_token_copy(paths);
  CHECK(get(paths.token_copy()) == "other");
  put(object, "");
  keep_token_copy(paths);
  CHECK(get(paths.token_copy()) == "other");
}

TEST_CASE("without a copy a lost token.object cannot be mended") {
  const Scratch scratch;
  const Paths paths = with_folder(scratch);
  put(paths.token_dir() / "t" / "token.object", "");
  CHECK(check_token_object(paths, true) == TokenObject::whole);
}

TEST_CASE("empty object files are found before an outcome is committed") {
  const Scratch scratch;
  const Paths paths = with_folder(scratch);
  put(paths.token_dir() / "t" / "a.lock", "");
  sync_token_files(paths, fs::file_time_type::min());
  sync_token_files(paths, fs::file_time_type::clock::now());
  put(paths.token_dir() / "t" / "a.object", "");
  std::string message;
  CHECK(exit_of([&] { sync_token_files(paths, fs::file_time_type::min()); }, &message) == 74);
  CHECK(message.find("a.object") != std::string::npos);
  CHECK(exit_of([&] { sync_token_files(paths, fs::file_time_type::clock::now()); }) == 74);
}

TEST_CASE("a token.object that a login is writing anew is neither lost nor empty") {
  const Scratch scratch;
  const Paths paths = with_folder(scratch);
  const auto object = paths.token_dir() / "t" / "token.object";
  put(object, "whole");
  put(paths.token_copy(), "whole");
  chmod(paths.token_copy().c_str(), 0600);
  const auto at_work = [&](const auto& look) {
    auto login = FileLock::acquire(paths.token_lock(), std::chrono::seconds(1));
    put(object, "");
    std::thread writer([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      put(object, "whole");
      login.release();
    });
    look();
    writer.join();
  };
  at_work([&] { CHECK(check_token_object(paths, false) == TokenObject::whole); });
  at_work([&] { CHECK(exit_of([&] { sync_token_files(paths, fs::file_time_type::min()); }) == 0); });
}

}  // namespace
}  // namespace kmtool::home
