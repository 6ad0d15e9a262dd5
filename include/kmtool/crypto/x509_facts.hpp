#pragma once
#include <optional>
#include <string>

#include "kmtool/core/bytes.hpp"
#include "kmtool/core/time.hpp"

namespace kmtool::crypto {

/// What a certificate says of itself; nothing is verified.
struct X509Facts {
  std::string subject, issuer;  ///< RFC 2253, as they stand: foreign text
  UnixTime not_before = 0, not_after = 0;
  std::string signature;        ///< `sha256WithRSAEncryption`
  bool weak_signature = false;  ///< the hash is MD5, SHA-1 or older
  bool self_signed = false;     ///< issuer and subject are the same
  bool authority = false;       ///< basicConstraints CA
  std::string key;              ///< `rsa-2048`, `ec-p256`; empty where it is of no kind that OpenSSL knows
  int strength = -1;            ///< of its key, bits; -1: cannot be told
  std::string public_id;        ///< SHA-256 of its SubjectPublicKeyInfo, hex
};
/// nullopt for what is no DER certificate, or has bytes behind it.
std::optional<X509Facts> read_certificate(ByteView der);

}  // namespace kmtool::crypto
