#include "kmtool/tlog/note.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/error.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/crypto/digest.hpp"

namespace kmtool::tlog {
namespace {

constexpr std::size_t largest_note = std::size_t{1} << 20;
constexpr std::size_t most_signatures = 100;
constexpr std::size_t key_id_size = 4;
constexpr std::string_view signature_start = "\xe2\x80\x94 ";  // em dash and space

constexpr std::uint8_t type_ed25519 = 1, type_ecdsa = 2;

Error bad_note(const std::string& what) { return Error::tampered("not a signed note: " + what); }
Error bad_checkpoint(const std::string& what) { return Error::tampered("not a checkpoint: " + what); }

/// C2SP signed-note: non-empty UTF-8 without Unicode spaces and plus signs.
bool is_signer_name(std::string_view name) {
  constexpr std::array<std::string_view, 19> wide_spaces{
      "\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81", "\xe2\x80\x82", "\xe2\x80\x83",
      "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86", "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a",
      "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};
  if (name.empty() || !is_utf8(name)) return false;
  const auto plain = [](char c) { return static_cast<unsigned char>(c) > 0x20 && c != 0x7f && c != '+'; };
  return std::all_of(name.begin(), name.end(), plain) &&
         std::none_of(wide_spaces.begin(), wide_spaces.end(), [&](auto space) { return name.find(space) != name.npos; });
}

/// UTF-8, no control characters but line ends.
bool is_note_text(std::string_view text) {
  return is_utf8(text) &&
         std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 && c != '\n'; });
}

NoteSignature parse_signature(std::string_view line) {
  if (!line.starts_with(signature_start)) throw bad_note("a signature line does not begin with an em dash");
  line.remove_prefix(signature_start.size());
  const auto space = line.find(' ');
  if (space == std::string_view::npos || !is_signer_name(line.substr(0, space))) throw bad_note("a signer's name is malformed");
  const auto bytes = from_base64(line.substr(space + 1));
  if (!bytes || bytes->size() <= key_id_size) throw bad_note("a signature is malformed");
  const auto body = bytes->begin() + static_cast<std::ptrdiff_t>(key_id_size);
  return {std::string(line.substr(0, space)), Bytes(bytes->begin(), body), Bytes(body, bytes->end())};
}

bool is_p256(const crypto::PublicKey& key) { return key.type() == KeyType::ec_p256; }

/// Type byte and key, as verifier keys and key ids hold them.
Bytes typed_key(const crypto::PublicKey& key) {
  if (!key.is_ed25519() && !is_p256(key)) throw Error::internal("a log signer is Ed25519 or P-256");
  Bytes bytes{key.is_ed25519() ? type_ed25519 : type_ecdsa};
  append(bytes, key.is_ed25519() ? key.ed25519_raw() : key.spki());
  return bytes;
}

bool is_good(const NoteSignature& signature, std::string_view text, const crypto::PublicKey& key) {
  if (key.is_ed25519()) return key.verify_ed25519(view(text), signature.signature);
  return key.verify_ecdsa_digest(crypto::sha256(view(text)), signature.signature);
}

std::uint64_t parse_size(std::string_view digits) {
  // Length first: from_chars would take anything up to 2^64, trees end at 2^62.
  std::uint64_t size = 0;
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), size);
  const bool whole = failure == std::errc{} && end == digits.data() + digits.size();
  if (!whole || (digits.size() > 1 && digits.front() == '0') || size > std::uint64_t{1} << 62) {
    throw bad_checkpoint("its size is malformed");
  }
  return size;
}

}  // namespace

std::string Checkpoint::body() const { return origin + "\n" + std::to_string(size) + "\n" + base64(root) + "\n"; }

std::string Note::dump() const {
  std::string note = text + "\n";
  for (const auto& signature : signatures) {
    Bytes bytes = signature.key_id;
    append(bytes, signature.signature);
    note += std::string(signature_start) + signature.name + " " + base64(bytes) + "\n";
  }
  return note;
}

Note Note::parse(std::string_view note) {
  if (note.size() > largest_note) throw bad_note("too long");
  if (!is_note_text(note)) throw bad_note("not plain UTF-8 text");
  // The text may hold empty lines; the last one divides.
  const auto divide = note.rfind("\n\n");
  if (divide == std::string_view::npos) throw bad_note("no empty line before the signatures");
  Note parsed{std::string(note.substr(0, divide + 1)), {}};
  std::string_view lines = note.substr(divide + 2);
  if (lines.empty()) throw bad_note("no signature");
  if (lines.back() != '\n') throw bad_note("its last line is cut short");
  while (!lines.empty()) {
    if (parsed.signatures.size() == most_signatures) throw bad_note("too many signatures");
    const auto end = lines.find('\n');
    parsed.signatures.push_back(parse_signature(lines.substr(0, end)));
    lines.remove_prefix(end + 1);
  }
  return parsed;
}

Bytes note_key_id(const std::string& name, const crypto::PublicKey& key) {
  Bytes hashed = typed_key(key);
  if (key.is_ed25519()) {
    Bytes prefix = to_bytes(name + "\n");
    hashed.insert(hashed.begin(), prefix.begin(), prefix.end());
  } else {
    hashed.erase(hashed.begin());  // ECDSA: of the SPKI alone (as RFC 6962 logs do)
  }
  const auto digest = crypto::sha256(hashed);
  return {digest.begin(), digest.begin() + key_id_size};
}

std::string verifier_key(const std::string& name, const crypto::PublicKey& key) {
  return name + "+" + hex(note_key_id(name, key)) + "+" + base64(typed_key(key));
}

Note sign_note(const std::string& text, const std::string& name, const crypto::PublicKey& key, const SignText& sign) {
  if (!text.ends_with('\n') || !is_note_text(text)) throw Error::internal("a note's text is lines of plain UTF-8");
  if (!is_signer_name(name)) throw Error::internal("a signer's name has neither spaces nor plus signs");
  return {text, {{name, note_key_id(name, key), sign(view(text))}}};
}

bool verify_note(const Note& note, const std::string& name, const crypto::PublicKey& key) {
  if (!key.is_ed25519() && !is_p256(key)) return false;
  const Bytes id = note_key_id(name, key);
  bool found = false;
  for (const auto& signature : note.signatures) {
    if (signature.name != name || signature.key_id != id) continue;
    if (!is_good(signature, note.text, key)) return false;
    found = true;
  }
  return found;
}

Checkpoint parse_checkpoint(const std::string& text) {
  const auto lines = split(text, '\n');
  // Three lines, each ended: the fourth part is what stands after the last LF, nothing.
  if (lines.size() != 4 || !lines[3].empty()) throw bad_checkpoint("three lines are wanted");
  if (lines[0].empty() || !is_note_text(lines[0])) throw bad_checkpoint("its origin is malformed");
  Checkpoint checkpoint{lines[0], parse_size(lines[1]), {}};
  const auto root = from_base64(lines[2]);
  if (!root || root->size() != checkpoint.root.size()) throw bad_checkpoint("its root is malformed");
  std::copy(root->begin(), root->end(), checkpoint.root.begin());
  return checkpoint;
}

}  // namespace kmtool::tlog
