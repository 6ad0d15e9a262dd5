#include <doctest/doctest.h>
#include <sqlite3.h>

#include <filesystem>
#include <fstream>

#include "core/temp_dir.hpp"
#include "kmtool/apikey/usage_spool.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/error.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/journal/usage_store.hpp"

using namespace kmtool;
using namespace kmtool::apikey;

namespace {

constexpr UnixTime time_of_test = 1800000000;
const std::string id = "0123456789";

UsageCounts some(std::uint64_t allowed, std::uint64_t denied = 0) {
  UsageCounts counts;
  auto& count = counts[id];
  count.allowed = allowed;
  count.denied[static_cast<std::size_t>(Rule::ip)] = denied;
  count.last_allowed = time_of_test;
  count.sources[Address::parse("192.0.2.1").value()] = {allowed, time_of_test - 5, time_of_test};
  count.peak = allowed;
  count.peak_at = time_of_test;
  return counts;
}

std::function<std::string()> uuids() {
  return [n = std::uint8_t{0}]() mutable { return uuid_text(Bytes(16, ++n)); };
}

struct Read {
  std::uint64_t allowed = 0, batches = 0, torn = 0;
};
Read read_all(const std::filesystem::path& folder, std::map<std::string, std::uint64_t>& taken) {
  Read read;
  read_spool(
      folder, [&](const std::string& spool) { return taken[spool]; },
      [&](UsageBatch&& batch) {
        ++read.batches;
        taken[batch.spool] = batch.batch;
        for (const auto& [key, count] : batch.keys) read.allowed += count.allowed;
      },
      [&](const std::filesystem::path&) { ++read.torn; });
  return read;
}

}  // namespace

TEST_CASE("a batch comes back as it was written") {
  UsageBatch batch{uuid_text(Bytes(16, 7)), 3, time_of_test, time_of_test + 10, some(4, 2)};
  const auto line = to_line(batch);
  const auto back = parse_batch(std::string_view(line).substr(0, line.size() - 1), "F", 1);
  CHECK(back.spool == batch.spool);
  CHECK(back.batch == 3);
  CHECK(back.keys == batch.keys);
}

TEST_CASE("every batch is taken once, also where the folder is read again") {
  const test::TempDir dir;
  SpoolWriter writer(dir / "state", uuids());
  writer.write(some(1), time_of_test, time_of_test);
  writer.write(some(2), time_of_test, time_of_test);
  writer.write({}, time_of_test, time_of_test);
  std::map<std::string, std::uint64_t> taken;
  auto read = read_all(dir / "state", taken);
  CHECK(read.batches == 2);
  CHECK(read.allowed == 3);
  writer.write(some(4), time_of_test, time_of_test);
  read = read_all(dir / "state", taken);
  CHECK(read.batches == 1);
  CHECK(read.allowed == 4);
}

TEST_CASE("a crash tears the last line alone; anything else is damage") {
  const test::TempDir dir;
  const auto folder = dir / "state";
  SpoolWriter writer(folder, uuids());
  for (int i = 0; i < 3; ++i) writer.write(some(1), time_of_test, time_of_test);
  const auto whole = read_file(writer.file());
  const auto put = [&](const std::string& text) { std::ofstream(writer.file(), std::ios::trunc) << text; };
  const auto last = whole.rfind('\n', whole.size() - 2) + 1;
  for (std::size_t cut = last; cut < whole.size(); ++cut) {
    put(whole.substr(0, cut));
    std::map<std::string, std::uint64_t> taken;
    const auto read = read_all(folder, taken);
    const bool whole_line = cut + 1 == whole.size();  // but for its LF
    CHECK(read.batches == (whole_line ? 3 : 2));
    CHECK(read.torn == (cut == last || whole_line ? 0 : 1));
  }
  put(whole.substr(0, last) + std::string(100, '\0'));  // what some file systems leave after a power cut
  std::map<std::string, std::uint64_t> taken;
  CHECK(read_all(folder, taken).batches == 2);
  for (std::size_t at = 10; at < last; at += 11) {
    auto changed = whole;
    changed[at] = changed[at] == '5' ? '6' : '5';
    put(changed);
    taken.clear();
    CHECK_THROWS_AS(read_all(folder, taken), Error);
  }
  put(whole.substr(last) + whole.substr(0, last));  // the order is part of it
  taken.clear();
  CHECK_THROWS_AS(read_all(folder, taken), Error);
}

