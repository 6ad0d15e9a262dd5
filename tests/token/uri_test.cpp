#include "kmtool/pkcs11/uri.hpp"

#include "soft_token.hpp"

using namespace kmtool;
using namespace kmtool::test;
using namespace kmtool::pkcs11;

TEST_CASE("URIs name tokens") {
  const auto uri = parse_token_uri(
      "pkcs11:token=My%20token;serial=01%2F23;manufacturer=SoftHSM%20project;model=v2?module-path=/usr/lib/x.so&pin-source=file:/"
      "etc/pin");
  CHECK(uri.token.label == "My token");
  CHECK(uri.token.serial == "01/23");
  CHECK(uri.token.manufacturer == "SoftHSM project");
  CHECK(uri.token.model == "v2");
  CHECK(uri.module_path == "/usr/lib/x.so");
  CHECK(uri.pin_source == "file:/etc/pin");
  CHECK(parse_token_uri("pkcs11:").token.label.empty());
  CHECK(parse_token_uri("pkcs11:?pin-source=/etc/pin").pin_source == "/etc/pin");
}

TEST_CASE("URIs that are wrong or say more than is checked are refused") {
  for (const char* text : {"", "token=x", "PKCS11:token=x", "pkcs11:token", "pkcs11:=x", "pkcs11:token=a;token=b",
                           "pkcs11:token=%4", "pkcs11:token=%zz", "pkcs11:token=a b", "pkcs11:token=a\nb", "pkcs11:token=%00",
                           "pkcs11:object=x", "pkcs11:id=%01", "pkcs11:slot-id=1", "pkcs11:token=a;", "pkcs11:token=a/b",
                           "pkcs11:?module-path=lib.so", "pkcs11:?module-name=x", "pkcs11:?pin-source=|cat%20pin"}) {
    INFO(text);
    CHECK(exit_of([&] { (void)parse_token_uri(text); }) == ExitCode::usage);
  }
  const auto pin = error_of([] { (void)parse_token_uri("pkcs11:token=a?pin-value=1234"); });
  CHECK(pin.exit() == ExitCode::usage);
  CHECK(pin.message().find("1234") == std::string::npos);
}

TEST_CASE("a key's URI") {
  TokenInfo token;
  token.label = "My token";
  token.serial = "0123";
  const Bytes id{0x01, 0xAB};
  CHECK(key_uri(token, "payments@3", id, ObjectClass::secret_key) ==
        "pkcs11:token=My%20token;serial=0123;object=payments%403;id=%01%AB;type=secret-key");
  CHECK(key_uri(token, "s@1", {}, ObjectClass::private_key) == "pkcs11:token=My%20token;serial=0123;object=s%401;type=private");
}

TEST_CASE("error codes have names and meanings") {
  CHECK(rv_name(0xA0) == "CKR_PIN_INCORRECT");
  CHECK(rv_meaning(0xA0) == "the PIN is wrong");
  CHECK(rv_name(0x1B7) == "CKR_LIBRARY_LOAD_FAILED");
  CHECK(rv_name(0x203) == "CKR_KEY_EXHAUSTED");
  CHECK(rv_name(0x80000012UL) == "CKR_VENDOR_DEFINED+0x12");
  CHECK(rv_name(0x7777) == "CKR_0x7777");
  CHECK_FALSE(rv_meaning(0x7777).empty());
}
