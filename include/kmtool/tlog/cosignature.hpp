#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "kmtool/core/time.hpp"
#include "kmtool/tlog/note.hpp"

namespace kmtool::tlog {

/// C2SP tlog-cosignature, version 1: a witness says when it saw a checkpoint of a log that only grew. Ed25519, key type 0x04.

/// The text a witness signs; its first line is `cosignature/v1`, which no checkpoint's is.
std::string cosignature_text(const std::string& checkpoint_text, UnixTime time);
Bytes cosigner_key_id(const std::string& name, const crypto::PublicKey& key);
/// `name+hex(keyID)+base64(0x04 ‖ key)`
std::string cosigner_key(const std::string& name, const crypto::PublicKey& key);
NoteSignature cosign(const std::string& checkpoint_text, const std::string& name, const crypto::PublicKey& key, UnixTime time, const SignText& sign);

/// A verifier key as text: of a log (Ed25519, type 0x01; ECDSA, 0x02) or of a witness (0x04).
struct VerifierKey {
  std::string name;
  crypto::PublicKey key;
  bool witness = false;
  /// Throws usage (64): it comes from a command line.
  static VerifierKey parse(std::string_view text);
};
/// When this witness cosigned the note; nullopt where it did not. A line by it that is not good makes it nullopt.
std::optional<UnixTime> cosigned_at(const Note& note, const VerifierKey& witness);

}  // namespace kmtool::tlog
