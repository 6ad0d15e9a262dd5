#include "kmtool/tlog/tiles.hpp"

#include <doctest/doctest.h>

#include "crypto/test_key.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/error.hpp"
#include "kmtool/tlog/cosignature.hpp"
#include "kmtool/tlog/proof_file.hpp"

using namespace kmtool;
using namespace kmtool::tlog;

TEST_CASE("tiles have the paths of C2SP tlog-tiles") {
  CHECK(tile_path(0, 0) == "tile/0/000");
  CHECK(tile_path(1, 999, 12) == "tile/1/999.p/12");
  CHECK(tile_path(0, 1000) == "tile/0/x001/000");
  CHECK(tile_path(2, 1234067, 1) == "tile/2/x001/x234/067.p/1");
  CHECK(entries_path(5, 255) == "tile/entries/005.p/255");
  CHECK_THROWS_AS(tile_path(0, 0, 0), Error);
  CHECK_THROWS_AS(tile_path(0, 0, 257), Error);
}

TEST_CASE("bundles of entries") {
  Bytes bundle;
  add_to_bundle(bundle, "one");
  add_to_bundle(bundle, "");
  add_to_bundle(bundle, std::string(300, 'x'));
  const auto text = to_text(bundle);
  const auto entries = split_bundle(text);
  REQUIRE(entries.size() == 3);
  CHECK(entries[0] == "one");
  CHECK(entries[1].empty());
  CHECK(entries[2].size() == 300);
  CHECK(hex(ByteView(bundle).first(7)) == "00036f6e650000");
  for (std::size_t cut = 1; cut < text.size(); ++cut) {
    const bool whole = cut == 5 || cut == 7;
    if (whole) CHECK_NOTHROW(split_bundle(std::string_view(text).substr(0, cut)));
    else CHECK_THROWS_AS(split_bundle(std::string_view(text).substr(0, cut)), Error);
  }
  CHECK_THROWS_AS(add_to_bundle(bundle, std::string(65536, 'x')), Error);
}

TEST_CASE("a growing tree is the stored one") {
  std::vector<Hash> stored;
  const HashReader read = [&](const std::vector<std::uint64_t>& indexes) {
    std::vector<Hash> found;
    for (const auto index : indexes) found.push_back(stored.at(index));
    return found;
  };
  Growing tree;
  CHECK(tree.root() == empty_root());
  for (std::uint64_t n = 0; n < 600; ++n) {
    const auto leaf = leaf_hash(view(std::to_string(n)));
    for (const auto& hash : hashes_for_append(n, leaf, read)) stored.push_back(hash);
    tree.add(leaf, [&](unsigned level, std::uint64_t i, const Hash& hash) { CHECK(stored.at(stored_index(level, i)) == hash); });
    CHECK(tree.size() == n + 1);
    CHECK(tree.root() == root_of(n + 1, read));
  }
  CHECK(tile_bytes(read(tile_indexes(1, 0, 2))).size() == 64);
}

TEST_CASE("proof files say what they were made of, and nothing else is one") {
  const InclusionFile inclusion{7, to_bytes("entry"), {leaf_hash({}), empty_root()}, "note\n1\nroot\n\n\xe2\x80\x94 n AAAAAAA=\n"};
  const auto text = inclusion.dump();
  CHECK(text.starts_with("c2sp.org/tlog-proof@v1\nextra ZW50cnk=\nindex 7\n"));
  const auto again = InclusionFile::parse(text);
  CHECK(again.index == 7);
  CHECK(again.extra == inclusion.extra);
  CHECK(again.proof == inclusion.proof);
  CHECK(again.checkpoint == inclusion.checkpoint);
  const ConsistencyFile consistency{3, {empty_root()}, inclusion.checkpoint};
  CHECK(ConsistencyFile::is(consistency.dump()));
  CHECK(ConsistencyFile::parse(consistency.dump()).old_size == 3);
  CHECK(ConsistencyFile::parse(consistency.dump()).proof == consistency.proof);
  for (const auto* bad : {"", "c2sp.org/tlog-proof@v1\n", "c2sp.org/tlog-proof@v1\nindex 01\n\n", "c2sp.org/tlog-proof@v1\nextra !\nindex 1\n\n", "c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\n",
                          "c2sp.org/tlog-proof@v1\nindex 1x\n\n", "c2sp.org/tlog-proof@v2\nindex 1\n\n", "c2sp.org/tlog-proof@v1\nindex 1\n"}) {
    CHECK_THROWS_AS(InclusionFile::parse(bad), Error);
  }
  std::string many = "old 1\n";
  for (int i = 0; i < 64; ++i) many += base64(empty_root()) + "\n";
  CHECK_THROWS_AS(ConsistencyFile::parse(many + "\nx"), Error);
}

TEST_CASE("cosignatures") {
  const auto pair = kmtool::test::TestKey::of_kind("ED25519");
  const auto key = crypto::PublicKey::from_spki(pair.spki());
  const std::string text = "log\n5\n" + base64(empty_root()) + "\n";
  const SignText sign = [&](ByteView what) { return pair.sign(what, nullptr); };
  CHECK(cosignature_text(text, 1700000000) == "cosignature/v1\ntime 1700000000\n" + text);
  Note note{text, {cosign(text, "witness.example", key, 1700000000, sign)}};
  CHECK(note.signatures[0].signature.size() == 72);
  const auto witness = VerifierKey::parse(cosigner_key("witness.example", key) + "\n");
  CHECK(witness.witness);
  CHECK(witness.name == "witness.example");
  CHECK(cosigned_at(Note::parse(note.dump()), witness) == 1700000000);
  // The same key as a log's is another signer.
  const auto log = VerifierKey::parse(verifier_key("witness.example", key));
  CHECK_FALSE(log.witness);
  CHECK_FALSE(cosigned_at(note, log).has_value());
  CHECK_FALSE(verify_note(note, "witness.example", key));
  SUBCASE("another time") {
    note.signatures[0].signature[7] ^= 1;
    CHECK_FALSE(cosigned_at(note, witness).has_value());
  }
  SUBCASE("another text") {
    note.text = "log\n6\n" + base64(empty_root()) + "\n";
    CHECK_FALSE(cosigned_at(note, witness).has_value());
  }
  SUBCASE("cut short") {
    note.signatures[0].signature.pop_back();
    CHECK_FALSE(cosigned_at(note, witness).has_value());
  }
  for (const auto* bad : {"", "a+b", "a+12345678+AQ==", "+12345678+AQID", "a+1234+BAA=", "a+12345678+"}) CHECK_THROWS_AS(VerifierKey::parse(bad), Error);
  auto wrong_id = cosigner_key("w", key);
  wrong_id[2] = wrong_id[2] == '0' ? '1' : '0';
  CHECK_THROWS_AS(VerifierKey::parse(wrong_id), Error);
}
