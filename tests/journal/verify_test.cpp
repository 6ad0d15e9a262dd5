#include "kmtool/journal/verify.hpp"

#include <doctest/doctest.h>
#include <sqlite3.h>

#include "core/temp_dir.hpp"
#include "crypto/test_key.hpp"
#include "journal/changes.hpp"

using namespace kmtool;
using namespace kmtool::journal;
using kmtool::test::TempDir;
using kmtool::test::TestKey;

namespace {

const std::string origin = "kmtool/test";

struct Fixture {
  TempDir dir;
  std::filesystem::path file = dir / "journal.db";
  TestKey pair = TestKey::of_kind("ED25519");
  crypto::PublicKey key = crypto::PublicKey::from_spki(pair.spki());
  LogSigner signer{origin, key, [this](ByteView text) { return pair.sign(text, nullptr); }};

  /// Entries 0 to 5: three authenticated, one without a login, a long one in parts, one that removes.
  Fixture() {
    auto journal = Journal::create(file);
    add(journal, {{"key", "a", Json{{"n", 1}}}, {"key", "b \"quoted\"\n", Json{{"n", "x\"}],\"y"}}}});
    add(journal, {{"key", "a", Json{{"n", 2}}}});
    add(journal, {});
    auto refusal = draft({});
    refusal.phase = Phase::refusal;
    refusal.result = "refused";
    refusal.authenticated = false;
    refusal.details = {{"message", "wrong PIN \"authenticated\":true,"}};
    journal.append(refusal, {0, "user", "host"}, 1700000000, nullptr);
    std::vector<Change> many;
    for (int i = 0; i < 3; ++i) many.push_back({"bundle-part", "p" + std::to_string(i), Json(std::string(25000, 'x'))});
    add(journal, many);
    add(journal, {{"key", "b \"quoted\"\n", std::nullopt}, {"key", "c", Json{{"changes", Json::array({1})}}}});
  }
  static Draft draft(std::vector<Change> changes) {
    Draft draft;
    draft.command = "test";
    draft.result = "done";
    draft.authenticated = true;
    draft.details = {{"changes", Json::array({Json{{"kind", "key"}, {"id", "z"}, {"value", 1}}})}};
    draft.changes = std::move(changes);
    return draft;
  }
  void add(Journal& journal, std::vector<Change> changes) const { journal.append(draft(std::move(changes)), {0, "user", "host"}, 1700000000, &signer); }
  void sql(const std::string& text) const {
    sqlite3* db = nullptr;
    REQUIRE(sqlite3_open(file.c_str(), &db) == SQLITE_OK);
    CHECK_MESSAGE(sqlite3_exec(db, text.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK, sqlite3_errmsg(db));
    sqlite3_close(db);
  }
  [[nodiscard]] Verified run(bool all_signatures = false) const {
    VerifyRequest request;
    request.origin = origin;
    request.all_signatures = all_signatures;
    request.signature = [this](std::uint64_t, const std::string& note) { return tlog::verify_note(tlog::Note::parse(note), origin, key); };
    return verify(file, request);
  }
  /// The one finding there must be; its text.
  [[nodiscard]] std::string only_finding(bool all_signatures = false) const {
    const auto found = run(all_signatures).findings;
    REQUIRE_MESSAGE(found.size() == 1, (found.empty() ? "nothing found" : found[0] + " | " + found.back()));
    return found[0];
  }
  [[nodiscard]] bool finds(const std::string& text) const {
    for (const auto& finding : run(true).findings) {
      if (finding.find(text) != std::string::npos) return true;
    }
    return false;
  }
};

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a journal as kmtool wrote it verifies") {
  const Fixture f;
  for (const bool all : {false, true}) {
    const auto found = f.run(all);
    CHECK(found.findings.empty());
    CHECK(found.entries == 7);
    CHECK(found.size == 7);
    CHECK(found.checkpoints == 5);
    CHECK(found.signatures == (all ? 5 : 0));
    CHECK(found.unauthenticated == 1);
    CHECK(found.unproven == 0);
    CHECK(found.rows == 5);
    CHECK(found.root == Journal::open(f.file, Journal::Mode::read).root(7));
  }
}

TEST_CASE("entries: altered, removed, reordered, appended") {
  const Fixture f;
  SUBCASE("altered") {
    f.sql("UPDATE entries SET data = replace(data, '\"n\":2', '\"n\":3') WHERE seq = 1");
    CHECK(f.finds("entry 1 is not what was recorded"));
    CHECK(f.finds("key a is not what entry 1 says"));
  }
  SUBCASE("an unauthenticated one, altered") {
    f.sql("UPDATE entries SET data = replace(data, 'wrong', 'right') WHERE seq = 3");
    CHECK(contains(f.only_finding(), "entry 3 is not what was recorded"));
  }
  SUBCASE("removed from the middle") {
    f.sql("DELETE FROM entries WHERE seq = 2");
    CHECK(contains(f.run().findings.at(0), "entry 2 is missing"));
  }
  SUBCASE("removed from the beginning") {
    f.sql("DELETE FROM entries WHERE seq < 2");
    CHECK(f.finds("entries 0 to 1 are missing"));
  }
  SUBCASE("removed from the end") {
    f.sql("DELETE FROM entries WHERE seq = 6");
    CHECK(f.finds("removed from the journal's end"));
    CHECK(f.finds("there is a checkpoint over 7 entries, the journal has 6"));
  }
  SUBCASE("reordered") {
    f.sql("CREATE TEMP TABLE swapped AS SELECT 3 - seq AS seq, data FROM entries WHERE seq IN (1, 2);"
          "UPDATE entries SET data = (SELECT data FROM swapped WHERE swapped.seq = entries.seq) WHERE seq IN (1, 2)");
    CHECK(f.finds("entry at place 1 does not say that it is number 1"));
    CHECK(f.finds("entry 2 is not what was recorded"));
  }
  SUBCASE("appended") {
    f.sql("INSERT INTO entries(seq, data) SELECT 7, replace(data, '\"seq\":6', '\"seq\":7') FROM entries WHERE seq = 6");
    CHECK(f.finds("entry 7 claims a login but no signed checkpoint covers it"));
    CHECK(f.finds("the tree has no hash of entry 7"));
  }
  SUBCASE("far away") {
    f.sql("INSERT INTO entries(seq, data) VALUES(4611686018427387904, 'x')");
    CHECK(f.finds("stands beyond the end of the tree"));
  }
  SUBCASE("emptied") {
    f.sql("DELETE FROM entries");
    CHECK(f.finds("the journal has 0"));
  }
}

TEST_CASE("hashes and checkpoints") {
  const Fixture f;
  SUBCASE("a subtree's hash") {
    f.sql("UPDATE hashes SET hash = zeroblob(32) WHERE id = 2");
    CHECK(contains(f.only_finding(), "the tree's hash over entries 0 to 1 was altered"));
  }
  SUBCASE("a leaf's hash lost") {
    f.sql("DELETE FROM hashes WHERE id = 4");
    CHECK(f.finds("the tree has no hash of entry 3"));
  }
  SUBCASE("too many hashes") {
    f.sql("INSERT INTO hashes(id, hash) SELECT max(id) + 1, zeroblob(32) FROM hashes");
    CHECK(f.finds("the tree speaks of more than 7 entries"));
  }
  SUBCASE("a root") {
    f.sql("UPDATE checkpoints SET note = (SELECT replace(c.note, char(10) || '2' || char(10), char(10) || '3' || char(10)) FROM checkpoints c WHERE c.size = 2) WHERE size = 3");
    CHECK(contains(f.only_finding(), "the checkpoint over the first 3 entries was altered"));
  }
  SUBCASE("an old signature: found when all are verified") {
    f.sql("UPDATE checkpoints SET note = (SELECT substr(checkpoints.note, 1, instr(checkpoints.note, '—') - 1) || substr(c.note, instr(c.note, '—')) FROM checkpoints c"
          " WHERE c.size = 2) WHERE size = 3");
    CHECK(f.run().findings.empty());
    CHECK(contains(f.only_finding(true), "the checkpoint over the first 3 entries is not signed"));
  }
  SUBCASE("removed") {
    f.sql("DELETE FROM checkpoints WHERE size = 2");
    CHECK(contains(f.only_finding(), "the checkpoint over the first 2 entries is missing"));
  }
  SUBCASE("the newest removed") {
    f.sql("DELETE FROM checkpoints WHERE size = 7");
    CHECK(f.finds("entry 6 claims a login but no signed checkpoint covers it"));
  }
  SUBCASE("one too many") {
    f.sql("INSERT INTO checkpoints(size, note) SELECT 4, note FROM checkpoints WHERE size = 3");
    CHECK(f.finds("a checkpoint over the first 4 entries stands where none was made"));
  }
  SUBCASE("all removed") {
    f.sql("DELETE FROM checkpoints");
    CHECK(f.finds("the journal has no signed checkpoint"));
  }
}

TEST_CASE("entries altered and the hashes made to fit") {
  const Fixture f;
  // A second journal with another entry 2 gives the hashes that fit.
  const Fixture other;
  f.sql("ATTACH '" + other.file.string() + "' AS o; UPDATE o.entries SET data = data; UPDATE entries SET data = replace(data, '\"user\":\"user\"', '\"user\":\"evil\"') WHERE seq = 2");
  const auto bytes = Journal::open(f.file, Journal::Mode::read).entry(2).bytes;
  auto hash_of = [](const tlog::Hash& hash) { return "x'" + [&] { std::string t; for (auto b : hash) { char h[3]; std::snprintf(h, 3, "%02x", b); t += h; } return t; }() + "'"; };
  const auto leaf = tlog::leaf_hash(view(bytes));
  const auto read = hash_reader(f.file);
  const auto pair = tlog::node_hash(leaf, read({tlog::stored_index(0, 3)})[0]);
  const auto four = tlog::node_hash(read({tlog::stored_index(1, 0)})[0], pair);
  f.sql("UPDATE hashes SET hash = " + hash_of(leaf) + " WHERE id = " + std::to_string(tlog::stored_index(0, 2)));
  f.sql("UPDATE hashes SET hash = " + hash_of(pair) + " WHERE id = " + std::to_string(tlog::stored_index(1, 1)));
  f.sql("UPDATE hashes SET hash = " + hash_of(four) + " WHERE id = " + std::to_string(tlog::stored_index(2, 0)));
  CHECK(contains(f.only_finding(), "the checkpoint over the first 3 entries is genuine, but these are not the entries it was signed over: entry 2 was altered"));
}

TEST_CASE("the catalog against the entries") {
  const Fixture f;
  SUBCASE("altered") {
    f.sql("UPDATE items SET value = '{\"n\":1}' WHERE id = 'a'");
    CHECK(contains(f.only_finding(), "row key a is not what entry 1 says"));
  }
  SUBCASE("put back") {
    f.sql("UPDATE items SET value = '{\"n\":1}', seq = 0 WHERE id = 'a'");
    CHECK(contains(f.only_finding(), "row key a says that entry 0 set it, but entry 1 did"));
  }
  SUBCASE("added") {
    f.sql("INSERT INTO items(kind, id, bucket, value, seq) VALUES('key', 'z', 1, '1', 0)");
    CHECK(contains(f.only_finding(), "row key z is in no entry"));
  }
  SUBCASE("removed, from a draft in parts") {
    f.sql("DELETE FROM items WHERE id = 'p0'");
    CHECK(contains(f.only_finding(), "lacks row bundle-part p0"));
  }
}

TEST_CASE("changes are found as the JSON says them") {
  std::vector<std::string> seen;
  const auto visit = [&](const RawChange& change) { seen.push_back(change.kind + "|" + change.id + "|" + std::string(change.value)); };
  CHECK(each_change(R"({"a":"\\\"","details":{"changes":[{"x":1}]},"changes":[{"kind":"k","id":"i\"\u0041","value":{"v":[1,"}"]}},{"kind":"k","id":"j","value":null}],"catalog":"00"})", {}, visit));
  CHECK(seen == std::vector<std::string>{R"(k|i"A|{"v":[1,"}"]})", "k|j|"});
  for (const auto* bad : {"", "{", "{}", R"({"changes":[})", R"({"changes":[]}x)", R"({"changes":[{"kind":"k"}]})", R"({"changes":[{"kind":1,"id":"i","value":1}]})",
                          R"({"changes":[],"changes":[]})", R"({"changes":"[]"})", R"({"a":"x)", R"({"a":])", "{\"a\":\"\\"}) {
    CHECK_FALSE(each_change(bad, {}, [](const RawChange&) {}));
  }
  const std::string_view whole = R"({"kmjournal":1,"command":",\"authenticated\":true,","authenticated":false,"policy":"","details":{"a":1,"details":{},"changes":[2]},"changes":[{"kind":"k","id":"z","value":[]}]})";
  const auto marks = marks_of(whole);
  CHECK_FALSE(marks.authenticated);
  CHECK_FALSE(marks.closes);
  CHECK_FALSE(marks.changes_nothing);
  seen.clear();
  CHECK(each_change(whole, marks, visit));
  CHECK(seen == std::vector<std::string>{"k|z|[]"});
  CHECK(marks_of(R"({"authenticated":1,"authenticated":true,"details":{},"changes":[]})").changes_nothing);
  CHECK_FALSE(marks_of("").changes_nothing);
  CHECK(says_number(R"({"kmjournal":1,"seq":10,"time")", 10));
  CHECK_FALSE(says_number(R"({"kmjournal":1,"seq":10,"time")", 1));
  CHECK_FALSE(says_number(R"({"kmjournal":1,"seq":010,)", 10));
}
