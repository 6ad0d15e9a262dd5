#pragma once
#include "kmtool/core/bytes.hpp"

namespace kmtool::bundle {

/// What seals are made over: a domain line, so that no other HMAC by the same key passes for a seal, and the digest of all above.
inline Bytes seal_message(ByteView sha512) {
  Bytes message = to_bytes("kmbundle-seal-v1\n");
  append(message, sha512);
  return message;
}

}  // namespace kmtool::bundle
