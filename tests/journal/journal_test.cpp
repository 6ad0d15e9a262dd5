#include "kmtool/journal/journal.hpp"

#include <doctest/doctest.h>
#include <sqlite3.h>

#include "core/temp_dir.hpp"
#include "crypto/test_key.hpp"
#include "kmtool/core/encoding.hpp"

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

  static Draft draft(std::vector<Change> changes) {
    Draft draft;
    draft.phase = Phase::note;
    draft.command = "test";
    draft.target = "t";
    draft.result = "done";
    draft.authenticated = true;
    draft.changes = std::move(changes);
    return draft;
  }
  void add(Journal& journal, std::vector<Change> changes) const {
    journal.append(draft(std::move(changes)), {0, "user", "host"}, 1700000000, &signer);
  }
  void sql(const std::string& text) const {
    sqlite3* db = nullptr;
    REQUIRE(sqlite3_open(file.c_str(), &db) == SQLITE_OK);
    CHECK_MESSAGE(sqlite3_exec(db, text.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK, sqlite3_errmsg(db));
    sqlite3_close(db);
  }
  void make() const {
    auto journal = Journal::create(file);
    add(journal, {{"key", "a", Json{{"n", 1}}}, {"key", "b", Json{{"n", 1}}}});
    add(journal, {{"key", "a", Json{{"n", 2}}}});
    add(journal, {{"version", "a@1", Json{{"s", "active"}}}});
  }
  /// Opens, proves the head and every row.
  void prove() const {
    auto journal = Journal::open(file, Journal::Mode::write);
    journal.trust_head(journal.check_head(origin, key));
    for (const char* kind : {"key", "version"}) (void)journal.proven_all(kind);
  }
  [[nodiscard]] int exit_of_prove() const {
    try {
      prove();
    } catch (const Error& error) {
      return static_cast<int>(error.exit());
    }
    return 0;
  }
};

}  // namespace

TEST_CASE("rows are proven under the signed head") {
  const Fixture f;
  f.make();
  auto journal = Journal::open(f.file, Journal::Mode::write);
  CHECK(journal.size() == 3);
  const auto head = journal.check_head(origin, f.key);
  CHECK(head.checkpoint.size == 3);
  journal.trust_head(head);
  CHECK(journal.proven("key", "a")->json().at("n") == 2);
  CHECK(journal.proven("key", "a")->seq == 1);
  CHECK_FALSE(journal.proven("key", "c").has_value());
  CHECK(journal.proven_all("key").size() == 2);
  CHECK(journal.contains_root(2, journal.root(2)));
  CHECK_FALSE(journal.contains_root(1, journal.root(2)));
  CHECK_FALSE(journal.contains_root(4, journal.root(2)));
}

TEST_CASE("every change behind kmtool's back is found") {
  const char* attacks[] = {
      "UPDATE items SET value = '{\"n\":1}' WHERE id = 'a'",                        // an older, genuine value
      "UPDATE items SET seq = 0 WHERE id = 'a'",                                    //
      "DELETE FROM items WHERE id = 'b'",                                           //
      "INSERT INTO items SELECT 'key', 'c', bucket, value, seq FROM items WHERE id = 'b'",
      "UPDATE items SET bucket = (bucket + 1) % 256 WHERE id = 'b'",                //
      "UPDATE buckets SET digest = zeroblob(32)",                                   //
      "UPDATE entries SET data = replace(data, 'user', 'oser') WHERE seq = 2",      //
      "DELETE FROM entries WHERE seq = 2",                                          //
      "DELETE FROM checkpoints",                                                    //
      "DELETE FROM checkpoints WHERE size = 3",                                     // the entry behind it claims a login
      "UPDATE checkpoints SET note = replace(note, 'kmtool/test', 'kmtool/tost')",  //
      "UPDATE hashes SET hash = zeroblob(32)",                                      //
  };
  for (const char* attack : attacks) {
    CAPTURE(attack);
    const Fixture f;
    f.make();
    CHECK(f.exit_of_prove() == 0);
    f.sql(attack);
    CHECK(f.exit_of_prove() == 65);
  }
}

