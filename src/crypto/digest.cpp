// SHA256_Init and its like are deprecated for what EVP offers beyond them: other providers. A digest that proves nothing secret needs none.
#define OPENSSL_SUPPRESS_DEPRECATED

#include "kmtool/crypto/digest.hpp"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/error.hpp"
#include "kmtool/core/file.hpp"

namespace kmtool::crypto {
namespace {

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_MD_CTX, FreeContext>;

[[noreturn]] void digest_failed() {
  ERR_clear_error();
  throw Error::internal("OpenSSL cannot compute a digest");
}

const EVP_MD* fetch(const char* name) {
  const EVP_MD* algorithm = EVP_MD_fetch(nullptr, name, nullptr);
  if (algorithm == nullptr) digest_failed();
  return algorithm;
}

/// Fetched once: looking an algorithm up costs more than a short digest, and a Merkle tree makes many. Kept until the process
/// ends.
const EVP_MD* algorithm_of(Hash hash) {
  switch (hash) {
    case Hash::sha256: {
      static const EVP_MD* const sha256_algorithm = fetch("SHA256");
      return sha256_algorithm;
    }
    case Hash::sha384: {
      static const EVP_MD* const sha384_algorithm = fetch("SHA384");
      return sha384_algorithm;
    }
    case Hash::sha512: {
      static const EVP_MD* const sha512_algorithm = fetch("SHA512");
      return sha512_algorithm;
    }
  }
  throw Error::internal("no such digest");
}

/// A context taken up again under the same algorithm allocates nothing; a catalog's rows are many.
void digest_into(Hash hash, ByteView data, std::uint8_t* to) {
  static thread_local std::array<Context, 3> contexts;
  auto& context = contexts.at(static_cast<std::size_t>(hash));
  if (!context) context.reset(EVP_MD_CTX_new());
  if (!context || EVP_DigestInit_ex(context.get(), algorithm_of(hash), nullptr) != 1 ||
      EVP_DigestUpdate(context.get(), data.data(), data.size()) != 1 || EVP_DigestFinal_ex(context.get(), to, nullptr) != 1) {
    digest_failed();
  }
}

}  // namespace

struct Digest::Impl {
  Context context{EVP_MD_CTX_new()};
};

/// A Merkle tree's node is two blocks: EVP costs as much again as hashing them does (174 ns against 99), and a long journal's checkpoints
/// have ten million.
Sha256 sha256(ByteView data) {
  Sha256 value{};
  SHA256_CTX state;
  if (SHA256_Init(&state) != 1 || SHA256_Update(&state, data.data(), data.size()) != 1 || SHA256_Final(value.data(), &state) != 1) digest_failed();
  return value;
}

Bytes sha512(ByteView data) {
  Bytes value(64);
  digest_into(Hash::sha512, data, value.data());
  return value;
}

std::string sha256_file_hex(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) throw Error::from_errno("open", path, errno);
  Digest digest(Hash::sha256);
  Bytes chunk(std::size_t{64} << 10);
  for (;;) {
    const ssize_t got = read(fd.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error::from_errno("read", path, errno);
    if (got == 0) return hex(digest.value());
    digest.update(ByteView(chunk.data(), static_cast<std::size_t>(got)));
  }
}

Digest::Digest(Hash hash) : impl_(std::make_unique<Impl>()) {
  if (!impl_->context || EVP_DigestInit_ex(impl_->context.get(), algorithm_of(hash), nullptr) != 1) digest_failed();
}

Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

void Digest::update(ByteView data) {
  if (EVP_DigestUpdate(impl_->context.get(), data.data(), data.size()) != 1) digest_failed();
}

Bytes Digest::value() const {
  // Finishing ends a stream, so a copy is finished.
  const Context copy(EVP_MD_CTX_new());
  if (!copy || EVP_MD_CTX_copy_ex(copy.get(), impl_->context.get()) != 1) digest_failed();
  Bytes value(static_cast<std::size_t>(EVP_MD_CTX_get_size(copy.get())));
  if (EVP_DigestFinal_ex(copy.get(), value.data(), nullptr) != 1) digest_failed();
  return value;
}

}  // namespace kmtool::crypto
