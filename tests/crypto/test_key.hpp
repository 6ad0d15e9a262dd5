#pragma once
#include <doctest/doctest.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <memory>

#include "kmtool/core/bytes.hpp"

namespace kmtool::test {

/// A pair on the host, for tests alone: the program itself has none.
class TestKey {
 public:
  static TestKey ec(const char* group) { return TestKey(EVP_EC_gen(group)); }
  static TestKey rsa(unsigned bits) { return TestKey(EVP_RSA_gen(bits)); }
  static TestKey of_kind(const char* algorithm) { return TestKey(EVP_PKEY_Q_keygen(nullptr, nullptr, algorithm)); }

  [[nodiscard]] Bytes spki() const {
    unsigned char* encoded = nullptr;
    const int size = i2d_PUBKEY(key_.get(), &encoded);
    REQUIRE(size > 0);
    Bytes bytes(encoded, encoded + size);
    OPENSSL_free(encoded);
    return bytes;
  }
  /// Ed25519 over the message (hash nullptr), or ECDSA over the message's SHA-256 in DER.
  [[nodiscard]] Bytes sign(ByteView message, const EVP_MD* hash) const {
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    std::size_t size = 0;
    REQUIRE(EVP_DigestSignInit(context, nullptr, hash, nullptr, key_.get()) == 1);
    REQUIRE(EVP_DigestSign(context, nullptr, &size, message.data(), message.size()) == 1);
    Bytes signature(size);
    REQUIRE(EVP_DigestSign(context, signature.data(), &size, message.data(), message.size()) == 1);
    signature.resize(size);
    EVP_MD_CTX_free(context);
    return signature;
  }
  [[nodiscard]] EVP_PKEY* native() const { return key_.get(); }

 private:
  struct Free {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  };
  explicit TestKey(EVP_PKEY* key) : key_(key) { REQUIRE(key_); }
  std::unique_ptr<EVP_PKEY, Free> key_;
};

}  // namespace kmtool::test
