#pragma once
#include <string>
#include <vector>

#include "kmtool/crypto/certificate.hpp"
#include "kmtool/op/context.hpp"

namespace kmtool::usage {

struct Certified {
  op::VersionRecord version;
  crypto::Scheme scheme = crypto::Scheme::ecdsa_p256_sha256;
  std::string pem;     ///< empty for a dry run
  std::string serial;  ///< of a certificate, hex
  UnixTime until = 0;  ///< of a certificate
  std::vector<std::string> warnings;
};
/// A PKCS#10 request, signed in the token with a sign key.
Certified request_certificate(op::Context& context, const std::string& key, const crypto::Subject& subject);
/// A self-signed certificate, from now on for `days`.
Certified self_sign(op::Context& context, const std::string& key, const crypto::Subject& subject, int days);

}  // namespace kmtool::usage
