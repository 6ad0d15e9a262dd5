#include "kmtool/crypto/public_key.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <array>
#include <utility>

#include "der.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/error.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/crypto/digest.hpp"

namespace kmtool::crypto {
namespace {

template <auto free_function>
struct Free {
  template <typename T>
  void operator()(T* pointer) const {
    free_function(pointer);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Free<EVP_PKEY_CTX_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Free<EVP_MD_CTX_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;

constexpr std::size_t largest_spki = 8192;  // RSA-16384 has 2,086 bytes; OpenSSL's time grows with the cube of it
constexpr std::size_t largest_pem = std::size_t{1} << 20;
constexpr int largest_modulus = 16384;

struct Curve {
  KeyType type;
  std::string_view group;  ///< as OpenSSL names it
  std::string_view oid;    ///< DER of the namedCurve parameter
  std::size_t field_bytes;
  std::size_t spki_size;  ///< with an uncompressed point
};
using namespace std::string_view_literals;
constexpr std::array<Curve, 3> curves{{
    {KeyType::ec_p256, "prime256v1", "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"sv, 32, 91},
    {KeyType::ec_p384, "secp384r1", "\x06\x05\x2b\x81\x04\x00\x22"sv, 48, 120},
    {KeyType::ec_p521, "secp521r1", "\x06\x05\x2b\x81\x04\x00\x23"sv, 66, 158},
}};
constexpr std::string_view ec_public_key_oid = "\x06\x07\x2a\x86\x48\xce\x3d\x02\x01"sv;
constexpr std::string_view rsa_algorithm = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00"sv;
constexpr std::string_view ed25519_oid = "\x06\x03\x2b\x65\x70"sv;
constexpr std::string_view ed25519_curve_name =
    "\x13\x0c"
    "edwards25519"sv;
constexpr std::size_t ed25519_key_size = 32;

Error not_a_key(const std::string& what) { return Error::tampered("not a public key: " + what); }

Bytes spki_of(ByteView algorithm, ByteView key) {
  constexpr std::uint8_t no_unused_bits = 0;
  return der::element(der::sequence,
                      der::concatenate({der::element(der::sequence, algorithm),
                                        der::element(der::bit_string, der::concatenate({{&no_unused_bits, 1}, key}))}));
}

const Curve* curve_of(EVP_PKEY* key) {
  std::array<char, 80> name{};
  std::size_t length = 0;
  const bool found = EVP_PKEY_get_group_name(key, name.data(), name.size(), &length) == 1;
  ERR_clear_error();
  if (!found) return nullptr;
  for (const auto& curve : curves) {
    if (curve.group == std::string_view(name.data(), length)) return &curve;
  }
  return nullptr;
}

/// What CKA_EC_POINT holds: the raw point, or a DER OCTET STRING around it. The lengths tell them apart:
/// both may begin with 04.
std::optional<ByteView> raw_point(ByteView point, std::size_t size) {
  if (point.size() == size) return point;
  const auto inner = der::take(point, der::octet_string);
  if (!inner || !point.empty() || inner->size() != size) return std::nullopt;
  return inner;
}

void require_known_kind(EVP_PKEY* key, std::size_t spki_size) {
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
      if (EVP_PKEY_get_bits(key) > largest_modulus) throw not_a_key("its RSA modulus is too long");
      return;
    case EVP_PKEY_EC: {
      const Curve* curve = curve_of(key);
      if (curve == nullptr) throw not_a_key("its curve is none of P-256, P-384, P-521");
      // A compressed point or spelled-out curve parameters would be a second encoding, and fingerprint, of one key.
      if (spki_size != curve->spki_size) throw not_a_key("its point or curve is not in the usual encoding");
      return;
    }
    case EVP_PKEY_ED25519:
      return;
    default:
      throw not_a_key("neither RSA, EC nor Ed25519");
  }
}

constexpr std::string_view ed25519_spki = "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"sv;  // RFC 8410; 32 octets follow

Key parse_spki(ByteView spki) {
  if (spki.size() > largest_spki) throw not_a_key("too long");
  if (spki.size() == ed25519_spki.size() + ed25519_key_size && equal(spki.first(ed25519_spki.size()), view(ed25519_spki))) {
    // The log signer's, read by every command: its one encoding needs no decoder, which OpenSSL takes long to set up.
    Key key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, spki.data() + ed25519_spki.size(), ed25519_key_size));
    ERR_clear_error();
    if (!key) throw not_a_key("its numbers are not those of a key");
    return key;
  }
  const unsigned char* at = spki.data();
  Key key(d2i_PUBKEY(nullptr, &at, static_cast<long>(spki.size())));
  unsigned char* encoded = nullptr;
  const int size = key ? i2d_PUBKEY(key.get(), &encoded) : -1;
  const bool same = size > 0 && equal(spki, {encoded, static_cast<std::size_t>(size)});
  OPENSSL_free(encoded);
  ERR_clear_error();
  if (!key) throw not_a_key("not a DER SubjectPublicKeyInfo");
  if (!same) throw not_a_key("not in its one DER encoding");
  require_known_kind(key.get(), spki.size());
  const KeyContext context(EVP_PKEY_CTX_new(key.get(), nullptr));
  const bool sound = context && EVP_PKEY_public_check_quick(context.get()) == 1;
  ERR_clear_error();
  if (!sound) throw not_a_key("its numbers are not those of a key");
  return key;
}

/// One PEM block: what kind, and its DER.
struct PemBlock {
  std::string kind, header;
  Bytes der;
};

std::optional<PemBlock> next_block(BIO* input) {
  char* kind = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  if (PEM_read_bio(input, &kind, &header, &data, &size) != 1) {
    // No further block is the end; a block that has begun and is broken is not.
    const bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    if (!end) throw not_a_key("a broken PEM block");
    return std::nullopt;
  }
  PemBlock block{kind, header, Bytes(data, data + size)};
  OPENSSL_free(kind);
  OPENSSL_free(header);
  OPENSSL_free(data);
  return block;
}

Bytes spki_of_certificate(ByteView der) {
  const unsigned char* at = der.data();
  const Certificate certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  ERR_clear_error();
  if (!certificate || at != der.data() + der.size()) throw not_a_key("a damaged certificate");
  unsigned char* encoded = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate.get()), &encoded);
  ERR_clear_error();
  if (size <= 0) throw not_a_key("a damaged certificate");
  Bytes spki(encoded, encoded + size);
  OPENSSL_free(encoded);
  return spki;
}