TEST_CASE("what could not be written is not counted, and the next call begins a new spool") {
  const test::TempDir dir;
  SpoolWriter writer(dir / "state", uuids());
  writer.write(some(1), time_of_test, time_of_test);
  const auto first = writer.file();
  UsageCounter counter;
  counter.put_back(some(2));
  counter.put_back(some(3));
  CHECK(counter.take().at(id).allowed == 5);
  CHECK(counter.empty());
  CHECK(std::filesystem::exists(first));
}

TEST_CASE("the counter: who proved nothing is counted under the id that was named, or under none") {
  UsageCounter counter;
  KeyEntry entry;
  entry.id = id;
  Verdict allowed, wrong, stranger;
  allowed.allowed = true;
  allowed.rule = Rule::none;
  allowed.key = &entry;
  wrong.rule = Rule::secret;
  wrong.named_id = entry.id;
  stranger.rule = Rule::unknown;
  Request request;
  request.time = time_of_test;
  request.set_client("192.0.2.1");
  for (int i = 0; i < 3; ++i) counter.count(allowed, request);
  counter.count(wrong, request);
  counter.count(stranger, request);
  ++request.time;
  counter.count(allowed, request);
  const auto counts = counter.take();
  CHECK(counts.at(id).allowed == 4);
  CHECK(counts.at(id).denied[static_cast<std::size_t>(Rule::secret)] == 1);
  CHECK(counts.at(id).peak == 4);
  CHECK(counts.at(id).peak_at == time_of_test);
  CHECK(counts.at(unknown_id).denied[static_cast<std::size_t>(Rule::unknown)] == 1);
  CHECK(counts.at(unknown_id).sources.empty());
}

TEST_CASE("a second that two batches share is added up, and a batch has only its own part of it") {
  UsageCounter counter;
  KeyEntry entry;
  entry.id = id;
  Verdict verdict;
  verdict.allowed = true;
  verdict.rule = Rule::none;
  verdict.key = &entry;
  Request request;
  request.time = time_of_test;
  for (int i = 0; i < 5; ++i) counter.count(verdict, request);
  auto first = counter.take();
  for (int i = 0; i < 3; ++i) counter.count(verdict, request);
  const auto second = counter.take();
  CHECK(second.at(id).peak == 3);
  first.at(id).add(second.at(id));
  CHECK(first.at(id).peak == 8);
  request.time += 1;
  for (int i = 0; i < 6; ++i) counter.count(verdict, request);
  first.at(id).add(counter.take().at(id));
  CHECK(first.at(id).peak == 8);
  CHECK(first.at(id).peak_at == time_of_test);
}

TEST_CASE("the usage database sees a burst of which every process counted one") {
  const test::TempDir dir;
  auto store = journal::UsageStore::open(dir / "usage.db");
  const auto one = [](UnixTime at, std::uint64_t requests = 1) {
    journal::UsageStore::Delta delta;
    delta.key = id;
    delta.hour = at - at % 3600;
    delta.counts["allowed"] = requests;
    delta.peak = requests;
    delta.peak_at = at;
    return delta;
  };
  for (int i = 0; i < 60; ++i) store.add({one(time_of_test)});
  for (int i = 0; i < 40; ++i) store.add({one(time_of_test + 1)});
  CHECK(store.seen().at(id).peak == 60);
  CHECK(store.seen().at(id).peak_at == time_of_test);
  // Two gateways, one after the other.
  store.add({one(time_of_test + 10, 100)});
  store.add({one(time_of_test + 3000, 30)});
  store.add({one(time_of_test + 10, 70)});
  CHECK(store.seen().at(id).peak == 170);
  // An older peak does not hide a newer, lower one.
  const UnixTime later = time_of_test + 100000;
  for (int i = 0; i < 55; ++i) store.add({one(later)});
  CHECK(store.seen().at(id).peak == 170);
  CHECK(store.peaks(later - 3600).at(id).count == 55);
  CHECK(store.peaks(later - 3600).at(id).at == later);
  CHECK(store.peaks(0).at(id).count == 170);
  CHECK(store.peaks(later + 1).empty());
  store.prune(later + 40 * 86400);
  CHECK(store.peaks(0).empty());
  CHECK(store.seen().at(id).peak == 170);
  store.copy_to(dir / "copy.db");
  CHECK(journal::UsageStore::open_existing(dir / "copy.db")->totals() == store.totals());
}

