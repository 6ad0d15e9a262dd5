#pragma once
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdlib>
#include <string>

#include "core/temp_dir.hpp"
#include "kmtool/pkcs11/token.hpp"

/// Fresh software tokens, each in a folder of its own. Their modules keep their state per process: one at a time.
namespace kmtool::test {

inline SecretBytes pin_of(std::string_view text) { return SecretBytes(view(text)); }

inline void run(const std::string& command) {
  INFO(command);
  REQUIRE(std::system((command + " >/dev/null 2>&1").c_str()) == 0);
}

inline std::string existing(std::initializer_list<const char*> candidates) {
  for (const char* path : candidates) {
    if (std::filesystem::exists(path)) return path;
  }
  return {};
}

/// SoftHSM 2 with one initialised token.
class SoftToken {
 public:
  static constexpr const char* so_pin = "12345678";
  static constexpr const char* user_pin = "87654321";

  explicit SoftToken(const std::string& label = "kmtool-test") : label_(label) {
    std::filesystem::create_directory(dir_ / "tokens");
    const auto conf = dir_.file(
        "softhsm2.conf",
        fmt::format("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", (dir_ / "tokens").string()));
    setenv("SOFTHSM2_CONF", conf.c_str(), 1);
    add_token(label);
  }
  void add_token(const std::string& label) const {
    run(fmt::format("softhsm2-util --init-token --free --label '{}' --so-pin {} --pin {}", label, so_pin, user_pin));
  }

  [[nodiscard]] static pkcs11::ModuleSpec module() {
    const std::string path = existing({"/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
                                       "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so", "/usr/lib/softhsm/libsofthsm2.so"});
    REQUIRE_FALSE(path.empty());
    return {path, {}};
  }
  [[nodiscard]] pkcs11::TokenSelector selector() const { return {label_, {}, {}, {}}; }
  [[nodiscard]] const TempDir& dir() const { return dir_; }
  [[nodiscard]] pkcs11::Token open(std::string_view pin_text = user_pin) const {
    const SecretBytes pin = pin_of(pin_text);
    pkcs11::OpenOptions options;
    options.pin = &pin;
    options.lock_file = dir_ / "token.lock";
    return pkcs11::Token::open(module(), selector(), options);
  }
  /// Opened and probed; the probe is made once in a process.
  [[nodiscard]] pkcs11::Token ready() const {
    auto token = open();
    static const pkcs11::Profile profile = token.probe();
    token.use_profile(profile);
    return token;
  }

 private:
  TempDir dir_;
  std::string label_;
};

/// NSS's softoken with a database of its own; the second slot is the token.
class NssToken {
 public:
  static constexpr const char* user_pin = "nss-Pin-87654321";

  NssToken() {
    const auto file = dir_.file("pin", std::string(user_pin) + "\n");
    run(fmt::format("certutil -N -d sql:{} -f {}", dir_.path().string(), file.string()));
  }
  [[nodiscard]] pkcs11::ModuleSpec module() const {
    const std::string path = existing({"/usr/lib/x86_64-linux-gnu/libsoftokn3.so", "/usr/lib/aarch64-linux-gnu/libsoftokn3.so",
                                       "/usr/lib/x86_64-linux-gnu/nss/libsoftokn3.so"});
    REQUIRE_FALSE(path.empty());
    return {path, fmt::format("configdir='sql:{}' certPrefix='' keyPrefix='' secmod='secmod.db' flags=", dir_.path().string())};
  }
  [[nodiscard]] pkcs11::Token open(std::string_view pin_text = user_pin) const {
    const SecretBytes pin = pin_of(pin_text);
    pkcs11::OpenOptions options;
    options.pin = &pin;
    return pkcs11::Token::open(module(), {"NSS Certificate DB", {}, {}, {}}, options);
  }
  [[nodiscard]] pkcs11::Token ready() const {
    auto token = open();
    static const pkcs11::Profile profile = token.probe();
    token.use_profile(profile);
    return token;
  }

 private:
  TempDir dir_;
};

inline Bytes new_id(pkcs11::Token& token) { return token.random(16); }

}  // namespace kmtool::test
