#include "kmtool/crypto/reference.hpp"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <memory>

#include "kmtool/core/error.hpp"

namespace kmtool::crypto::reference {
namespace {

template <auto free_function>
struct Free {
  template <typename T>
  void operator()(T* pointer) const {
    free_function(pointer);
  }
};
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, Free<EVP_CIPHER_CTX_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Free<EVP_PKEY_CTX_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Free<EVP_MD_CTX_free>>;

void require(bool ok) {
  if (ok) return;
  ERR_clear_error();
  throw Error::internal("OpenSSL fails at a sum for a proof about the token");
}

Bytes cipher(const EVP_CIPHER* algorithm, ByteView key, ByteView data, bool wrapping) {
  const CipherContext context(EVP_CIPHER_CTX_new());
  require(algorithm != nullptr && context != nullptr &&
          key.size() == static_cast<std::size_t>(EVP_CIPHER_get_key_length(algorithm)));
  if (wrapping) EVP_CIPHER_CTX_set_flags(context.get(), EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
  require(EVP_EncryptInit_ex(context.get(), algorithm, nullptr, key.data(), nullptr) == 1);
  EVP_CIPHER_CTX_set_padding(context.get(), 0);
  Bytes out(data.size() + 32);
  int length = 0;
  require(EVP_EncryptUpdate(context.get(), out.data(), &length, data.data(), static_cast<int>(data.size())) == 1);
  out.resize(static_cast<std::size_t>(length));
  return out;
}

const EVP_CIPHER* by_length(ByteView key, const EVP_CIPHER* a128, const EVP_CIPHER* a192, const EVP_CIPHER* a256) {
  return key.size() == 16 ? a128 : key.size() == 24 ? a192 : a256;
}

Key to_key(const crypto::PublicKey& key) {
  const Bytes spki = key.spki();
  const unsigned char* at = spki.data();
  Key out(d2i_PUBKEY(nullptr, &at, static_cast<long>(spki.size())));
  require(out != nullptr);
  return out;
}

Bytes encoded_point(EVP_PKEY* key) {
  std::size_t length = 0;
  require(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, nullptr, 0, &length) == 1);
  Bytes out(length);
  require(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, out.data(), length, &length) == 1);
  return out;
}

Bytes big_number(EVP_PKEY* key, const char* name) {
  BIGNUM* made = nullptr;
  require(EVP_PKEY_get_bn_param(key, name, &made) == 1);
  const std::unique_ptr<BIGNUM, Free<BN_free>> number(made);
  Bytes out(static_cast<std::size_t>(BN_num_bytes(made)));
  BN_bn2bin(made, out.data());
  return out;
}

/// DER OCTET STRING of up to 255 octets: P-521's point has 133.
Bytes octet_string(ByteView value) {
  Bytes out{0x04};
  if (value.size() > 127) out.push_back(0x81);
  out.push_back(static_cast<std::uint8_t>(value.size()));
  append(out, value);
  return out;
}

}  // namespace

Bytes aes_kw(ByteView kek, ByteView value) {
  return cipher(by_length(kek, EVP_aes_128_wrap(), EVP_aes_192_wrap(), EVP_aes_256_wrap()), kek, value, true);
}

Bytes aes_kwp(ByteView kek, ByteView value) {
  return cipher(by_length(kek, EVP_aes_128_wrap_pad(), EVP_aes_192_wrap_pad(), EVP_aes_256_wrap_pad()), kek, value, true);
}

Bytes aes_ecb(ByteView key, ByteView blocks) {
  return cipher(by_length(key, EVP_aes_128_ecb(), EVP_aes_192_ecb(), EVP_aes_256_ecb()), key, blocks, false);
}

Bytes hmac_sha256(ByteView key, ByteView data) {
  Bytes out(32);
  unsigned int length = 0;
  require(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), data.data(), data.size(), out.data(), &length) != nullptr);
  return out;
}

