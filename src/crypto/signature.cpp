#include "kmtool/crypto/signature.hpp"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <memory>

#include "kmtool/core/error.hpp"

namespace kmtool::crypto {
namespace {

using namespace std::string_view_literals;

bool verify_rsa_pss(const PublicKey& key, ByteView digest, ByteView signature) {
  struct Free {
    void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
  };
  const std::unique_ptr<EVP_PKEY_CTX, Free> context(EVP_PKEY_CTX_new(static_cast<EVP_PKEY*>(key.native()), nullptr));
  const bool good = context && EVP_PKEY_verify_init(context.get()) == 1 &&
                    EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PSS_PADDING) == 1 &&
                    EVP_PKEY_CTX_set_signature_md(context.get(), EVP_sha256()) == 1 &&
                    EVP_PKEY_CTX_set_rsa_pss_saltlen(context.get(), RSA_PSS_SALTLEN_AUTO) == 1 &&
                    EVP_PKEY_verify(context.get(), signature.data(), signature.size(), digest.data(), digest.size()) == 1;
  ERR_clear_error();
  return good;
}

}  // namespace

std::string_view to_text(Scheme scheme) {
  switch (scheme) {
    case Scheme::ecdsa_p256_sha256:
      return "ecdsa-p256-sha256";
    case Scheme::ecdsa_p384_sha384:
      return "ecdsa-p384-sha384";
    case Scheme::ecdsa_p521_sha512:
      return "ecdsa-p521-sha512";
    case Scheme::ed25519:
      return "ed25519";
    case Scheme::rsa_pss_sha256:
      break;
  }
  return "rsa-pss-sha256";
}

Scheme scheme_of(const PublicKey& key) {
  if (key.is_ed25519()) return Scheme::ed25519;
  const auto type = key.type();
  if (type == KeyType::ec_p256) return Scheme::ecdsa_p256_sha256;
  if (type == KeyType::ec_p384) return Scheme::ecdsa_p384_sha384;
  if (type == KeyType::ec_p521) return Scheme::ecdsa_p521_sha512;
  return Scheme::rsa_pss_sha256;  // PublicKey knows no other kind
}

std::optional<Hash> hash_of(Scheme scheme) {
  switch (scheme) {
    case Scheme::ecdsa_p256_sha256:
    case Scheme::rsa_pss_sha256:
      return Hash::sha256;
    case Scheme::ecdsa_p384_sha384:
      return Hash::sha384;
    case Scheme::ecdsa_p521_sha512:
      return Hash::sha512;
    case Scheme::ed25519:
      break;
  }
  return std::nullopt;
}

bool verify(const PublicKey& key, ByteView signed_over, ByteView signature) {
  switch (scheme_of(key)) {
    case Scheme::ed25519:
      return key.verify_ed25519(signed_over, signature);
    case Scheme::rsa_pss_sha256:
      return verify_rsa_pss(key, signed_over, signature);
    default:
      return key.verify_ecdsa_digest(signed_over, signature);
  }
}

Bytes algorithm_identifier(Scheme scheme) {
  switch (scheme) {
    case Scheme::ecdsa_p256_sha256:
      return to_bytes("\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"sv);
    case Scheme::ecdsa_p384_sha384:
      return to_bytes("\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03"sv);
    case Scheme::ecdsa_p521_sha512:
      return to_bytes("\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04"sv);
    case Scheme::ed25519:
      return to_bytes("\x30\x05\x06\x03\x2b\x65\x70"sv);
    case Scheme::rsa_pss_sha256:
      break;
  }
  // id-RSASSA-PSS { hash SHA-256, mask MGF1 with SHA-256, salt 32 }
  return to_bytes(
      "\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34"
      "\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00"
      "\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00"
      "\xa2\x03\x02\x01\x20"sv);
}

}  // namespace kmtool::crypto
