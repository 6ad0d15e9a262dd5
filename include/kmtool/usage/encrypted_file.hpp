#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "kmtool/core/bytes.hpp"
#include "kmtool/crypto/digest.hpp"

namespace kmtool::usage {

/// The format of kmtool-encrypted(5): a header line, then chunks of IV (12 octets) ‖ ciphertext ‖ tag (16 octets), AES-GCM each, in the
/// STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance,
/// 2015): index and last-chunk flag are authenticated with every chunk.
struct Header {
  std::string key;  ///< name of the key when it was written
  int version = 1;
  Bytes id;    ///< CKA_ID of the version, which says for certain what it is
  std::size_t chunk = 0;  ///< octets of plaintext in every chunk but the last
  Bytes file;  ///< 16 random octets: chunks of two files cannot be told apart otherwise

  static constexpr std::size_t written_chunk = std::size_t{64} << 10;
  static constexpr std::size_t smallest_chunk = 4096, largest_chunk = std::size_t{512} << 10;
  static constexpr std::size_t longest_line = 1024;

  /// With its LF.
  [[nodiscard]] std::string line() const;
  /// From a line without its LF. Strict: exactly what line() can give. Throws damaged (65).
  static Header parse(const std::string& line, const std::string& name);
};

/// What is authenticated with a chunk: SHA-256 of the header line with its LF ‖ index (64 bits, big-endian, from 0) ‖ 1 for the
/// last chunk, else 0.
class AssociatedData {
 public:
  explicit AssociatedData(const Header& header);
  ByteView of(std::uint64_t index, bool last);

 private:
  std::array<std::uint8_t, 41> data_{};
};

/// How many chunks so many octets make; nothing makes one, which is empty.
std::uint64_t chunks_of(std::uint64_t octets, std::size_t chunk);

}  // namespace kmtool::usage
