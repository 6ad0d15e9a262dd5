#include "kmtool/crypto/gate.hpp"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <memory>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/error.hpp"

namespace kmtool::crypto {
namespace {

constexpr std::size_t tag_size = 16;

template <auto free_function>
struct Free {
  template <typename T>
  void operator()(T* pointer) const {
    free_function(pointer);
  }
};
using Kdf = std::unique_ptr<EVP_KDF, Free<EVP_KDF_free>>;
using KdfContext = std::unique_ptr<EVP_KDF_CTX, Free<EVP_KDF_CTX_free>>;
using Cipher = std::unique_ptr<EVP_CIPHER, Free<EVP_CIPHER_free>>;
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, Free<EVP_CIPHER_CTX_free>>;

void require(bool ok) {
  if (ok) return;
  ERR_clear_error();
  throw Error::internal("OpenSSL fails at the quorum's layer");
}

Bytes place_text(const GatePlace& place) {
  Bytes text = to_bytes("kmtool-gate-v1\n");
  append(text, view(place.bundle));
  append(text, big_endian(place.record, 4));
  append(text, big_endian(place.recipient, 4));
  return text;
}

SecretBytes key_of(const SecretBytes& gate, Bytes& info) {
  if (gate.size() != gate_secret_size) throw Error::internal("a gate secret of the wrong length");
  const Kdf kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
  require(kdf != nullptr);
  const LockedScope locked;
  const KdfContext context(EVP_KDF_CTX_new(kdf.get()));
  require(context != nullptr);
  char digest[] = "SHA256";
  auto* secret = const_cast<std::uint8_t*>(gate.reveal().data());  // the parameter's type; it is only read
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
                                   OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret, gate.size()),
                                   OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.data(), info.size()),
                                   OSSL_PARAM_construct_end()};
  SecretBytes key(32);
  require(EVP_KDF_derive(context.get(), key.reveal_mutable().data(), key.size(), parameters) == 1);
  return key;
}

/// A context with key, IV and associated data in it.
CipherContext begin(const Cipher& cipher, const SecretBytes& key, ByteView iv, ByteView associated, bool encrypt) {
  CipherContext context(EVP_CIPHER_CTX_new());
  require(cipher != nullptr && context != nullptr);
  require(EVP_CipherInit_ex2(context.get(), cipher.get(), key.reveal().data(), iv.data(), encrypt ? 1 : 0, nullptr) == 1);
  int length = 0;
  require(EVP_CipherUpdate(context.get(), nullptr, &length, associated.data(), static_cast<int>(associated.size())) == 1);
  return context;
}

}  // namespace

Bytes gate_lock(const SecretBytes& gate, const GatePlace& place, ByteView iv, ByteView wrapped) {
  if (iv.size() != gate_iv_size) throw Error::internal("an IV of the wrong length");
  Bytes associated = place_text(place);
  const SecretBytes key = key_of(gate, associated);
  const Cipher cipher(EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr));
  const LockedScope locked;
  const auto context = begin(cipher, key, iv, associated, true);
  Bytes out(iv.begin(), iv.end());
  out.resize(gate_iv_size + wrapped.size() + tag_size);
  auto* at = out.data() + gate_iv_size;
  int length = 0, last = 0;
  require(EVP_EncryptUpdate(context.get(), at, &length, wrapped.data(), static_cast<int>(wrapped.size())) == 1);
  require(EVP_EncryptFinal_ex(context.get(), at + length, &last) == 1 &&
          static_cast<std::size_t>(length) + static_cast<std::size_t>(last) == wrapped.size());
  require(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, static_cast<int>(tag_size), at + wrapped.size()) == 1);
  return out;
}

std::optional<Bytes> gate_open(const SecretBytes& gate, const GatePlace& place, ByteView locked_value) {
  if (locked_value.size() < gate_overhead) return std::nullopt;
  Bytes associated = place_text(place);
  const SecretBytes key = key_of(gate, associated);
  const Cipher cipher(EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr));
  const LockedScope locked;
  const auto context = begin(cipher, key, locked_value.first(gate_iv_size), associated, false);
  const ByteView body = locked_value.subspan(gate_iv_size, locked_value.size() - gate_overhead);
  Bytes tag(locked_value.end() - tag_size, locked_value.end());
  Bytes out(body.size() + 1);  // never an empty buffer
  int length = 0, last = 0;
  require(EVP_DecryptUpdate(context.get(), out.data(), &length, body.data(), static_cast<int>(body.size())) == 1);
  require(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, static_cast<int>(tag_size), tag.data()) == 1);
  const bool good = EVP_DecryptFinal_ex(context.get(), out.data() + length, &last) == 1;
  ERR_clear_error();
  if (!good) return std::nullopt;
  out.resize(body.size());
  return out;
}

}  // namespace kmtool::crypto
