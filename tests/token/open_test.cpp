#include "kmtool/core/file.hpp"
#include "soft_token.hpp"

using namespace kmtool;
using namespace kmtool::test;
using namespace kmtool::pkcs11;

namespace {

OpenOptions with(const SecretBytes& pin) {
  OpenOptions options;
  options.pin = &pin;
  return options;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a token opens, says what it is, and can be opened again after it is closed") {
  const SoftToken soft;
  for (int i = 0; i < 2; ++i) {
    auto token = soft.open();
    CHECK(token.logged_in());
    CHECK(token.info().label == "kmtool-test");
    CHECK(token.info().serial.size() == 16);
    CHECK(token.info().manufacturer == "SoftHSM project");
    CHECK(token.info().model == "SoftHSM v2");
    CHECK(token.info().module_digest.size() == 64);
    CHECK(token.info().initialized);
    CHECK(token.info().login_required);
    CHECK_FALSE(token.info().hardware);
    CHECK(token.random(5000).size() == 5000);
    CHECK(token.random(32) != token.random(32));
    auto moved = std::move(token);
    CHECK(moved.random(1).size() == 1);
  }
}

TEST_CASE("the lock is held through the login only, and a held one is busy") {
  const SoftToken soft;
  const auto token = soft.open();
  const auto path = soft.dir() / "token.lock";
  auto lock = FileLock::acquire(path, std::chrono::milliseconds(0));  // free again
  OpenOptions options;
  options.login = false;
  options.lock_file = path;
  options.lock_wait = std::chrono::milliseconds(10);
  CHECK(exit_of([&] { (void)Token::open(SoftToken::module(), soft.selector(), options); }) == ExitCode::busy);
}

TEST_CASE("without a login there is a public session") {
  const SoftToken soft;
  OpenOptions options;
  options.login = false;
  auto token = Token::open(SoftToken::module(), soft.selector(), options);
  CHECK_FALSE(token.logged_in());
  CHECK(token.scan().empty());
  CHECK(token.mechanisms().size() > 30);
}

TEST_CASE("mechanisms have names, limits and flags") {
  const SoftToken soft;
  auto token = soft.open();
  bool found = false;
  for (const auto& line : token.mechanisms()) {
    CHECK(line.name.rfind("CKM_", 0) == 0);
    if (line.number != 0x210A) continue;
    found = true;
    CHECK(line.name == "CKM_AES_KEY_WRAP_PAD");
    CHECK(line.flags == "wrap,unwrap");
  }
  CHECK(found);
}

TEST_CASE("a wrong PIN is refused and counted") {
  const SoftToken soft;
  const auto error = error_of([&] { (void)soft.open("11111111"); });
  CHECK(error.exit() == ExitCode::refused);
  CHECK(error.code() == "CKR_PIN_INCORRECT");
  CHECK(error.message() == "C_Login: CKR_PIN_INCORRECT (the PIN is wrong)");
  CHECK(contains(error.hint(), "tries are left"));

  SUBCASE("a careful login does not try while few tries are left") {
    const SecretBytes pin = pin_of(SoftToken::user_pin);
    auto options = with(pin);
    options.careful = true;
    const auto refused = error_of([&] { (void)Token::open(SoftToken::module(), soft.selector(), options); });
    CHECK(refused.exit() == ExitCode::refused);
    CHECK(refused.code() == "pin-count-low");
    options.careful = false;
    CHECK(Token::open(SoftToken::module(), soft.selector(), options).logged_in());
    options.careful = true;
    CHECK(Token::open(SoftToken::module(), soft.selector(), options).logged_in());
  }
  SUBCASE("the right one still works") { CHECK(soft.open().logged_in()); }
}

TEST_CASE("an impossible PIN costs no try") {
  const SoftToken soft;
  const auto too_long = error_of([&] { (void)soft.open(std::string(300, '1')); });
  CHECK(too_long.exit() == ExitCode::refused);
  CHECK(too_long.code() == "CKR_PIN_LEN_RANGE");
  CHECK(contains(too_long.hint(), "no try"));
  CHECK(error_of([&] { (void)soft.open("12"); }).code() == "CKR_PIN_LEN_RANGE");
  CHECK(error_of([&] { (void)soft.open(std::string_view("8765\0004321", 9)); }).code() == "CKR_PIN_INVALID");
  CHECK_FALSE(soft.open().info().pin_count_low);
  OpenOptions none;
  const auto without = error_of([&] { (void)Token::open(SoftToken::module(), soft.selector(), none); });
  CHECK(without.exit() == ExitCode::refused);
  CHECK(without.code() == "pin");
}

TEST_CASE("modules that are missing or none") {
  const SoftToken soft;
  const SecretBytes pin = pin_of(SoftToken::user_pin);
  const auto open = [&](const std::string& path) { (void)Token::open({path, {}}, soft.selector(), with(pin)); };
  const auto missing = error_of([&] { open("/nonexistent/libhsm.so"); });
  CHECK(missing.exit() == ExitCode::unavailable);
  CHECK(contains(missing.message(), "/nonexistent/libhsm.so"));
  CHECK_FALSE(missing.hint().empty());
  CHECK(exit_of([&] { open("libsofthsm2.so"); }) == ExitCode::usage);
  CHECK(exit_of([&] { open("/usr/lib"); }) == ExitCode::unavailable);
  const auto text = soft.dir().file("not-a-module.so", "hello");
  CHECK(exit_of([&] { open(text.string()); }) == ExitCode::unavailable);
  const std::string no_module = existing({"/usr/lib/x86_64-linux-gnu/libp11.so.3", "/usr/lib/aarch64-linux-gnu/libp11.so.3"});
  if (!no_module.empty()) CHECK(exit_of([&] { open(no_module); }) == ExitCode::unavailable);
  CHECK(soft.open().logged_in());  // nothing of it stays
}

TEST_CASE("a module that does not start says why") {
  const SoftToken soft;
  setenv("SOFTHSM2_CONF", "/nonexistent/softhsm2.conf", 1);
  const auto error = error_of([&] { (void)soft.open(); });
  CHECK(error.exit() == ExitCode::unavailable);
  CHECK(error.code() == "CKR_GENERAL_ERROR");
  CHECK(contains(error.message(), "C_Initialize"));
}

TEST_CASE("exactly one token may match") {
  const SoftToken soft;
  const auto open = [&](const TokenSelector& selector) {
    const SecretBytes pin = pin_of(SoftToken::user_pin);
    return Token::open(SoftToken::module(), selector, with(pin)).info().label;
  };
  CHECK(open({}) == "kmtool-test");  // the blank one does not count
  const auto none = error_of([&] { open({"other", {}, {}, {}}); });
  CHECK(none.exit() == ExitCode::unavailable);
  CHECK(contains(none.message(), "label other"));
  CHECK(contains(none.hint(), "kmtool-test (serial "));
  CHECK(exit_of([&] { open({"kmtool-tes", {}, {}, {}}); }) == ExitCode::unavailable);
  CHECK(exit_of([&] { open({"kmtool-test", "0123", {}, {}}); }) == ExitCode::unavailable);
  CHECK(exit_of([&] { open({"kmtool-test", {}, "Somebody else", {}}); }) == ExitCode::unavailable);

  soft.add_token("kmtool-test");
  const auto several = error_of([&] { open({"kmtool-test", {}, {}, {}}); });
  CHECK(several.exit() == ExitCode::unavailable);
  CHECK(contains(several.hint(), "serial"));
  CHECK(exit_of([&] { open({}); }) == ExitCode::unavailable);
  int opened = 0;
  for (const auto& info : Token::enumerate(SoftToken::module(), soft.dir() / "token.lock")) {
    if (info.initialized) opened += open({info.label, info.serial, {}, {}}) == "kmtool-test" ? 1 : 0;
  }
  CHECK(opened == 2);
}

TEST_CASE("a token that is not initialised is not opened") {
  const SoftToken soft;
  std::string serial;
  bool blank = false;
  for (const auto& info : Token::enumerate(SoftToken::module(), {})) blank = blank || !info.initialized;
  CHECK(blank);
  const auto error = error_of([&] { (void)Token::open(SoftToken::module(), {{}, {}, "SoftHSM project", "SoftHSM v2"}, {}); });
  CHECK(error.exit() == ExitCode::unavailable);
}

TEST_CASE("one module is open once in a process") {
  const SoftToken soft;
  const auto token = soft.open();
  CHECK(exit_of([&] { (void)soft.open(); }) == ExitCode::internal);
  CHECK(exit_of([&] { (void)Token::enumerate(SoftToken::module(), {}); }) == ExitCode::internal);
}
