#include "kmtool/journal/verify.hpp"

#include <functional>
#include <optional>
#include <thread>

#include "journal/ahead.hpp"
#include "journal/changes.hpp"
#include "journal/findings.hpp"
#include "journal/rebuild.hpp"
#include "journal/sqlite.hpp"
#include "journal/verify_tree.hpp"

namespace kmtool::journal {

namespace {

/// Readers open for writing too: a WAL database needs its shared memory. One thread has the connection.
constexpr int only_reading = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
constexpr std::size_t stretch_leaves = 1024;

std::string number(std::uint64_t n) { return std::to_string(n); }

/// What the database holds at the moment that is verified.
struct Moment {
  std::uint64_t entries = 0, hashes = 0, newest = 0;  ///< newest: the entries under the newest checkpoint
  bool operator==(const Moment&) const = default;
};

Moment moment_of(Database& db) {
  Statement query(db, "SELECT (SELECT coalesce(max(seq) + 1, 0) FROM entries), (SELECT coalesce(max(id) + 1, 0) FROM hashes),"
                      " (SELECT coalesce(max(size), 0) FROM checkpoints)");
  query.step();
  const auto column = [&](int i) { return static_cast<std::uint64_t>(query.integer(i)); };
  return {column(0), column(1), column(2)};
}

/// Two connections that see the same: whatever is written appends an entry.
Moment same_moment(Database& a, std::optional<Transaction>& of_a, Database& b, std::optional<Transaction>& of_b) {
  for (int tries = 0; tries < 1000; ++tries) {
    of_a.reset();
    of_b.reset();
    of_a.emplace(a, "BEGIN");
    const auto moment = moment_of(a);
    of_b.emplace(b, "BEGIN");
    if (moment_of(b) == moment) return moment;
  }
  throw Error::busy("the journal grows faster than it can be read", "try again");
}

class Reader {
 public:
  Reader(Database& db, const VerifyRequest& request, const Moment& moment, Findings& findings, Pipe<Leaves>& pipe)
      : db_(db), request_(request), moment_(moment), findings_(findings), pipe_(pipe), ahead_(db.name()) {}

