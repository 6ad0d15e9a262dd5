#include "kmtool/journal/verify.hpp"

#include <bit>
#include <exception>
#include <thread>

#include "journal/changes.hpp"
#include "journal/findings.hpp"
#include "journal/rebuild.hpp"
#include "journal/sqlite.hpp"
#include "journal/verify.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/crypto/digest.hpp"

namespace kmtool::journal {

namespace {

/// Readers open for writing too: a WAL database needs its shared memory. One thread has the connection.
constexpr int only_reading = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
constexpr std::size_t batch_entries = 1024, batch_bytes = std::size_t{1} << 20;

std::string number(std::uint64_t n) { return std::to_string(n); }

// -- the tree: one thread hashes what the other reads ----------------------------------------------------------------------

class Tree {
 public:
  Tree(const VerifyRequest& request, Findings& findings) : request_(request), findings_(findings) {}

  void add(const Batch& batch) {
    std::size_t begin = 0, stored = 0, note = 0;
    for (std::size_t i = 0; i < batch.ends.size(); ++i) {
      const std::uint64_t n = batch.first + i;
      const auto bytes = view(std::string_view(batch.bytes).substr(begin, batch.ends[i] - begin));
      stored += add_entry(n, bytes, &batch.stored[stored]);
      begin = batch.ends[i];
      if (note < batch.notes.size() && batch.notes[note].first == n + 1) check_note(n + 1, batch.note(note++).second);
    }
    if (request_.all_signatures) check_signatures(batch);
  }

  [[nodiscard]] std::uint64_t signatures() const { return signatures_; }
  [[nodiscard]] std::uint64_t newest() const { return newest_; }
  [[nodiscard]] const tlog::Hash& newest_root() const { return newest_root_; }

 private:
  using Stored = std::pair<bool, tlog::Hash>;

  /// Adds a leaf and the subtrees it completes; how many stored hashes these were.
  std::size_t add_entry(std::uint64_t n, ByteView bytes, const Stored* stored) {
    tlog::Hash hash = bytes.empty() ? stored[0].second : crypto::sha256(bytes);
    bool as_stored = true;
    if (!stored[0].first) {
      findings_.add("the tree has no hash of entry " + number(n) + ": the entry was appended behind kmtool's back, or the hash removed");
      as_stored = false;
    } else if (hash != stored[0].second) {
      findings_.add("entry " + number(n) + " is not what was recorded: it was altered, or another put in its place");
      hash = stored[0].second;  // so that what else is wrong shows
    }
    std::size_t level = 0;
    for (; ((n >> level) & 1) != 0; ++level) {
      hash = tlog::node_hash(levels_[level], hash);
      const Stored& kept = stored[level + 1];
      if (as_stored && (!kept.first || kept.second != hash)) {
        findings_.add("the tree's hash over entries " + number(n + 1 - (std::uint64_t{2} << level)) + " to " + number(n) + " was altered");
      }
    }
    levels_[level] = hash;
    return level + 1;
  }

  [[nodiscard]] tlog::Hash root(std::uint64_t size) const {
    auto level = static_cast<std::size_t>(std::countr_zero(size));
    tlog::Hash hash = levels_[level];
    for (size >>= ++level; size != 0; size >>= 1, ++level) {
      if ((size & 1) != 0) hash = tlog::node_hash(levels_[level], hash);
    }
    return hash;
  }

  void check_note(std::uint64_t size, std::string_view note) {
    const auto found = root(size);
    text_.assign(request_.origin).push_back('\n');
    text_.append(number(size)).push_back('\n');
    text_.append(base64(found)).append("\n\n\xe2\x80\x94 ");
    if (note.starts_with(text_)) {
      newest_ = size;
      newest_root_ = found;
    } else if (!genuine(size, note)) {
      findings_.add("the checkpoint over the first " + number(size) + " entries was altered");
    } else if (!other_entries_) {
      other_entries_ = true;  // and so are all later ones
      findings_.add("the checkpoint over the first " + number(size) + " entries is genuine, but these are not the entries it was signed over: among entries " +
                    number(newest_) + " to " + number(size - 1) + " something was altered, and the tree's hashes were made to fit");
    }
  }

  [[nodiscard]] bool genuine(std::uint64_t size, std::string_view text) const {
    try {
      const std::string note(text);
      return tlog::parse_checkpoint(tlog::Note::parse(note).text).size == size && request_.signature && request_.signature(size, note);
    } catch (const Error&) {
      return false;
    }
  }