Bytes spki_from_pem(std::string_view pem) {
  if (pem.size() > largest_pem) throw not_a_key("the file is too large");
  const std::unique_ptr<BIO, Free<BIO_free_all>> input(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (!input) throw Error::internal("OpenSSL has no memory");
  const auto block = next_block(input.get());
  if (!block) throw not_a_key("no PEM block in it");
  if (!block->header.empty()) throw not_a_key("its PEM block is encrypted or has a header");
  // Which of several is meant would be a guess.
  if (next_block(input.get())) throw not_a_key("more than one PEM block in it");
  if (block->kind == "PUBLIC KEY") return block->der;
  if (block->kind == "CERTIFICATE") return spki_of_certificate(block->der);
  throw not_a_key("a PEM block of kind " + printable(std::string_view(block->kind).substr(0, 40)));
}

}  // namespace

struct PublicKey::Impl {
  Key key;
  Bytes spki;
};

PublicKey::PublicKey(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

PublicKey PublicKey::from_spki(ByteView der) {
  return PublicKey(std::make_unique<Impl>(Impl{parse_spki(der), Bytes(der.begin(), der.end())}));
}

PublicKey PublicKey::from_pem(std::string_view pem, const std::string& name) {
  try {
    return from_spki(spki_from_pem(pem));
  } catch (const Error& error) {
    if (error.exit() != ExitCode::damaged) throw;
    throw Error::tampered(printable(name) + ": " + error.message(), "a PUBLIC KEY or CERTIFICATE in PEM is wanted");
  }
}

PublicKey PublicKey::read_pem(const std::filesystem::path& path) { return from_pem(read_file(path, largest_pem), path.string()); }

PublicKey PublicKey::from_rsa(ByteView modulus, ByteView exponent) {
  const Bytes numbers = der::concatenate({der::unsigned_integer(modulus), der::unsigned_integer(exponent)});
  return from_spki(spki_of(view(rsa_algorithm), der::element(der::sequence, numbers)));
}

PublicKey PublicKey::from_ec(ByteView params, ByteView point) {
  if (equal(params, view(ed25519_oid)) || equal(params, view(ed25519_curve_name))) {
    const auto raw = raw_point(point, ed25519_key_size);
    if (!raw) throw not_a_key("its Ed25519 point has a wrong length");
    return from_spki(spki_of(view(ed25519_oid), *raw));
  }
  for (const auto& curve : curves) {
    if (!equal(params, view(curve.oid))) continue;
    const auto raw = raw_point(point, 1 + 2 * curve.field_bytes);
    if (!raw) throw not_a_key("its point has a wrong length for " + std::string(to_text(curve.type)));
    return from_spki(spki_of(der::concatenate({view(ec_public_key_oid), params}), *raw));
  }
  throw not_a_key("its curve is none of P-256, P-384, P-521, Ed25519");
}

PublicKey::PublicKey(const PublicKey& other) : impl_(std::make_unique<Impl>()) { *this = other; }

PublicKey& PublicKey::operator=(const PublicKey& other) {
  if (this == &other) return *this;
  EVP_PKEY_up_ref(other.impl_->key.get());
  impl_ = std::make_unique<Impl>(Impl{Key(other.impl_->key.get()), other.impl_->spki});
  return *this;
}

PublicKey::PublicKey(PublicKey&&) noexcept = default;
PublicKey& PublicKey::operator=(PublicKey&&) noexcept = default;
PublicKey::~PublicKey() = default;

Bytes PublicKey::spki() const { return impl_->spki; }

std::string PublicKey::pem() const {
  const std::string body = base64(impl_->spki);
  std::string text = "-----BEGIN PUBLIC KEY-----\n";
  for (std::size_t i = 0; i < body.size(); i += 64) text += body.substr(i, 64) + "\n";
  return text + "-----END PUBLIC KEY-----\n";
}

std::string PublicKey::fingerprint() const { return hex(sha256(impl_->spki)); }

std::optional<KeyType> PublicKey::type() const {
  if (is_ed25519()) return KeyType::ed25519;
  if (const Curve* curve = curve_of(impl_->key.get())) return curve->type;
  switch (EVP_PKEY_get_bits(impl_->key.get())) {
    case 3072:
      return KeyType::rsa3072;
    case 4096:
      return KeyType::rsa4096;
    default:
      return std::nullopt;
  }
}

std::string PublicKey::description() const {
  if (const auto known = type()) return std::string(to_text(*known));
  return "rsa-" + std::to_string(EVP_PKEY_get_bits(impl_->key.get()));
}

int PublicKey::strength() const {
  if (const auto known = type()) return strength_of(*known);
  return rsa_strength(static_cast<unsigned long>(EVP_PKEY_get_bits(impl_->key.get())));
}

bool PublicKey::is_ed25519() const { return EVP_PKEY_get_base_id(impl_->key.get()) == EVP_PKEY_ED25519; }

Bytes PublicKey::ed25519_raw() const {
  if (!is_ed25519()) throw Error::internal("the raw form of a key that is not Ed25519 was asked for");
  return {impl_->spki.end() - static_cast<std::ptrdiff_t>(ed25519_key_size), impl_->spki.end()};
}

bool PublicKey::verify_ecdsa_digest(ByteView digest, ByteView der_signature) const {
  const Curve* curve = curve_of(impl_->key.get());
  if (curve == nullptr || digest.empty() || !ecdsa_der_to_raw(der_signature, curve->field_bytes)) return false;
  const KeyContext context(EVP_PKEY_CTX_new(impl_->key.get(), nullptr));
  const bool good = context && EVP_PKEY_verify_init(context.get()) == 1 &&
                    EVP_PKEY_verify(context.get(), der_signature.data(), der_signature.size(), digest.data(), digest.size()) == 1;
  ERR_clear_error();
  return good;
}

bool PublicKey::verify_ed25519(ByteView message, ByteView signature) const {
  if (!is_ed25519()) return false;
  const DigestContext context(EVP_MD_CTX_new());
  const bool good = context && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, impl_->key.get()) == 1 &&
                    EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(), message.size()) == 1;
  ERR_clear_error();
  return good;
}

