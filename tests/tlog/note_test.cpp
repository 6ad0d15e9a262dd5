#include "kmtool/tlog/note.hpp"

#include <doctest/doctest.h>

#include "core/temp_dir.hpp"
#include "crypto/test_key.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/error.hpp"
#include "kmtool/crypto/digest.hpp"

using namespace kmtool;
using namespace kmtool::tlog;
using kmtool::test::TestKey;

namespace {

/// The example of golang.org/x/mod/sumdb/note.
const std::string go_verifier = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const std::string go_text =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const std::string go_note =
    go_text +
    "\n\xe2\x80\x94 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

crypto::PublicKey go_key() {
  const Bytes typed = from_base64("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").value();
  return crypto::PublicKey::from_ec(from_hex("06032b6570").value(), ByteView(typed).subspan(1));
}

SignText signer_of(const TestKey& key, const EVP_MD* hash) {
  return [&key, hash](ByteView text) { return key.sign(text, hash); };
}

bool refused(std::string_view note) {
  return test::exit_of([&] { Note::parse(note); }) == ExitCode::damaged;
}

const std::string dash = "\xe2\x80\x94 ";

}  // namespace

TEST_CASE("the note that Go's package shows") {
  const Note note = Note::parse(go_note);
  CHECK(note.text == go_text);
  REQUIRE(note.signatures.size() == 1);
  CHECK(note.signatures[0].name == "PeterNeumann");
  CHECK(hex(note.signatures[0].key_id) == "c74f20a3");
  CHECK(note.signatures[0].signature.size() == 64);
  CHECK(note.dump() == go_note);
  CHECK(verifier_key("PeterNeumann", go_key()) == go_verifier);
  CHECK(hex(note_key_id("PeterNeumann", go_key())) == "c74f20a3");
  CHECK(verify_note(note, "PeterNeumann", go_key()));
  CHECK_FALSE(verify_note(note, "PeterNeuman", go_key()));
  Note changed = note;
  changed.text[0] = 'i';
  CHECK_FALSE(verify_note(changed, "PeterNeumann", go_key()));
}

TEST_CASE("signing and verifying, Ed25519 and P-256") {
  const TestKey ed = TestKey::of_kind("ED25519"), ec = TestKey::ec("P-256"), other = TestKey::of_kind("ED25519");
  const std::string text = "kmtool/home\n5\n" + base64(empty_root()) + "\n";
  for (const auto& [pair, hash] : {std::pair{&ed, static_cast<const EVP_MD*>(nullptr)}, std::pair{&ec, EVP_sha256()}}) {
    const auto key = crypto::PublicKey::from_spki(pair->spki());
    const Note note = sign_note(text, "kmtool/home", key, signer_of(*pair, hash));
    const Note parsed = Note::parse(note.dump());
    CHECK(parsed.dump() == note.dump());
    CHECK(verify_note(parsed, "kmtool/home", key));
    CHECK_FALSE(verify_note(parsed, "another", key));
    CHECK_FALSE(verify_note(parsed, "kmtool/home", crypto::PublicKey::from_spki(other.spki())));
    Note damaged = parsed;
    damaged.signatures[0].signature.back() = static_cast<std::uint8_t>(damaged.signatures[0].signature.back() ^ 1);
    CHECK_FALSE(verify_note(damaged, "kmtool/home", key));
  }
  const auto p256 = crypto::PublicKey::from_spki(ec.spki());
  const auto digest = crypto::sha256(ec.spki());
  CHECK(note_key_id("any", p256) == Bytes(digest.begin(), digest.begin() + 4));
  CHECK(verifier_key("n", p256).starts_with("n+" + hex(ByteView(digest).first(4)) + "+AjBZ"));  // 0x02, then the SPKI: 0x30 0x59
}

TEST_CASE("several signatures") {
  const TestKey a = TestKey::of_kind("ED25519"), b = TestKey::of_kind("ED25519");
  const auto key_a = crypto::PublicKey::from_spki(a.spki()), key_b = crypto::PublicKey::from_spki(b.spki());
  Note note = sign_note("text\n", "a", key_a, signer_of(a, nullptr));
  const Note by_b = sign_note("text\n", "b", key_b, signer_of(b, nullptr));
  note.signatures.push_back(by_b.signatures[0]);
  CHECK(verify_note(note, "a", key_a));
  CHECK(verify_note(note, "b", key_b));
  // A bad line by somebody else does not matter; a bad one by this key does, even beside a good one.
  note.signatures[1].signature[0] = static_cast<std::uint8_t>(note.signatures[1].signature[0] ^ 1);
  CHECK(verify_note(note, "a", key_a));
  CHECK_FALSE(verify_note(note, "b", key_b));
  note.signatures.push_back(by_b.signatures[0]);
  CHECK_FALSE(verify_note(note, "b", key_b));
  CHECK_FALSE(verify_note({"text\n", {}}, "a", key_a));
}

