#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "kmtool/core/bytes.hpp"
#include "kmtool/core/secret.hpp"
#include "kmtool/core/time.hpp"

namespace kmtool::crypto {

/// A certificate that something is encrypted to. Nothing of it is verified but that its key can be encrypted to: whose it is, the
/// people say who hand it over; they compare the fingerprint.
class Certificate {
 public:
  /// The first `CERTIFICATE` of a PEM text. Throws damaged (65); refused (77, G-KEK) for keys under 112 bits of strength, or of a
  /// kind that encrypts nothing (Ed25519), or a certificate whose key usage forbids it.
  static Certificate from_pem(std::string_view pem, const std::string& name);
  static Certificate read_pem(const std::filesystem::path& path);
  Certificate(Certificate&&) noexcept;
  Certificate& operator=(Certificate&&) noexcept;
  ~Certificate();

  [[nodiscard]] std::string fingerprint() const;  ///< SHA-256 of the certificate, hex: `openssl x509 -fingerprint -sha256`
  [[nodiscard]] std::string subject() const;      ///< RFC 2253
  [[nodiscard]] bool expired(UnixTime now) const;

  /// CMS AuthEnvelopedData (RFC 5083, 5084: AES-256-GCM) in PEM: RSA keys by OAEP with SHA-256, EC keys by ECDH with SHA-256.
  /// Every random octet comes from `random` (of C_GenerateRandom; random_needed of them). Throws internal (70).
  [[nodiscard]] std::string encrypt(const SecretBytes& content, const SecretBytes& random) const;
  static constexpr std::size_t random_needed = 2048;

 private:
  struct Impl;
  explicit Certificate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace kmtool::crypto
