#include "kmtool/crypto/cms.hpp"

#include <openssl/pem.h>  // before cms.h, which declares its PEM functions only then

#include <openssl/cms.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <cstring>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/error.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/crypto/digest.hpp"
#include "kmtool/crypto/public_key.hpp"

// RAND_METHOD is deprecated and is the one way to give CMS its random octets: a provider's generator would be asked for them by
// number.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace kmtool::crypto {
namespace {

template <auto free_function>
struct Free {
  template <typename T>
  void operator()(T* pointer) const {
    free_function(pointer);
  }
};
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using X509Ptr = std::unique_ptr<X509, Free<X509_free>>;
using Cms = std::unique_ptr<CMS_ContentInfo, Free<CMS_ContentInfo_free>>;

void require(bool ok) {
  if (ok) return;
  ERR_clear_error();
  throw Error::internal("OpenSSL fails at encrypting to a certificate");
}

/// While it lives, OpenSSL's random octets are taken from what was handed in, each once; when they are used up its calls fail. On
/// one thread, with no token call inside: a software token would draw from it too.
class OwnRandom {
 public:
  explicit OwnRandom(ByteView octets) : before_(RAND_get_rand_method()) {
    left_ = octets;
    RAND_set_rand_method(&method_);
  }
  OwnRandom(const OwnRandom&) = delete;
  OwnRandom& operator=(const OwnRandom&) = delete;
  ~OwnRandom() {
    RAND_set_rand_method(before_);
    left_ = {};
  }

 private:
  static int take(unsigned char* to, int size) {
    const auto n = static_cast<std::size_t>(size);
    if (size < 0 || n > left_.size()) return 0;
    std::memcpy(to, left_.data(), n);
    left_ = left_.subspan(n);
    return 1;
  }
  static int ready() { return 1; }
  static inline thread_local ByteView left_{};
  static inline RAND_METHOD method_{nullptr, take, nullptr, nullptr, take, ready};
  const RAND_METHOD* before_;
};

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

void choose_algorithms(EVP_PKEY_CTX* context, EVP_PKEY* key) {
  require(context != nullptr);
  if (EVP_PKEY_is_a(key, "RSA") == 1) {
    require(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) > 0 &&
            EVP_PKEY_CTX_set_rsa_oaep_md(context, EVP_sha256()) > 0 && EVP_PKEY_CTX_set_rsa_mgf1_md(context, EVP_sha256()) > 0);
  } else {
    require(EVP_PKEY_CTX_set_ecdh_kdf_md(context, EVP_sha256()) > 0);
  }
}

}  // namespace

struct Certificate::Impl {
  X509Ptr certificate;
};

Certificate::Certificate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Certificate::Certificate(Certificate&&) noexcept = default;
Certificate& Certificate::operator=(Certificate&&) noexcept = default;
Certificate::~Certificate() = default;

Certificate Certificate::from_pem(std::string_view pem, const std::string& name) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  X509Ptr certificate(bio ? PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr) : nullptr);
  ERR_clear_error();
  if (!certificate)
    throw Error::tampered(printable(name) + " is not a certificate", "it must be X.509 in PEM: -----BEGIN CERTIFICATE-----");
  EVP_PKEY* key = X509_get0_pubkey(certificate.get());
  const bool rsa = key != nullptr && EVP_PKEY_is_a(key, "RSA") == 1;
  if (!rsa && (key == nullptr || EVP_PKEY_is_a(key, "EC") != 1)) {
    throw Error::refused("G-KEK", printable(name) + ": nothing can be encrypted to this kind of key",
                         "use a certificate of an RSA or a NIST-curve key");
  }
  const int bits = rsa ? rsa_strength(static_cast<unsigned long>(EVP_PKEY_get_bits(key)))
                       : ec_strength(static_cast<unsigned long>(EVP_PKEY_get_bits(key)));
  if (bits < 112)
    throw Error::refused("G-KEK", printable(name) + ": its key is weaker than 112 bits", "use RSA-2048 or P-256 at least");
  const std::uint32_t usage = X509_get_key_usage(certificate.get());  // all ones where the extension is absent
  if ((usage & (rsa ? KU_KEY_ENCIPHERMENT : KU_KEY_AGREEMENT)) == 0) {
    throw Error::refused("G-KEK", printable(name) + ": its key usage does not allow encrypting to it",
                         rsa ? "the certificate must have keyEncipherment" : "the certificate must have keyAgreement");
  }
  auto impl = std::make_unique<Impl>();
  impl->certificate = std::move(certificate);
  return Certificate(std::move(impl));
}

Certificate Certificate::read_pem(const std::filesystem::path& path) {
  return from_pem(read_file(path, std::size_t{1} << 20), path.string());
}

std::string Certificate::fingerprint() const {
  unsigned char* der = nullptr;
  const int size = i2d_X509(impl_->certificate.get(), &der);
  require(size > 0);
  const auto digest = sha256({der, static_cast<std::size_t>(size)});
  OPENSSL_free(der);
  return hex(digest);
}

std::string Certificate::subject() const {
  const Bio bio(BIO_new(BIO_s_mem()));
  require(bio != nullptr &&
          X509_NAME_print_ex(bio.get(), X509_get_subject_name(impl_->certificate.get()), 0, XN_FLAG_RFC2253) >= 0);
  return text_of(bio.get());
}

bool Certificate::expired(UnixTime now) const {
  auto time = static_cast<time_t>(now);
  return X509_cmp_time(X509_get0_notAfter(impl_->certificate.get()), &time) < 0;
}

std::string Certificate::encrypt(const SecretBytes& content, const SecretBytes& random) const {
  const LockedScope locked;
  const OwnRandom own(random.reveal());
  const Bio in(BIO_new_mem_buf(content.reveal().data(), static_cast<int>(content.size())));
  const Cms cms(CMS_encrypt(nullptr, nullptr, EVP_aes_256_gcm(), CMS_PARTIAL | CMS_BINARY));
  require(in != nullptr && cms != nullptr);
  X509* certificate = impl_->certificate.get();
  CMS_RecipientInfo* recipient = CMS_add1_recipient_cert(cms.get(), certificate, CMS_KEY_PARAM);
  require(recipient != nullptr);
  choose_algorithms(CMS_RecipientInfo_get0_pkey_ctx(recipient), X509_get0_pubkey(certificate));
  require(CMS_final(cms.get(), in.get(), nullptr, CMS_BINARY) == 1);
  const Bio out(BIO_new(BIO_s_mem()));
  require(out != nullptr && PEM_write_bio_CMS(out.get(), cms.get()) == 1);
  return text_of(out.get());
}

}  // namespace kmtool::crypto