  void check_signatures(const Batch& batch) {
    const std::size_t workers = std::min<std::size_t>(std::max(1U, std::thread::hardware_concurrency()), batch.notes.size() / 16 + 1);
    const auto work = [&](std::size_t from) {
      for (std::size_t i = from; i < batch.notes.size(); i += workers) {
        const auto [size, note] = batch.note(i);
        if (!genuine(size, note)) findings_.add("the checkpoint over the first " + number(size) + " entries is not signed by this home's log signer of that time");
      }
    };
    {
      std::vector<std::jthread> others;
      for (std::size_t i = 1; i < workers; ++i) others.emplace_back(work, i);
      work(0);
    }
    signatures_ += batch.notes.size();
  }

  const VerifyRequest& request_;
  Findings& findings_;
  std::array<tlog::Hash, 64> levels_{};  ///< of the complete subtrees so far, one a level
  std::string text_;
  std::uint64_t newest_ = 0, signatures_ = 0;
  tlog::Hash newest_root_{};
  bool other_entries_ = false;
};

// -- the reader ----------------------------------------------------------------------------------------------------------------

class Reader {
 public:
  Reader(Database& db, const VerifyRequest& request, Findings& findings, Pipe& pipe)
      : db_(db), request_(request), findings_(findings), pipe_(pipe),
        hashes_(db_, "SELECT id, hash FROM hashes ORDER BY id"), notes_(db_, "SELECT size, note FROM checkpoints ORDER BY size") {
    more_hashes_ = hashes_.step();
    more_notes_ = notes_.step();
    Statement newest(db_, "SELECT coalesce(max(size), 0), count(*) FROM checkpoints");
    newest.step();
    newest_ = static_cast<std::uint64_t>(newest.integer(0));
    result.checkpoints = static_cast<std::uint64_t>(newest.integer(1));
    Statement stored(db_, "SELECT coalesce(max(id) + 1, 0) FROM hashes");
    stored.step();
    stored_ = static_cast<std::uint64_t>(stored.integer(0));
    Statement count(db_, "SELECT coalesce(max(seq) + 1, 0) FROM entries");
    count.step();
    total_ = static_cast<std::uint64_t>(count.integer(0));
  }

