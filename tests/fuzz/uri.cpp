// PKCS#11 URIs (RFC 7512).
#include "kmtool/pkcs11/uri.hpp"

#include "target.hpp"

using namespace kmtool;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  fuzz::expect_refusal([&] {
    const auto uri = pkcs11::parse_token_uri(std::string(fuzz::text_of(data, size)));
    pkcs11::TokenInfo info;
    info.label = uri.token.label;
    info.serial = uri.token.serial;
    info.manufacturer = uri.token.manufacturer;
    info.model = uri.token.model;
    // A URI that kmtool writes names the same token again.
    const auto again = pkcs11::parse_token_uri(pkcs11::key_uri(info, "payments@1", Bytes(16, 7), pkcs11::ObjectClass::secret_key));
    fuzz::require(again.token.label == info.label && again.token.serial == info.serial);
    fuzz::require(again.token.manufacturer == info.manufacturer && again.token.model == info.model);
  });
  return 0;
}
