#include "kmtool/tlog/cosignature.hpp"

#include <array>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/error.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/crypto/digest.hpp"

namespace kmtool::tlog {

namespace {

constexpr std::uint8_t type_ed25519 = 1, type_ecdsa = 2, type_cosignature = 4;
constexpr std::size_t time_size = 8, ed25519_size = 64, ed25519_key = 32;
/// DER of an Ed25519 SubjectPublicKeyInfo up to the key itself (RFC 8410).
constexpr std::array<std::uint8_t, 12> ed25519_spki{0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

Error bad_key(const std::string& what) {
  return Error::usage("not a verifier key: " + what, "it looks like NAME+12345678+BASE64, on one line");
}

Bytes typed(std::uint8_t type, ByteView key) {
  Bytes bytes{type};
  append(bytes, key);
  return bytes;
}

crypto::PublicKey key_from(ByteView typed_key) {
  if (typed_key[0] == type_ecdsa) return crypto::PublicKey::from_spki(typed_key.subspan(1));
  if (typed_key.size() != 1 + ed25519_key || (typed_key[0] != type_ed25519 && typed_key[0] != type_cosignature)) throw bad_key("its kind is unknown");
  Bytes spki(ed25519_spki.begin(), ed25519_spki.end());
  append(spki, typed_key.subspan(1));
  return crypto::PublicKey::from_spki(spki);
}

}  // namespace

std::string cosignature_text(const std::string& checkpoint_text, UnixTime time) {
  return "cosignature/v1\ntime " + std::to_string(time) + "\n" + checkpoint_text;
}

Bytes cosigner_key_id(const std::string& name, const crypto::PublicKey& key) {
  Bytes hashed = to_bytes(name + "\n");
  append(hashed, typed(type_cosignature, key.ed25519_raw()));
  const auto digest = crypto::sha256(hashed);
  return {digest.begin(), digest.begin() + 4};
}

std::string cosigner_key(const std::string& name, const crypto::PublicKey& key) {
  return name + "+" + hex(cosigner_key_id(name, key)) + "+" + base64(typed(type_cosignature, key.ed25519_raw()));
}

NoteSignature cosign(const std::string& checkpoint_text, const std::string& name, const crypto::PublicKey& key, UnixTime time, const SignText& sign) {
  const auto text = cosignature_text(checkpoint_text, time);
  Bytes signature = big_endian(static_cast<std::uint64_t>(time), time_size);
  append(signature, sign(view(text)));
  return {name, cosigner_key_id(name, key), std::move(signature)};
}

VerifierKey VerifierKey::parse(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  // Base64 has plus signs too: the first two divide.
  const auto first = text.find('+');
  const auto second = first == std::string_view::npos ? first : text.find('+', first + 1);
  if (second == std::string_view::npos || first == 0) throw bad_key("it has not three parts");
  const auto id = from_hex(text.substr(first + 1, second - first - 1));
  const auto bytes = from_base64(text.substr(second + 1));
  if (!id || id->size() != 4 || !bytes || bytes->size() < 2) throw bad_key("a part of it is malformed");
  const std::string name(text.substr(0, first));
  VerifierKey found{name, key_from(*bytes), (*bytes)[0] == type_cosignature};
  if (*id != (found.witness ? cosigner_key_id(name, found.key) : note_key_id(name, found.key))) throw bad_key("its id does not belong to name and key");
  return found;
}

std::optional<UnixTime> cosigned_at(const Note& note, const VerifierKey& witness) {
  if (!witness.witness) return std::nullopt;
  const auto id = cosigner_key_id(witness.name, witness.key);
  std::optional<UnixTime> found;
  for (const auto& line : note.signatures) {
    if (line.name != witness.name || line.key_id != id) continue;
    if (line.signature.size() != time_size + ed25519_size) return std::nullopt;
    std::uint64_t time = 0;
    for (std::size_t i = 0; i < time_size; ++i) time = time << 8 | line.signature[i];
    if (time > 0x7fffffffffffffff) return std::nullopt;
    const auto at = static_cast<UnixTime>(time);
    const ByteView signature = ByteView(line.signature).subspan(time_size);
    if (!witness.key.verify_ed25519(view(cosignature_text(note.text, at)), signature)) return std::nullopt;
    found = at;
  }
  return found;
}

}  // namespace kmtool::tlog