  void run() {
    Statement entries(db_, "SELECT seq, data FROM entries ORDER BY seq");
    while (entries.step()) {
      const auto seq = static_cast<std::uint64_t>(entries.integer(0));
      if (seq != next_ && !skip_to(seq)) break;
      const auto bytes = entries.blob(1);
      check({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
      put(bytes);
      if (next_ % 4096 == 0) pause();
    }
    send();
    finish();
    rebuild.compare(db_, findings_);
  }

  Verified result;
  Rebuild rebuild;

 private:
  void pause() {
    if (request_.progress) request_.progress("verifying", next_, total_);
    if (request_.stop != nullptr && request_.stop->requested()) throw Error(ExitCode::busy, "stopped", "stopped on request");
  }

  /// Entries that are not there stand in the tree as the hashes say. False where even the tree ends before `seq`.
  bool skip_to(std::uint64_t seq) {
    const auto last = number(seq - 1);
    findings_.add(seq == next_ + 1 ? "entry " + last + " is missing" : "entries " + number(next_) + " to " + last + " are missing");
    while (next_ < seq && tlog::stored_count(next_) < stored_) put({});
    if (next_ == seq) return true;
    findings_.add("entry " + number(seq) + " stands beyond the end of the tree");
    return false;
  }

  void check(std::string_view entry) {
    const std::uint64_t n = next_;
    if (!says_number(entry, n)) findings_.add("the entry at place " + number(n) + " does not say that it is number " + number(n) + ": entries were altered, removed or reordered");
    const bool closes = closes_draft(entry);
    bool readable = true;
    if (says_authenticated(entry)) {
      readable = rebuild.add(n, entry);
      if (n >= newest_) findings_.add("entry " + number(n) + " claims a login but no signed checkpoint covers it: it was appended behind kmtool's back");
    } else {
      ++result.unauthenticated;
      if (n >= newest_) ++result.unproven;
      if (closes || !changes_nothing(entry)) findings_.add("entry " + number(n) + ", made without a login, claims to change the catalog");
    }
    if (!readable) findings_.add("entry " + number(n) + " is not an entry that kmtool writes");
    check_cover(n, closes);
  }

  void check_cover(std::uint64_t n, bool closes) {
    const bool covered = more_notes_ && static_cast<std::uint64_t>(notes_.integer(0)) == n + 1;
    if (closes && !covered && n < newest_) findings_.add("the checkpoint over the first " + number(n + 1) + " entries is missing");
    if (covered && !closes) findings_.add("a checkpoint over the first " + number(n + 1) + " entries stands where none was made");
  }

  void put(ByteView entry) {
    if (!entry.empty()) {
      batch_.bytes.push_back('\0');
      batch_.bytes.append(reinterpret_cast<const char*>(entry.data()), entry.size());
    }
    batch_.ends.push_back(batch_.bytes.size());
    const std::uint64_t end = tlog::stored_count(next_ + 1);
    for (std::uint64_t id = tlog::stored_count(next_); id < end; ++id) batch_.stored.push_back(take_hash(id));
    ++next_;
    while (more_notes_ && static_cast<std::uint64_t>(notes_.integer(0)) <= next_) {
      const auto size = static_cast<std::uint64_t>(notes_.integer(0));
      if (size == next_) add_note(size, notes_.blob(1));
      else findings_.add("there is a checkpoint over " + std::to_string(notes_.integer(0)) + " entries");
      more_notes_ = notes_.step();
    }
    if (batch_.ends.size() == batch_entries || batch_.bytes.size() >= batch_bytes) send();
  }

  void add_note(std::uint64_t size, ByteView note) {
    batch_.note_bytes.append(reinterpret_cast<const char*>(note.data()), note.size());
    batch_.notes.emplace_back(size, batch_.note_bytes.size());
  }

  std::pair<bool, tlog::Hash> take_hash(std::uint64_t id) {
    std::pair<bool, tlog::Hash> found{false, {}};
    if (!more_hashes_ || static_cast<std::uint64_t>(hashes_.integer(0)) != id) return found;
    const auto bytes = hashes_.blob(1);
    found.first = bytes.size() == found.second.size();
    if (found.first) std::copy(bytes.begin(), bytes.end(), found.second.begin());
    more_hashes_ = hashes_.step();
    return found;
  }

  void send() {
    if (batch_.ends.empty()) return;
    if (!pipe_.put(batch_)) throw Error::internal("the thread that hashes has ended");
    batch_.first = next_;
  }

  void finish() {
    result.entries = next_;
    if (more_hashes_) findings_.add("the tree speaks of more than " + number(next_) + " entries: entries were removed from the journal's end");
    for (; more_notes_; more_notes_ = notes_.step()) {
      findings_.add("there is a checkpoint over " + number(static_cast<std::uint64_t>(notes_.integer(0))) + " entries, the journal has " + number(next_) +
                    ": entries were removed from its end, or the checkpoint altered");
    }
    if (newest_ == 0) findings_.add("the journal has no signed checkpoint");
  }

  Database& db_;
  const VerifyRequest& request_;
  Findings& findings_;
  Pipe& pipe_;
  Statement hashes_, notes_;
  bool more_hashes_ = false, more_notes_ = false;
  std::uint64_t next_ = 0, newest_ = 0, stored_ = 0, total_ = 0;
  Batch batch_;
};

}  // namespace

Verified verify(const std::filesystem::path& file, const VerifyRequest& request) {
  Database db(file, only_reading);
  db.exec("PRAGMA query_only = 1");
  const Transaction moment(db, "BEGIN");
  Findings findings;
  Pipe pipe;
  Tree tree(request, findings);
  std::exception_ptr failure;
  std::jthread hashing([&] {
    try {
      for (Batch batch; pipe.take(batch);) tree.add(batch);
    } catch (...) {
      failure = std::current_exception();
      pipe.close();
    }
  });
  Reader reader(db, request, findings, pipe);
  const auto end = [&] {
    pipe.close();
    if (hashing.joinable()) hashing.join();
    if (failure) std::rethrow_exception(failure);
  };
  try {
    reader.run();
  } catch (...) {
    end();  // the other thread's failure is the reason, where there is one
    throw;
  }
  end();
  Verified result = std::move(reader.result);
  result.rows = reader.rebuild.rows();
  result.signatures = tree.signatures();
  result.size = tree.newest();
  result.root = tree.newest_root();
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