  void run() {
    ahead_.at(0, moment_.entries);
    Statement entries(db_, "SELECT seq, data FROM entries ORDER BY seq");
    while (entries.step()) {
      const auto seq = static_cast<std::uint64_t>(entries.integer(0));
      if (seq != next_ && !skip_to(seq)) break;
      const auto bytes = entries.blob(1);
      const bool closes = check({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
      put({tlog::leaf_hash(bytes), true, closes});
      if (next_ % 4096 == 0) pause();
    }
    send();
    result.entries = next_;
  }

  Verified result;
  Rebuild rebuild;

 private:
  void pause() {
    ahead_.at(next_, moment_.entries);
    if (request_.progress) request_.progress("verifying", next_, moment_.entries);
    if (request_.stop != nullptr && request_.stop->requested()) throw Error(ExitCode::busy, "stopped", "stopped on request");
  }

  /// Entries that are not there stand in the tree as the hashes say. False where even the tree ends before `seq`.
  bool skip_to(std::uint64_t seq) {
    const auto last = number(seq - 1);
    findings_.add(seq == next_ + 1 ? "entry " + last + " is missing" : "entries " + number(next_) + " to " + last + " are missing");
    while (next_ < seq && tlog::stored_count(next_) < moment_.hashes) put({{}, false, false});
    if (next_ == seq) return true;
    findings_.add("entry " + number(seq) + " stands beyond the end of the tree");
    return false;
  }

  /// True when the entry closes a draft: a checkpoint stands behind it.
  bool check(std::string_view entry) {
    const std::uint64_t n = next_;
    if (!says_number(entry, n)) findings_.add("the entry at place " + number(n) + " does not say that it is number " + number(n) + ": entries were altered, removed or reordered");
    const auto marks = marks_of(entry);
    if (marks.authenticated) {
      if (!rebuild.add(n, entry, marks)) findings_.add("entry " + number(n) + " is not an entry that kmtool writes");
      if (n >= moment_.newest) findings_.add("entry " + number(n) + " claims a login but no signed checkpoint covers it: it was appended behind kmtool's back");
    } else {
      ++result.unauthenticated;
      if (n >= moment_.newest) ++result.unproven;
      if (marks.closes || !marks.changes_nothing) findings_.add("entry " + number(n) + ", made without a login, claims to change the catalog");
    }
    return marks.closes;
  }

  void put(const Leaves::Leaf& leaf) {
    batch_.leaves.push_back(leaf);
    ++next_;
    if (batch_.leaves.size() == stretch_leaves) send();
  }

  void send() {
    if (!batch_.leaves.empty() && !pipe_.put(batch_)) throw Error::internal("the thread that makes the tree has ended");
  }

  Database& db_;
  const VerifyRequest& request_;
  const Moment& moment_;
  Findings& findings_;
  Pipe<Leaves>& pipe_;
  Ahead ahead_;
  std::uint64_t next_ = 0;
  Leaves batch_;
};

std::jthread start(FirstFailure& failure, Pipe<Leaves>& leaves, Pipe<Stretch>& stretches, std::function<void()> work) {
  return std::jthread([&, work = std::move(work)] {
    try {
      work();
    } catch (...) {
      failure.keep();
      leaves.close();
      stretches.close();
    }
  });
}

}  // namespace

Verified verify(const std::filesystem::path& file, const VerifyRequest& request) {
  Database entries_db(file, only_reading), tree_db(file, only_reading);
  for (auto* db : {&entries_db, &tree_db}) db->exec("PRAGMA query_only = 1");
  std::optional<Transaction> entries_moment, tree_moment;
  const auto moment = same_moment(entries_db, entries_moment, tree_db, tree_moment);
  Findings findings;
  Pipe<Leaves> leaves;
  Pipe<Stretch> stretches;
  FirstFailure failure;
  Reader reader(entries_db, request, moment, findings, leaves);
  Tree tree(tree_db, moment.newest, findings);
  Checkpoints checkpoints(request, findings);
  {
    std::vector<std::jthread> threads;
    // One processor is the reader's, but where every signature is verified that is nearly all there is to do.
    const unsigned processors = std::max(2U, std::thread::hardware_concurrency()), workers = request.all_signatures ? processors : processors - 1;
    for (unsigned i = 0; i < workers; ++i) {
      threads.push_back(start(failure, leaves, stretches, [&] {
        for (Stretch stretch; stretches.take(stretch);) checkpoints.check(stretch);
      }));
    }
    threads.push_back(start(failure, leaves, stretches, [&] {
      Stretch stretch;
      for (Leaves part; leaves.take(part);) {
        tree.add(part, stretch);
        if (!stretches.put(stretch)) throw Error::internal("the thread that holds checkpoints against the tree has ended");
      }
      tree.finish();
      stretches.close();
    }));
    try {
      reader.run();
      leaves.close();
      reader.rebuild.compare(entries_db, findings);
    } catch (...) {
      failure.keep();
      leaves.close();
    }
  }
  failure.rethrow();
  Verified result = std::move(reader.result);
  checkpoints.report(result);
  result.checkpoints = tree.checkpoints();
  result.rows = reader.rebuild.rows();
  result.more = findings.more();
  result.findings = findings.kept();
  return result;
}

tlog::HashReader hash_reader(const std::filesystem::path& file) {
  const auto db = std::make_shared<Database>(file, only_reading);
  db->exec("PRAGMA query_only = 1");
  return [db](const std::vector<std::uint64_t>& indexes) {
    Statement query(*db, "SELECT hash FROM hashes WHERE id = ?");
    std::vector<tlog::Hash> hashes(indexes.size());
    for (std::size_t i = 0; i < indexes.size(); ++i) {
      query.bind(1, static_cast<std::int64_t>(indexes[i]));
      if (!query.step() || query.blob(0).size() != hashes[i].size()) throw Error::tampered("the journal lacks a tree hash", "kmtool audit verify says everything that is wrong");
      const auto bytes = query.blob(0);
      std::copy(bytes.begin(), bytes.end(), hashes[i].begin());
      query.reset();
    }
    return hashes;
  };
}

}  // namespace kmtool::journal