void* PublicKey::native() const { return impl_->key.get(); }

Bytes ecdsa_raw_to_der(ByteView raw) {
  if (raw.empty() || raw.size() % 2 != 0) throw Error::internal("an ECDSA signature of odd length");
  const std::size_t half = raw.size() / 2;
  return der::element(der::sequence,
                      der::concatenate({der::unsigned_integer(raw.first(half)), der::unsigned_integer(raw.last(half))}));
}

std::optional<Bytes> ecdsa_der_to_raw(ByteView der, std::size_t field_bytes) {
  ByteView rest = der;
  auto numbers = der::take(rest, der::sequence);
  if (!numbers || !rest.empty()) return std::nullopt;
  Bytes raw;
  for (int i = 0; i < 2; ++i) {
    auto number = der::take(*numbers, der::integer);
    if (!number) return std::nullopt;
    while (!number->empty() && number->front() == 0) number = number->subspan(1);
    if (number->size() > field_bytes) return std::nullopt;
    raw.resize(raw.size() + field_bytes - number->size());
    append(raw, *number);
  }
  // Encoding it again finds every second spelling: padding, negative numbers, something left over.
  if (!numbers->empty() || raw.empty() || !equal(ecdsa_raw_to_der(raw), der)) return std::nullopt;
  return raw;
}

}  // namespace kmtool::crypto