TEST_CASE("a usage database of version 1 is taken over") {
  const test::TempDir dir;
  const auto file = dir / "usage.db";
  { auto store = journal::UsageStore::open(file); }
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open(file.c_str(), &db) == SQLITE_OK);
  REQUIRE(sqlite3_exec(db, "DROP TABLE seconds; DROP TABLE peaks; PRAGMA user_version = 1", nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(db);
  auto store = journal::UsageStore::open(file);
  CHECK(store.peaks(0).empty());
}

TEST_CASE("sources are bounded") {
  UsageCounter counter;
  KeyEntry entry;
  entry.id = id;
  Verdict verdict;
  verdict.allowed = true;
  verdict.rule = Rule::none;
  verdict.key = &entry;
  Request request;
  for (int i = 0; i < 1000; ++i) {
    const auto address = "10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250);
    request.set_client(address);
    counter.count(verdict, request);
  }
  const auto counts = counter.take();
  CHECK(counts.at(id).sources.size() == most_sources);
  CHECK(counts.at(id).more_sources == 1000 - most_sources);
  CHECK(counts.at(id).allowed == 1000);
}

TEST_CASE("the usage database: batches once, hours become days, sources bounded, private") {
  const test::TempDir dir;
  const auto file = dir.path() / "usage.db";
  CHECK_FALSE(journal::UsageStore::open_existing(file).has_value());
  auto store = journal::UsageStore::open(file);
  CHECK((std::filesystem::status(file).permissions() & std::filesystem::perms::all) == std::filesystem::perms(0600));
  const auto delta = [](UnixTime hour, std::uint64_t allowed) {
    journal::UsageStore::Delta made;
    made.key = id;
    made.hour = hour;
    made.counts["allowed"] = allowed;
    made.last_allowed = hour + 1;
    return made;
  };
  const UnixTime hour = time_of_test - time_of_test % 3600;
  CHECK(store.add_batch("spool", 1, hour, {delta(hour, 5)}));
  CHECK_FALSE(store.add_batch("spool", 1, hour, {delta(hour, 5)}));
  CHECK(store.add_batch("spool", 2, hour, {delta(hour, 5)}));
  CHECK(store.last_batch("spool") == 2);
  CHECK(store.totals().at(id).at("allowed") == 10);
  const UnixTime old = hour - 40 * 86400;
  for (int i = 0; i < 24; ++i) store.add({delta(old - old % 86400 + i * 3600, 1)});
  CHECK(store.counts(id, 0).size() == 25);
  store.prune(hour);
  store.prune(hour);
  CHECK(store.counts(id, 0).size() == 2);
  CHECK(store.counts(id, 0)[0].count == 24);
  store.prune(hour + 500 * 86400);
  CHECK(store.counts(id, 0).empty());
  CHECK(store.totals().at(id).at("allowed") == 34);
  for (int i = 0; i < 300; ++i) {
    auto more = delta(hour, 1);
    more.sources = {{"10.0.0." + std::to_string(i), 1, hour, hour}};
    store.add({more});
  }
  CHECK(store.sources(id).size() == journal::UsageStore::most_sources);
  CHECK(store.seen().at(id).more_sources == 300 - journal::UsageStore::most_sources);
}

TEST_CASE("a usage database that somebody put a trigger into, or that others can write, is not used") {
  const test::TempDir dir;
  const auto file = dir.path() / "usage.db";
  { const auto store = journal::UsageStore::open(file); }
  std::filesystem::permissions(file, std::filesystem::perms(0666));
  CHECK_THROWS_AS(journal::UsageStore::open(file), Error);
  std::filesystem::permissions(file, std::filesystem::perms(0600));
  CHECK_NOTHROW(journal::UsageStore::open(file));
  std::filesystem::create_symlink(file, dir.path() / "link");
  CHECK_THROWS_AS(journal::UsageStore::open(dir.path() / "link"), Error);
}
