#pragma once
#include <array>
#include <memory>

#include "kmtool/core/bytes.hpp"

namespace kmtool::crypto {

using Sha256 = std::array<std::uint8_t, 32>;

Sha256 sha256(ByteView data);
Bytes sha512(ByteView data);
/// SHA-256 of a file's bytes, lower-case hex. Throws as read_file does.
std::string sha256_file_hex(const std::string& path);

enum class Hash { sha256, sha384, sha512 };

/// Streaming digest (EVP); copy() forks it so that one pass gives several digests of prefixes.
class Digest {
 public:
  explicit Digest(Hash hash);
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;
  void update(ByteView data);
  [[nodiscard]] Bytes value() const;  ///< of everything so far; the stream goes on

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kmtool::crypto
