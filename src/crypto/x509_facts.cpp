#include "kmtool/crypto/x509_facts.hpp"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <ctime>
#include <memory>

#include "kmtool/core/encoding.hpp"
#include "kmtool/crypto/digest.hpp"
#include "kmtool/domain/role.hpp"

namespace kmtool::crypto {
namespace {

struct Free {
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};

std::string name_of(const X509_NAME* name) {
  const std::unique_ptr<BIO, Free> out(BIO_new(BIO_s_mem()));
  if (!out || X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253 & ~static_cast<unsigned long>(ASN1_STRFLGS_ESC_MSB)) < 0) return {};
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return size <= 0 ? std::string() : std::string(text, static_cast<std::size_t>(size));
}

std::optional<UnixTime> time_of(const ASN1_TIME* time) {
  std::tm broken{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &broken) != 1) return std::nullopt;
  return timegm(&broken);
}

/// As the other names of keys here have it.
std::string curve_name(std::string_view group) {
  if (group == "prime256v1") return "p256";
  if (group == "secp384r1") return "p384";
  if (group == "secp521r1") return "p521";
  return std::string(group);
}

void describe_key(X509* certificate, X509Facts& facts) {
  EVP_PKEY* key = X509_get0_pubkey(certificate);
  if (key == nullptr) return;
  const int bits = EVP_PKEY_get_bits(key);
  std::array<char, 80> group{};
  std::size_t length = 0;
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
      facts.key = "rsa-" + std::to_string(bits);
      facts.strength = rsa_strength(static_cast<unsigned long>(bits));
      return;
    case EVP_PKEY_EC:
      facts.key = EVP_PKEY_get_group_name(key, group.data(), group.size(), &length) == 1 ? "ec-" + curve_name({group.data(), length}) : "ec";
      facts.strength = ec_strength(static_cast<unsigned long>(bits));
      return;
    case EVP_PKEY_ED25519:
      facts.key = "ed25519";
      facts.strength = 128;
      return;
    case EVP_PKEY_DSA:
      facts.key = "dsa-" + std::to_string(bits);
      facts.strength = rsa_strength(static_cast<unsigned long>(bits));
      return;
    default:
      return;
  }
}

void describe_signature(X509* certificate, X509Facts& facts) {
  const int number = X509_get_signature_nid(certificate);
  const char* name = OBJ_nid2ln(number);
  facts.signature = name == nullptr ? "unknown" : name;
  int hash = NID_undef;
  if (OBJ_find_sigid_algs(number, &hash, nullptr) != 1) return;
  facts.weak_signature = hash == NID_md2 || hash == NID_md4 || hash == NID_md5 || hash == NID_sha1 || hash == NID_mdc2;
}

}  // namespace

std::optional<X509Facts> read_certificate(ByteView der) {
  const unsigned char* at = der.data();
  const std::unique_ptr<X509, Free> certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  ERR_clear_error();
  if (!certificate || at != der.data() + der.size()) return std::nullopt;
  const auto begins = time_of(X509_get0_notBefore(certificate.get())), ends = time_of(X509_get0_notAfter(certificate.get()));
  if (!begins || !ends) return std::nullopt;
  X509Facts facts;
  facts.not_before = *begins;
  facts.not_after = *ends;
  facts.subject = name_of(X509_get_subject_name(certificate.get()));
  facts.issuer = name_of(X509_get_issuer_name(certificate.get()));
  facts.self_signed = X509_NAME_cmp(X509_get_subject_name(certificate.get()), X509_get_issuer_name(certificate.get())) == 0;
  facts.authority = X509_check_ca(certificate.get()) > 0 && (X509_get_extension_flags(certificate.get()) & EXFLAG_BCONS) != 0;
  describe_signature(certificate.get(), facts);
  describe_key(certificate.get(), facts);
  unsigned char* spki = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate.get()), &spki);
  if (size > 0) facts.public_id = hex(sha256({spki, static_cast<std::size_t>(size)}));
  OPENSSL_free(spki);
  ERR_clear_error();
  return facts;
}

}  // namespace kmtool::crypto
