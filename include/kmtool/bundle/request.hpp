#pragma once
#include <string>
#include <vector>

#include "kmtool/bundle/bundle.hpp"

namespace kmtool::bundle {

/// A transport request: a site's word that a public key is its own, which token opens what is wrapped to it, and by what. Two lines,
/// strict as a bundle's (kmtool-bundle(5)): the request, and a signature over every byte of it. No bundle begins like one.
struct TransportRequest {
  UnixTime created = 0;
  std::string creator;
  std::string home;  ///< id of the home that asks
  TokenNote token;   ///< where the private half lies
  std::string name;  ///< of the transport key there
  int version = 1;
  KeyType type = KeyType::rsa4096;
  State state = State::active;
  std::optional<UnixTime> expires;
  Bytes public_spki;
  std::vector<Transport> algorithms;  ///< what that token was probed to open; best first, at least one
};
struct SignedRequest {
  TransportRequest request;
  Signature signature;
  Bytes signed_digest;  ///< SHA-256 of the first line with its LF
};

/// Both lines. `sign` as for a bundle.
std::string write_request(const TransportRequest& request, const SignFunction& sign, const std::string& signer_fingerprint);
/// True when a text begins as a request does; everything else is taken for PEM.
bool looks_like_request(std::string_view text);
/// Throws damaged (65) with `NAME: line N: …`. The signature is not checked.
SignedRequest read_request(std::string_view text, const std::string& name);
/// As signature_by() of a bundle.
bool signature_by(const SignedRequest& request, const crypto::PublicKey& signer, const std::string& file_name);

}  // namespace kmtool::bundle