TEST_CASE("a planted entry behind the checkpoint is found, an unauthenticated one stands") {
  const Fixture f;
  f.make();
  {
    auto journal = Journal::open(f.file, Journal::Mode::write);
    Draft refusal;
    refusal.phase = Phase::refusal;
    refusal.command = "gen";
    refusal.result = "refused";
    journal.append(refusal, {0, "user", "host"}, 1700000001, nullptr);
  }
  CHECK(f.exit_of_prove() == 0);
  f.sql("INSERT INTO entries(seq, data) VALUES(4, '{\"authenticated\":true,\"changes\":[]}')");
  CHECK(f.exit_of_prove() == 65);
}

TEST_CASE("a signature by another key is found before anything is committed") {
  const Fixture f;
  f.make();
  const TestKey other = TestKey::of_kind("ED25519");
  auto journal = Journal::open(f.file, Journal::Mode::write);
  journal.trust_head(journal.check_head(origin, f.key));
  const LogSigner wrong{origin, f.key, [&](ByteView text) { return other.sign(text, nullptr); }};
  try {
    journal.append(Fixture::draft({{"key", "a", Json{{"n", 9}}}}), {0, "user", "host"}, 1700000000, &wrong);
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK(error.exit() == ExitCode::damaged);
  }
  CHECK(journal.size() == 3);
  CHECK(journal.proven("key", "a")->json().at("n") == 2);
}

TEST_CASE("what was proven before another process changed the catalog is not signed again") {
  const Fixture f;
  f.make();
  auto stale = Journal::open(f.file, Journal::Mode::write);
  stale.trust_head(stale.check_head(origin, f.key));
  {
    auto other = Journal::open(f.file, Journal::Mode::write);
    other.trust_head(other.check_head(origin, f.key));
    f.add(other, {{"key", "c", Json{{"n", 3}}}});
  }
  CHECK_THROWS_AS(f.add(stale, {}), Error);
  f.prove();
}

TEST_CASE("a reading is of one moment") {
  const Fixture f;
  f.make();
  auto reader = Journal::open(f.file, Journal::Mode::read);
  reader.begin_reading();
  CHECK(reader.size() == 3);
  {
    auto other = Journal::open(f.file, Journal::Mode::write);
    other.trust_head(other.check_head(origin, f.key));
    f.add(other, {});
  }
  CHECK(reader.size() == 3);
  reader.end_reading();
  CHECK(reader.size() == 4);
}

TEST_CASE("large drafts become several entries of one transaction, each under 64 KiB") {
  const Fixture f;
  auto journal = Journal::create(f.file);
  std::vector<Change> changes;
  for (int i = 0; i < 1000; ++i) changes.push_back({"key", "k" + std::to_string(i), Json{{"text", std::string(200, 'x')}}});
  f.add(journal, changes);
  CHECK(journal.size() > 3);
  journal.each_entry(0, [](const Entry& entry) {
    CHECK(entry.bytes.size() < 65536);
    return true;
  });
  journal.trust_head(journal.check_head(origin, f.key));
  CHECK(journal.proven_all("key").size() == 1000);
}

TEST_CASE("a catalog rebuilt from the entries is the catalog") {
  const Fixture f;
  f.make();
  auto journal = Journal::open(f.file, Journal::Mode::read);
  std::map<std::string, Json> rebuilt;
  journal.each_entry(0, [&](const Entry& entry) {
    const Json json = entry.json();
    for (const auto& change : json.at("changes")) {
      rebuilt[change.at("kind").get<std::string>() + " " + change.at("id").get<std::string>()] = change.at("value");
    }
    return true;
  });
  CHECK(rebuilt.size() == 3);
  for (const char* kind : {"key", "version"}) {
    for (const auto& item : journal.items(kind)) CHECK(rebuilt.at(item.kind + " " + item.id) == item.json());
  }
}
