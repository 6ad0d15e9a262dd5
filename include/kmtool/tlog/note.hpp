#pragma once
#include <functional>
#include <string>
#include <vector>

#include "kmtool/crypto/public_key.hpp"
#include "kmtool/tlog/tree.hpp"

namespace kmtool::tlog {

/// C2SP tlog-checkpoint body: origin line, decimal size, base64 root.
struct Checkpoint {
  std::string origin;
  std::uint64_t size = 0;
  Hash root{};
  [[nodiscard]] std::string body() const;  ///< three lines, each ending in LF
};

/// One `— name base64(keyID ‖ signature)` line.
struct NoteSignature {
  std::string name;
  Bytes key_id;     ///< 4 bytes
  Bytes signature;
};
/// C2SP signed-note.
struct Note {
  std::string text;  ///< ends in LF
  std::vector<NoteSignature> signatures;
  [[nodiscard]] std::string dump() const;
  /// Strict; throws damaged (65).
  static Note parse(std::string_view note);
};

/// Key id of a log signer: Ed25519 (type 0x01) SHA-256(name ‖ LF ‖ 0x01 ‖ key)[:4]; ECDSA P-256 SHA-256(SPKI)[:4].
Bytes note_key_id(const std::string& name, const crypto::PublicKey& key);
/// `name+hex(keyID)+base64(0x01 ‖ key)` (Ed25519) or base64(0x02 ‖ SPKI).
std::string verifier_key(const std::string& name, const crypto::PublicKey& key);

/// Signs a text: Ed25519 over the text itself, ECDSA P-256 over its SHA-256 with a DER result. Done by the token.
using SignText = std::function<Bytes(ByteView text)>;
Note sign_note(const std::string& text, const std::string& name, const crypto::PublicKey& key, const SignText& sign);
/// True when one signature line is by this name and key and is good; a line by this key that is bad makes it false.
bool verify_note(const Note& note, const std::string& name, const crypto::PublicKey& key);

/// Parses a note's text as a checkpoint (extension lines are refused: ours have none). Throws damaged (65).
Checkpoint parse_checkpoint(const std::string& text);

}  // namespace kmtool::tlog