TEST_CASE("keys that sign no logs, names and texts that are none") {
  const TestKey ed = TestKey::of_kind("ED25519"), p384 = TestKey::ec("P-384");
  const auto key = crypto::PublicKey::from_spki(ed.spki()), wrong = crypto::PublicKey::from_spki(p384.spki());
  CHECK_THROWS_AS(note_key_id("n", wrong), Error);
  CHECK_THROWS_AS(verifier_key("n", wrong), Error);
  CHECK_FALSE(verify_note({"text\n", {}}, "n", wrong));
  for (const char* text : {"", "no line end", "tab\t\n", "\xff\n"})
    CHECK_THROWS_AS(sign_note(text, "n", key, signer_of(ed, nullptr)), Error);
  for (const char* name : {"", "a b", "a+b", "a\n", "a\xc2\xa0", "\xff"}) {
    CHECK_THROWS_AS(sign_note("text\n", name, key, signer_of(ed, nullptr)), Error);
  }
}

TEST_CASE("a note's text may hold empty lines; the last one divides") {
  const Note note = Note::parse("a\n\nb\n\n" + dash + "n AAAAAAA=\n");
  CHECK(note.text == "a\n\nb\n");
  CHECK(note.signatures.size() == 1);
}

TEST_CASE("notes that are none") {
  const std::string line = dash + "n AAAAAAA=\n";
  REQUIRE_FALSE(Note::parse("t\n\n" + line).signatures.empty());
  for (const std::string& bad : std::vector<std::string>{std::string(),
                                                         std::string("t\n"),
                                                         std::string("t\n\n"),
                                                         "t\n" + line,
                                                         "t\n\n" + line + "\n",
                                                         "t\n\n" + line + "x\n",
                                                         "t\n\n" + line.substr(0, line.size() - 1),
                                                         "t\n\n- n AAAAAAA=\n",
                                                         "t\n\n" + dash + "n\n",
                                                         "t\n\n" + dash + "AAAAAAA=\n",
                                                         "t\n\n" + dash + " AAAAAAA=\n",
                                                         "t\n\n" + dash + "a+b AAAAAAA=\n",
                                                         "t\n\n" + dash + "n  AAAAAAA=\n",
                                                         "t\n\n" + dash + "n AAAAAAA\n",
                                                         "t\n\n" + dash + "n AAAAAAB=\n",
                                                         "t\n\n" + dash + "n AAAAAA==\n",
                                                         "t\n\n" + dash + "n \n",
                                                         "t\n\n" + dash + "n AAAAAAA= \n",
                                                         "t\r\n\n" + line,
                                                         "t\t\n\n" + line,
                                                         "\xff\n\n" + line,
                                                         "t\n\n " + line,
                                                         "t\n\n" + dash +
                                                             "a\xe2\x80\x83"
                                                             "b AAAAAAA=\n",
                                                         std::string("t\0\n\n", 4) + line}) {
    CAPTURE(bad);
    CHECK(refused(bad));
  }
  std::string many = "t\n\n";
  for (int i = 0; i < 101; ++i) many += line;
  CHECK(refused(many));
  CHECK(refused(std::string(2 << 20, 't') + "\n\n" + line));
}

TEST_CASE("checkpoints") {
  const Checkpoint checkpoint{"kmtool/5f", 12345, empty_root()};
  CHECK(checkpoint.body() == "kmtool/5f\n12345\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n");
  const Checkpoint parsed = parse_checkpoint(checkpoint.body());
  CHECK(parsed.origin == checkpoint.origin);
  CHECK(parsed.size == checkpoint.size);
  CHECK(parsed.root == checkpoint.root);
  CHECK(parse_checkpoint("o\n0\n" + base64(empty_root()) + "\n").size == 0);
}

TEST_CASE("checkpoints that are none") {
  const std::string root = base64(empty_root());
  for (const std::string& bad : std::vector<std::string>{std::string(),
                                                         std::string("\n"),
                                                         "o\n1\n" + root,
                                                         "o\n1\n" + root + "\nextension\n",
                                                         "o\n1\n" + root + "\n\n",
                                                         "\n1\n" + root + "\n",
                                                         "o\n\n" + root + "\n",
                                                         "o\n01\n" + root + "\n",
                                                         "o\n+1\n" + root + "\n",
                                                         "o\n-1\n" + root + "\n",
                                                         "o\n 1\n" + root + "\n",
                                                         "o\n1 \n" + root + "\n",
                                                         "o\n0x1\n" + root + "\n",
                                                         "o\n18446744073709551616\n" + root + "\n",
                                                         "o\n18446744073709551615\n" + root + "\n",
                                                         "o\n1\n" + root.substr(0, 43) + "\n",
                                                         "o\n1\nAAAA\n",
                                                         "o\n1\n\n",
                                                         "o\n1\n" + root + "A===\n",
                                                         "o\r\n1\n" + root + "\n",
                                                         "\xff\n1\n" + root + "\n"}) {
    CAPTURE(bad);
    CHECK(test::exit_of([&] { parse_checkpoint(bad); }) == ExitCode::damaged);
  }
}
