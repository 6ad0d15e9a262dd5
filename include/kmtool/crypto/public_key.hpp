#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "kmtool/core/bytes.hpp"
#include "kmtool/domain/role.hpp"

namespace kmtool::crypto {

/// A public key (SubjectPublicKeyInfo) on the host: made from what a token shows, or read from a PEM file; verifies.
class PublicKey {
 public:
  /// Throws damaged (65) for what is not a DER SPKI of RSA, P-256/384/521 or Ed25519.
  static PublicKey from_spki(ByteView der);
  /// `PUBLIC KEY` or `CERTIFICATE` PEM; `name` for messages. Throws damaged (65).
  static PublicKey from_pem(std::string_view pem, const std::string& name);
  static PublicKey read_pem(const std::filesystem::path& path);
  /// From CKA_MODULUS and CKA_PUBLIC_EXPONENT (big-endian).
  static PublicKey from_rsa(ByteView modulus, ByteView exponent);
  /// From CKA_EC_PARAMS (DER OID, or the curve-name PrintableString some tokens use for Ed25519) and CKA_EC_POINT (DER OCTET STRING, or the raw point some tokens give).
  static PublicKey from_ec(ByteView params, ByteView point);

  PublicKey(const PublicKey&);
  PublicKey& operator=(const PublicKey&);
  PublicKey(PublicKey&&) noexcept;
  PublicKey& operator=(PublicKey&&) noexcept;
  ~PublicKey();

  [[nodiscard]] Bytes spki() const;
  [[nodiscard]] std::string pem() const;
  /// SHA-256 of the SPKI, lower-case hex: how signers and recipients are named.
  [[nodiscard]] std::string fingerprint() const;
  /// nullopt for sizes and curves outside CLI.md's table (RSA-2048 …).
  [[nodiscard]] std::optional<KeyType> type() const;
  /// `rsa-2048`, `ec-p256`, `ed25519`.
  [[nodiscard]] std::string description() const;
  [[nodiscard]] int strength() const;
  [[nodiscard]] bool is_ed25519() const;
  [[nodiscard]] Bytes ed25519_raw() const;  ///< 32 bytes; throws internal where it is another kind

  /// ECDSA over an already made digest; signature is DER (strict: exactly one encoding is accepted).
  [[nodiscard]] bool verify_ecdsa_digest(ByteView digest, ByteView der_signature) const;
  [[nodiscard]] bool verify_ed25519(ByteView message, ByteView signature) const;

  [[nodiscard]] void* native() const;  ///< EVP_PKEY*, for this room's other files

 private:
  struct Impl;
  explicit PublicKey(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// A token's raw r‖s as DER Ecdsa-Sig-Value, and back. Throw internal / damaged on wrong lengths.
Bytes ecdsa_raw_to_der(ByteView raw);
/// nullopt unless `der` is the one DER encoding.
std::optional<Bytes> ecdsa_der_to_raw(ByteView der, std::size_t field_bytes);

}  // namespace kmtool::crypto
