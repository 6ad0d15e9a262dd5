#include "kmtool/crypto/certificate.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "crypto/subject.hpp"
#include "kmtool/core/error.hpp"

namespace kmtool::crypto {
namespace {

using RequestPtr = std::unique_ptr<X509_REQ, FreeWith<X509_REQ_free>>;
using CertificatePtr = std::unique_ptr<X509, FreeWith<X509_free>>;
using AlgorithmPtr = std::unique_ptr<X509_ALGOR, FreeWith<X509_ALGOR_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, FreeWith<X509_EXTENSION_free>>;
using BitStringPtr = std::unique_ptr<ASN1_BIT_STRING, FreeWith<ASN1_BIT_STRING_free>>;
using OctetStringPtr = std::unique_ptr<ASN1_OCTET_STRING, FreeWith<ASN1_OCTET_STRING_free>>;

/// OpenSSL calls that fail for want of memory, or because of a mistake of ours.
void must(bool done) {
  ERR_clear_error();
  if (!done) throw Error::internal("OpenSSL cannot make the document");
}

EVP_PKEY* native(const PublicKey& key) { return static_cast<EVP_PKEY*>(key.native()); }

AlgorithmPtr algorithm_of(const PublicKey& key) {
  const Bytes der = algorithm_identifier(scheme_of(key));
  const unsigned char* at = der.data();
  AlgorithmPtr algorithm(d2i_X509_ALGOR(nullptr, &at, static_cast<long>(der.size())));
  must(algorithm != nullptr);
  return algorithm;
}

template <typename Object>
ExtensionPtr extension(int nid, bool critical, Object* value) {
  ExtensionPtr made(X509V3_EXT_i2d(nid, critical ? 1 : 0, value));
  must(made != nullptr);
  return made;
}

template <typename Object>
Bytes der_of(int (*encode)(Object*, unsigned char**), Object* object) {
  unsigned char* out = nullptr;
  const int size = encode(object, &out);
  must(size > 0);
  Bytes der(out, out + size);
  OPENSSL_free(out);
  return der;
}

template <typename Object>
std::string pem_of(int (*write)(BIO*, const Object*), const Object* object) {
  const std::unique_ptr<BIO, FreeWith<BIO_free_all>> memory(BIO_new(BIO_s_mem()));
  must(memory && write(memory.get(), object) == 1);
  char* text = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

void set_bits(ASN1_BIT_STRING* string, ByteView signature) {
  must(ASN1_BIT_STRING_set(string, const_cast<unsigned char*>(signature.data()), static_cast<int>(signature.size())) == 1);
  string->flags &= ~(ASN1_STRING_FLAG_BITS_LEFT | 0x07);
  string->flags |= ASN1_STRING_FLAG_BITS_LEFT;  // no unused bits, whatever it ends with
}

void add_to(X509* certificate, const ExtensionPtr& what) { must(X509_add_ext(certificate, what.get(), -1) == 1); }

/// What an end entity's self-signed certificate says of itself (RFC 5280, 4.2.1).
void add_extensions(X509* certificate, const PublicKey& key, const Subject& subject) {
  const std::unique_ptr<BASIC_CONSTRAINTS, FreeWith<BASIC_CONSTRAINTS_free>> constraints(BASIC_CONSTRAINTS_new());
  must(constraints != nullptr);
  add_to(certificate, extension(NID_basic_constraints, true, constraints.get()));
  const BitStringPtr usage(ASN1_BIT_STRING_new());
  must(usage && ASN1_BIT_STRING_set_bit(usage.get(), 0, 1) == 1);  // digitalSignature
  add_to(certificate, extension(NID_key_usage, true, usage.get()));
  // RFC 7093, 2, method 1: the leftmost 160 bits of SHA-256 over the public key
  const auto digest = sha256(key.spki());
  const OctetStringPtr identifier(ASN1_OCTET_STRING_new());
  must(identifier && ASN1_OCTET_STRING_set(identifier.get(), digest.data(), 20) == 1);
  add_to(certificate, extension(NID_subject_key_identifier, false, identifier.get()));
  if (subject.alternatives.empty()) return;
  const auto alternatives = parse_alternatives(subject.alternatives);
  add_to(certificate, extension(NID_subject_alt_name, false, alternatives.get()));
}

}  // namespace

struct Unsigned::Impl {
  PublicKey key;
  RequestPtr request;
  CertificatePtr certificate;
};

Unsigned::Unsigned(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Unsigned::Unsigned(Unsigned&&) noexcept = default;
Unsigned& Unsigned::operator=(Unsigned&&) noexcept = default;
Unsigned::~Unsigned() = default;

Unsigned Unsigned::request(const PublicKey& key, const Subject& subject) {
  const auto name = parse_name(subject.name);
  RequestPtr request(X509_REQ_new());
  must(request && X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1 && X509_REQ_set_subject_name(request.get(), name.get()) == 1 &&
       X509_REQ_set_pubkey(request.get(), native(key)) == 1);
  if (!subject.alternatives.empty()) {
    const auto alternatives = parse_alternatives(subject.alternatives);
    const auto made = extension(NID_subject_alt_name, false, alternatives.get());
    const std::unique_ptr<STACK_OF(X509_EXTENSION), void (*)(STACK_OF(X509_EXTENSION)*)> list(
        sk_X509_EXTENSION_new_null(), [](STACK_OF(X509_EXTENSION) * stack) { sk_X509_EXTENSION_free(stack); });
    must(list && sk_X509_EXTENSION_push(list.get(), made.get()) > 0 && X509_REQ_add_extensions(request.get(), list.get()) == 1);
  }
  must(X509_REQ_set1_signature_algo(request.get(), algorithm_of(key).get()) == 1);
  return Unsigned(std::make_unique<Impl>(Impl{key, std::move(request), nullptr}));
}

Unsigned Unsigned::certificate(const PublicKey& key, const Subject& subject, UnixTime from, UnixTime until, ByteView serial) {
  const auto name = parse_name(subject.name);
  CertificatePtr certificate(X509_new());
  const std::unique_ptr<BIGNUM, FreeWith<BN_free>> number(BN_bin2bn(serial.data(), static_cast<int>(serial.size()), nullptr));
  must(certificate && number && X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
       BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate.get())) != nullptr &&
       ASN1_TIME_set(X509_getm_notBefore(certificate.get()), from) != nullptr && ASN1_TIME_set(X509_getm_notAfter(certificate.get()), until) != nullptr &&
       X509_set_subject_name(certificate.get(), name.get()) == 1 && X509_set_issuer_name(certificate.get(), name.get()) == 1 &&
       X509_set_pubkey(certificate.get(), native(key)) == 1);
  add_extensions(certificate.get(), key, subject);
  // OpenSSL has setters of both algorithm fields for requests; for certificates it has these two views.
  const auto algorithm = algorithm_of(key);
  const X509_ALGOR* outer = nullptr;
  X509_get0_signature(nullptr, &outer, certificate.get());
  must(X509_ALGOR_copy(const_cast<X509_ALGOR*>(outer), algorithm.get()) == 1 &&
       X509_ALGOR_copy(const_cast<X509_ALGOR*>(X509_get0_tbs_sigalg(certificate.get())), algorithm.get()) == 1);
  return Unsigned(std::make_unique<Impl>(Impl{key, nullptr, std::move(certificate)}));
}

Bytes Unsigned::to_be_signed() const {
  return impl_->request ? der_of(i2d_re_X509_REQ_tbs, impl_->request.get()) : der_of(i2d_re_X509_tbs, impl_->certificate.get());
}

std::string Unsigned::attach(ByteView signature) {
  const char* wrong = "the signed document does not verify";
  if (impl_->request) {
    BitStringPtr bits(ASN1_BIT_STRING_new());
    must(bits != nullptr);
    set_bits(bits.get(), signature);
    X509_REQ_set0_signature(impl_->request.get(), bits.release());
    const bool good = X509_REQ_verify(impl_->request.get(), native(impl_->key)) == 1;
    ERR_clear_error();
    if (!good) throw Error::internal(wrong);
    return pem_of<X509_REQ>(PEM_write_bio_X509_REQ, impl_->request.get());
  }
  const ASN1_BIT_STRING* bits = nullptr;
  X509_get0_signature(&bits, nullptr, impl_->certificate.get());
  set_bits(const_cast<ASN1_BIT_STRING*>(bits), signature);
  const bool good = X509_verify(impl_->certificate.get(), native(impl_->key)) == 1;
  ERR_clear_error();
  if (!good) throw Error::internal(wrong);
  return pem_of<X509>(PEM_write_bio_X509, impl_->certificate.get());
}

}  // namespace kmtool::crypto
