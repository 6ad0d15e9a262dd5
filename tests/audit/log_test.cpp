#include "kmtool/audit/log.hpp"

#include <doctest/doctest.h>

#include "core/temp_dir.hpp"
#include "kmtool/core/json.hpp"

using namespace kmtool;
using namespace kmtool::audit;
using kmtool::test::TempDir;

namespace {

constexpr UnixTime now = 1795464000;  // 2026-11-23T20:00:00Z

journal::Draft draft(const std::string& command, const std::string& target, const std::string& result) {
  journal::Draft out;
  out.command = command;
  out.target = target;
  out.result = result;
  return out;
}

journal::Entry entry(const journal::Draft& what, std::uint64_t seq = 7, UnixTime time = now) {
  return {seq, journal::encode(what, seq, time, {1000, "operator", "host-1"}, "")[0]};
}

}  // namespace

TEST_CASE("filters: by key, by command's first words, by user, result and time") {
  auto gen = draft("gen", "payments@1, ledger@2", "done");
  gen.changes = {{"version", "payments@1", Json::object()}};
  const auto made = entry(gen);
  const auto passes = [&](auto set, const journal::Entry& of) {
    LogFilter filter;
    set(filter);
    return filter.passes(of);
  };
  struct Row {
    const char* key;
    bool passes;
  };
  for (const auto& row : {Row{"payments", true}, Row{"payments@1", true}, Row{"payments@10", false}, Row{"ledger", true}, Row{"ledger@2", true}, Row{"pay", false}, Row{"ments", false}}) {
    CAPTURE(row.key);
    CHECK(passes([&](LogFilter& filter) { filter.key = row.key; }, made) == row.passes);
  }
  const auto suspended = entry(draft("state suspend", "payments@1", "done"));
  CHECK(passes([](LogFilter& filter) { filter.command = "state"; }, suspended));
  CHECK(passes([](LogFilter& filter) { filter.command = "state suspend"; }, suspended));
  CHECK_FALSE(passes([](LogFilter& filter) { filter.command = "stat"; }, suspended));
  CHECK(passes([](LogFilter& filter) { filter.user = "operator"; }, made));
  CHECK_FALSE(passes([](LogFilter& filter) { filter.user = "oper"; }, made));
  CHECK(passes([](LogFilter& filter) { filter.result = "done"; }, made));
  auto intent = draft("gen", "x", "");
  intent.phase = journal::Phase::intent;
  CHECK(passes([](LogFilter& filter) { filter.result = "intent"; }, entry(intent)));
  CHECK(passes([](LogFilter& filter) { filter.since = now; }, made));
  CHECK_FALSE(passes([](LogFilter& filter) { filter.since = now + 1; }, made));
  CHECK_FALSE(passes([](LogFilter& filter) { filter.until = now; }, made));
}

TEST_CASE("OCSF: managing a key and using one are different classes; a refusal is a failure") {
  const Json made = Json::parse(log_ocsf(entry(draft("gen", "payments@1", "done")), "kmtool/x"));
  CHECK(made["class_uid"] == 3004);
  CHECK(made["activity_name"] == "Create");
  CHECK(made["type_uid"] == 300401);
  CHECK(made["status"] == "Success");
  CHECK(made["metadata"]["uid"] == "kmtool/x/7");
  CHECK(made["time"] == now * 1000);
  const Json used = Json::parse(log_ocsf(entry(draft("sign", "code@1", "done")), "kmtool/x"));
  CHECK(used["class_uid"] == 6003);
  CHECK(used["api"]["operation"] == "sign");
  auto refusal = draft("wrap", "payments", "refused");
  refusal.details = {{"code", "G-KEK"}, {"message", "the kek is weaker"}};
  const Json refused = Json::parse(log_ocsf(entry(refusal), "kmtool/x"));
  CHECK(refused["status"] == "Failure");
  CHECK(refused["severity"] == "Medium");
  CHECK(refused["status_detail"] == "the kek is weaker");
}

TEST_CASE("CEF escapes what would end a field, and every form what a terminal would obey") {
  auto bad = draft("wrap", "a=b|c\\d\ne\x1b[31m", "failed");
  bad.details = {{"message", "x=y"}};
  const auto of = entry(bad);
  const auto cef = log_cef(of, "kmtool/x");
  CHECK(cef.starts_with("CEF:0|kmtool|kmtool|"));
  CHECK(cef.find(R"(cs1=a\=b|c\\d\ne)") != std::string::npos);
  CHECK(cef.find(R"(reason=x\=y)") != std::string::npos);
  for (const auto& line : {cef, log_line(of), log_jsonl(of), log_ocsf(of, "kmtool/x")}) {
    CHECK(line.find('\n') == std::string::npos);
    CHECK(line.find('\x1b') == std::string::npos);
  }
  CHECK(Json::parse(log_jsonl(of))["target"] == "a=b|c\\d\ne\x1b[31m");
}

TEST_CASE("what is no entry is named by its number") {
  LogFilter filter;
  filter.command = "gen";
  try {
    (void)filter.passes({12, "{\"kmjournal\":1,"});
    FAIL("it passed");
  } catch (const Error& error) {
    CHECK(error.exit() == ExitCode::damaged);
    CHECK(error.message().find("12") != std::string::npos);
  }
}

TEST_CASE("the newest few, oldest first") {
  const TempDir dir;
  auto journal = journal::Journal::create(dir / "journal.db");
  for (int i = 0; i < 5; ++i) {
    auto refusal = draft(i == 3 ? "gen" : "wrap", "k" + std::to_string(i), "refused");
    refusal.phase = journal::Phase::refusal;
    journal.append(refusal, {0, "user", "host"}, now + i, nullptr);
  }
  const auto seen = [&](const LogFilter& filter, std::uint64_t from = 0) {
    std::vector<std::uint64_t> numbers;
    const auto next = each_passing(journal, from, filter, [&](const journal::Entry& one) {
      numbers.push_back(one.seq);
      return true;
    });
    CHECK(next == 5);
    return numbers;
  };
  LogFilter filter;
  CHECK(seen(filter) == std::vector<std::uint64_t>{0, 1, 2, 3, 4});
  CHECK(seen(filter, 3) == std::vector<std::uint64_t>{3, 4});
  filter.command = "wrap";
  filter.last = 2;
  CHECK(seen(filter) == std::vector<std::uint64_t>{2, 4});
  filter.last = 0;
  CHECK(seen(filter).empty());
}

TEST_CASE("what an entry's details say in a few words, whatever they are") {
  const auto remark = [](const char* details) { return log_remark(Json::parse(details)); };
  CHECK(remark(R"({"message": "no", "reason": "why"})") == "no");
  CHECK(remark(R"({"changed": [{"field": "sessions", "old": 1, "new": 2}, {"field": "checkpoint_sink", "old": "syslog", "new": null}]})") ==
        "sessions 1 → 2, checkpoint_sink \"syslog\" → none");
  CHECK(remark(R"({"changed": [], "untold": "it is gone"})") == "no value changed; the sink so far was not told: it is gone");
  CHECK(remark(R"({"policy": {}})") == "what was accepted before is not on record");
  CHECK(remark(R"({"changed": [7, {"field": 8}]})") == "no value changed");
  for (const auto* nothing : {"{}", "7", "[]", "null", R"({"message": 7})", R"({"changed": {}})"}) CHECK(remark(nothing).empty());
}
