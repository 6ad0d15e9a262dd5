// A snapshot's text. The input is the body; it is signed here, so that what stands behind the signature is reached. What is accepted
// is written again byte for byte.
#include "kmtool/apikey/snapshot.hpp"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>

#include "target.hpp"

using namespace kmtool;
using namespace kmtool::apikey;

namespace {

struct Free {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
};

struct Signer {
  std::unique_ptr<EVP_PKEY, Free> key{EVP_EC_gen("P-256")};
  crypto::PublicKey public_key = crypto::PublicKey::from_spki(spki());

  [[nodiscard]] Bytes spki() const {
    Bytes bytes(static_cast<std::size_t>(i2d_PUBKEY(key.get(), nullptr)));
    auto* at = bytes.data();
    fuzz::require(i2d_PUBKEY(key.get(), &at) > 0);
    return bytes;
  }
  [[nodiscard]] Bytes sign(ByteView digest) const {
    const std::unique_ptr<EVP_PKEY_CTX, Free> context(EVP_PKEY_CTX_new(key.get(), nullptr));
    std::size_t size = 128;
    Bytes signature(size);
    fuzz::require(EVP_PKEY_sign_init(context.get()) == 1 && EVP_PKEY_sign(context.get(), signature.data(), &size, digest.data(), digest.size()) == 1);
    signature.resize(size);
    return signature;
  }
};

const Signer& signer() {
  static const Signer one;
  return one;
}

/// The signature's line over any text.
std::string sealed(std::string_view body) {
  SnapshotHeader header{"6f0c1c52-7d3b-4c39-9a55-0a2f0f6c7d11", 1, 1800000000, 1800003600, "kmtool", 0};
  const auto whole = write_snapshot(header, {}, signer().public_key, [&](ByteView) { return signer().sign(crypto::sha256(view(body))); });
  return std::string(body) + whole.substr(whole.rfind('\n', whole.size() - 2) + 1);
}

std::string body_of(const std::string& text) { return text.substr(0, text.rfind('\n', text.size() - 2) + 1); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const auto body = fuzz::text_of(data, size);
  fuzz::expect_refusal([&] { read_snapshot(body, "S", {signer().public_key}); });  // unsigned
  fuzz::expect_refusal([&] {
    const auto text = sealed(body);
    const auto snapshot = read_snapshot(text, "S", {signer().public_key});
    fuzz::require(snapshot.digest.size() == 64 && snapshot.header.keys == snapshot.table.size());
    std::vector<KeyEntry> keys(snapshot.table.entries().begin(), snapshot.table.entries().begin() + static_cast<std::ptrdiff_t>(snapshot.table.size()));
    const auto again = write_snapshot(snapshot.header, keys, signer().public_key, [](ByteView digest) { return signer().sign(digest); });
    const auto twice = read_snapshot(again, "S", {signer().public_key});
    fuzz::require(twice.table.size() == snapshot.table.size() && body_of(again).size() == body.size());
  });
  return 0;
}
