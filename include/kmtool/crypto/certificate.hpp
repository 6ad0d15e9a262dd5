#pragma once
#include <memory>
#include <string>
#include <vector>

#include "kmtool/core/time.hpp"
#include "kmtool/crypto/signature.hpp"

namespace kmtool::crypto {

/// What a request or certificate says, before it is signed. Strict: what is not understood is refused, never dropped.
struct Subject {
  /// A distinguished name as people write it: `CN=www.example.org,O=Example,C=DE` (RFC 4514: the most specific part first, backslash
  /// escapes) or, beginning with a slash, `/C=DE/O=Example/CN=www.example.org` (as `openssl req -subj`).
  std::string name;
  /// `DNS:www.example.org`, `IP:192.0.2.7`, `email:a@example.org`, `URI:https://example.org/`
  std::vector<std::string> alternatives;
};

/// A to-be-signed part made by OpenSSL, and the signature put to it that a token has made.
class Unsigned {
 public:
  /// PKCS#10. Throws usage (64) for a name or alternative that is malformed.
  static Unsigned request(const PublicKey& key, const Subject& subject);
  /// Self-signed X.509 v3: an end entity (CA:FALSE), digitalSignature. `serial`: at most 20 octets, positive.
  static Unsigned certificate(const PublicKey& key, const Subject& subject, UnixTime from, UnixTime until, ByteView serial);
  Unsigned(Unsigned&&) noexcept;
  Unsigned& operator=(Unsigned&&) noexcept;
  ~Unsigned();

  /// DER of what has to be signed by the key's scheme.
  [[nodiscard]] Bytes to_be_signed() const;
  /// PEM, once OpenSSL has verified it as a reader would. Throws internal (70) where it does not verify.
  [[nodiscard]] std::string attach(ByteView signature);

 private:
  struct Impl;
  explicit Unsigned(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace kmtool::crypto
