#pragma once
#include <string>
#include <vector>

#include "kmtool/core/stream.hpp"
#include "kmtool/op/context.hpp"
#include "kmtool/usage/encrypted_file.hpp"

namespace kmtool::usage {

struct CryptResult {
  op::VersionRecord version;
  Header header;
  std::uint64_t chunks = 0, octets = 0;  ///< of plaintext
  std::vector<std::string> warnings;
};

/// Encrypts everything that comes in, under a data key in the token, in flat memory: one C_EncryptInit and one C_Encrypt a chunk. The
/// use and the invocations it needs are journalled before the token is asked; while it works other commands have their turn.
/// `out` is nullptr for a dry run. Throws refused (77) by rule, also in the middle of a long input where the key's state has changed.
CryptResult encrypt(op::Context& context, const std::string& key, InStream& in, OutStream* out);

struct DecryptRequest {
  std::string key;      ///< NAME or NAME@VERSION instead of the one that the file names; empty: the file's
  bool stream = false;  ///< to standard output: each chunk as soon as it is verified, not only once all are
};
/// Decrypts in flat memory. A file appears once the last chunk has been verified. Standard output too sees nothing before that: what is
/// longer than 1 MiB is gone through twice, and an input that cannot be read twice is kept, encrypted as it is, in a file
/// without a name meanwhile. In a dry run (`out` is nullptr) everything is verified and nothing comes out. Throws damaged (65) for anything that is not exactly what was written.
CryptResult decrypt(op::Context& context, const DecryptRequest& request, InStream& in, OutStream* out);

}  // namespace kmtool::usage
