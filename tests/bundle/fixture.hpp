#pragma once
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "kmtool/bundle/bundle.hpp"

namespace kmtool::bundle::test {

/// A folder that goes away with the test.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::filesystem::path file(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// A signing pair on the host: tests only, the program's are in the token.
class Signer {
 public:
  Signer();
  [[nodiscard]] Bytes sign(ByteView digest) const;
  [[nodiscard]] crypto::PublicKey public_key() const;
  [[nodiscard]] Bytes spki() const;

 private:
  std::shared_ptr<EVP_PKEY> key_;
};

Bytes spki_of(EVP_PKEY* key);
/// HMAC-SHA-256 under the test's sealing key of this recipient.
Bytes seal(std::size_t recipient, ByteView message);
Bytes pattern(std::size_t size, std::uint8_t seed);

Header header_of(std::size_t recipients, std::uint64_t records);
Record secret_record(const std::string& name, std::uint8_t seed, std::size_t recipients);
Record pair_record(const std::string& name, std::uint8_t seed, std::size_t recipients, const Bytes& spki);

std::string text_of(const std::filesystem::path& path);
void put(const std::filesystem::path& path, const std::string& text);
std::vector<std::string> lines_of(const std::string& text);
std::string joined(const std::vector<std::string>& lines);

/// Two recipients, one secret key and one pair.
struct Sample {
  Signer signer;
  Folder folder;
  std::filesystem::path path;
  std::string text, digest;
  Sample();
};

/// What a reader says to a file: empty when it accepts, else the message. Fails the test for anything but damaged (65).
std::string refusal_of(const std::filesystem::path& path);
/// The same with signature and every seal verified.
std::string refusal_with_proofs(const std::filesystem::path& path, const crypto::PublicKey& signer);

}  // namespace kmtool::bundle::test
