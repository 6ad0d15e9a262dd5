#pragma once
#include <string>
#include <vector>

#include "kmtool/core/stream.hpp"
#include "kmtool/crypto/signature.hpp"
#include "kmtool/op/context.hpp"

namespace kmtool::usage {

/// Ed25519 signs the document itself, in one call: so much of it is read into memory, and no more.
inline constexpr std::size_t longest_ed25519_document = std::size_t{16} << 20;

struct Signature {
  op::VersionRecord version;
  crypto::Scheme scheme = crypto::Scheme::ecdsa_p256_sha256;
  Bytes value;
  std::vector<std::string> warnings;
};
/// Signs everything that comes in, in the token; the digest is made here, so that any size is one token call. The signature is verified
/// before it is given out. Throws refused (77) by rule, usage (64) for an Ed25519 document that is too long.
Signature sign(op::Context& context, const std::string& key, InStream& in);

struct Verdict {
  bool good = false;
  std::string by;  ///< label of the version, or the public key's fingerprint
  crypto::Scheme scheme = crypto::Scheme::ecdsa_p256_sha256;
  std::vector<std::string> warnings;
};
/// NAME: any version of the key may have signed it; NAME@VERSION: that one. From the catalog alone, which must be proven (op::prove_reader).
Verdict verify_signature(op::Context& reader, const std::string& key, ByteView signature, InStream& in);
Verdict verify_signature(const crypto::PublicKey& key, ByteView signature, InStream& in);

struct Tag {
  op::VersionRecord version;
  Bytes value;        ///< where it was made
  bool good = false;  ///< where one was verified
  std::vector<std::string> warnings;
};
/// HMAC over everything that comes in, by the hash of the key's type, in the token.
Tag mac(op::Context& context, const std::string& key, InStream& in);
Tag verify_mac(op::Context& context, const std::string& key, ByteView tag, InStream& in);

}  // namespace kmtool::usage