Numbers numbers_of(const crypto::PublicKey& key) {
  const Key native = to_key(key);
  Numbers out;
  if (EVP_PKEY_get_base_id(native.get()) == EVP_PKEY_RSA) {
    out.modulus = big_number(native.get(), OSSL_PKEY_PARAM_RSA_N);
    out.exponent = big_number(native.get(), OSSL_PKEY_PARAM_RSA_E);
  } else {
    out.raw_point = key.is_ed25519() ? key.ed25519_raw() : encoded_point(native.get());
    out.point = octet_string(out.raw_point);
  }
  return out;
}

std::optional<Bytes> rsa_oaep(const crypto::PublicKey& key, const std::string& hash, ByteView value) {
  const Key native = to_key(key);
  const KeyContext context(EVP_PKEY_CTX_new(native.get(), nullptr));
  const EVP_MD* digest = EVP_get_digestbyname(hash == "SHA-1" ? "SHA1" : hash.c_str());
  if (digest == nullptr && hash.starts_with("SHA-")) digest = EVP_get_digestbyname(("SHA" + hash.substr(4)).c_str());
  require(context != nullptr && digest != nullptr && EVP_PKEY_encrypt_init(context.get()) == 1);
  require(EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING) == 1);
  require(EVP_PKEY_CTX_set_rsa_oaep_md(context.get(), digest) == 1 && EVP_PKEY_CTX_set_rsa_mgf1_md(context.get(), digest) == 1);
  std::size_t length = 0;
  require(EVP_PKEY_encrypt(context.get(), nullptr, &length, value.data(), value.size()) == 1);
  Bytes out(length);
  const bool fits = EVP_PKEY_encrypt(context.get(), out.data(), &length, value.data(), value.size()) == 1;
  ERR_clear_error();
  if (!fits) return std::nullopt;
  out.resize(length);
  return out;
}

bool verify_rsa(const crypto::PublicKey& key, ByteView message, ByteView signature) {
  const Key native = to_key(key);
  if (EVP_PKEY_get_base_id(native.get()) != EVP_PKEY_RSA) return false;
  const DigestContext context(EVP_MD_CTX_new());
  require(context != nullptr && EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, native.get()) == 1);
  const bool good = EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(), message.size()) == 1;
  ERR_clear_error();
  return good;
}

Agreement agree(const crypto::PublicKey& key) {
  const Key native = to_key(key);
  const KeyContext generator(EVP_PKEY_CTX_new(native.get(), nullptr));
  require(generator != nullptr && EVP_PKEY_keygen_init(generator.get()) == 1);
  EVP_PKEY* made = nullptr;
  require(EVP_PKEY_keygen(generator.get(), &made) == 1);
  const Key ephemeral(made);
  Agreement out;
  out.point = encoded_point(made);
  std::size_t length = 0;
  const KeyContext derivation(EVP_PKEY_CTX_new(made, nullptr));
  require(derivation != nullptr && EVP_PKEY_derive_init(derivation.get()) == 1);
  require(EVP_PKEY_derive_set_peer(derivation.get(), native.get()) == 1);
  require(EVP_PKEY_derive(derivation.get(), nullptr, &length) == 1);
  out.secret.resize(length);
  require(EVP_PKEY_derive(derivation.get(), out.secret.data(), &length) == 1);
  out.secret.resize(length);
  return out;
}

Bytes x963_kdf(const std::string& hash, ByteView secret, std::size_t length) {
  const std::unique_ptr<EVP_KDF, Free<EVP_KDF_free>> algorithm(EVP_KDF_fetch(nullptr, OSSL_KDF_NAME_X963KDF, nullptr));
  require(algorithm != nullptr);
  const std::unique_ptr<EVP_KDF_CTX, Free<EVP_KDF_CTX_free>> context(EVP_KDF_CTX_new(algorithm.get()));
  std::string digest = hash;
  Bytes key(secret.begin(), secret.end()), out(length);
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest.data(), 0),
                                   OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key.data(), key.size()), OSSL_PARAM_construct_end()};
  require(context != nullptr && EVP_KDF_derive(context.get(), out.data(), out.size(), parameters) == 1);
  return out;
}

}  // namespace kmtool::crypto::reference
