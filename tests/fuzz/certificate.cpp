// What others hand over in DER or PEM: certificates on a token, certificates of custodians, public keys.
#include "kmtool/crypto/certificate.hpp"

#include "kmtool/crypto/cms.hpp"
#include "kmtool/crypto/public_key.hpp"
#include "kmtool/crypto/x509_facts.hpp"
#include "target.hpp"

using namespace kmtool;

namespace {

const SecretBytes& random_octets() {
  static const SecretBytes octets{ByteView(Bytes(crypto::Certificate::random_needed, 0x5a))};
  return octets;
}

void certificates(std::string_view text) {
  if (const auto facts = crypto::read_certificate(view(text))) fuzz::require(facts->public_id.size() == 64 || facts->public_id.empty());
  fuzz::expect_refusal([&] {
    const auto certificate = crypto::Certificate::from_pem(text, "custodian.pem");
    fuzz::require(certificate.fingerprint().size() == 64);
    (void)certificate.subject();
    (void)certificate.expired(1800000000);
    static const SecretBytes content{ByteView(Bytes(64, 7))};
    fuzz::require(certificate.encrypt(content, random_octets()).starts_with("-----BEGIN CMS-----"));
  });
}

/// One key, one encoding, one fingerprint.
void same(const crypto::PublicKey& key) {
  const auto again = crypto::PublicKey::from_spki(key.spki());
  fuzz::require(again.spki() == key.spki() && again.fingerprint() == key.fingerprint() && again.type() == key.type());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const auto text = fuzz::text_of(data, size);
  certificates(text);
  fuzz::expect_refusal([&] { same(crypto::PublicKey::from_pem(std::string(text), "signer.pem")); });
  fuzz::expect_refusal([&] { same(crypto::PublicKey::from_spki(Bytes(text.begin(), text.end()))); });
  return 0;
}
