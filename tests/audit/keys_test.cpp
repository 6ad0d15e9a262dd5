#include "kmtool/audit/keys.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

using namespace kmtool;
using namespace kmtool::audit;
using policy::ObjectFacts;
using policy::ObjectKind;
using policy::Severity;

namespace {

constexpr UnixTime now = 1795464000;  // 2026-11-23T20:00:00Z

/// A sealed, locked AES-256 key that can do nothing.
ObjectFacts sealed(const std::string& label, const std::string& id) {
  ObjectFacts out;
  out.label = label;
  out.id = id;
  out.kind = ObjectKind::secret;
  out.key = {Family::aes, 256, ""};
  out.strength = 256;
  out.is_private = out.sensitive = out.local = out.always_sensitive = out.never_extractable = true;
  out.extractable = out.modifiable = out.copyable = out.wrap_with_trusted = out.trusted = false;
  out.encrypt = out.decrypt = true;
  return out;
}

/// A report over these objects, judged as `audit keys` judges.
KeysReport report_over(std::vector<ObjectFacts> objects, const policy::TokenTraits& traits = {}) {
  KeysReport report;
  report.token.label = "vault";
  report.token.serial = "4711";
  report.time = now;
  report.objects = std::move(objects);
  for (const auto& object : report.objects) {
    for (auto& finding : policy::audit_object(policy::default_policy(), traits, object, now)) report.findings.push_back(std::move(finding));
  }
  for (auto& finding : policy::audit_set(report.objects)) report.findings.push_back(std::move(finding));
  for (auto& finding : policy::find_attacks(traits, report.objects)) report.findings.push_back(std::move(finding));
  policy::sort_findings(report.findings);
  return report;
}

struct Row {
  const char* check;
  void (*spoil)(ObjectFacts& key);
  Severity severity;
};

/// One thing wrong with an otherwise good key, and how it is called.
const Row table[] = {
    {"not-sensitive", [](ObjectFacts& key) { key.sensitive = false; key.extractable = true; }, Severity::critical},
    {"was-not-sensitive", [](ObjectFacts& key) { key.always_sensitive = false; }, Severity::medium},
    {"extractable", [](ObjectFacts& key) { key.extractable = true; }, Severity::medium},
    {"was-extractable", [](ObjectFacts& key) { key.never_extractable = false; }, Severity::low},
    {"not-private", [](ObjectFacts& key) { key.is_private = false; }, Severity::high},
    {"modifiable", [](ObjectFacts& key) { key.modifiable = true; }, Severity::medium},
    {"copyable", [](ObjectFacts& key) { key.copyable = true; }, Severity::low},
    {"imported", [](ObjectFacts& key) { key.local = false; }, Severity::medium},
    {"mixed-usage", [](ObjectFacts& key) { key.sign = true; }, Severity::high},
    {"no-usage", [](ObjectFacts& key) { key.encrypt = key.decrypt = false; }, Severity::low},
    {"trusted-misused", [](ObjectFacts& key) { key.trusted = true; }, Severity::high},
    {"no-label", [](ObjectFacts& key) { key.label.clear(); }, Severity::medium},
    {"no-id", [](ObjectFacts& key) { key.id.clear(); }, Severity::medium},
    {"algorithm", [](ObjectFacts& key) { key.key = {Family::des3, 192, ""}; key.strength = 112; }, Severity::high},
    {"algorithm", [](ObjectFacts& key) { key.key = {Family::des, 64, ""}; key.strength = 56; }, Severity::critical},
    {"derive", [](ObjectFacts& key) { key.derive = true; }, Severity::medium},
    {"wrap-decrypt", [](ObjectFacts& key) { key.wrap = true; }, Severity::high},
    {"encrypt-unwrap", [](ObjectFacts& key) { key.unwrap = true; }, Severity::high},
    {"end-date-over", [](ObjectFacts& key) { key.not_after = now; }, Severity::medium},
    {"start-date-ahead", [](ObjectFacts& key) { key.not_before = now + 1; }, Severity::low},
};

}  // namespace

TEST_CASE("a good key has no finding; each thing that is wrong with one has its own") {
  const auto good = report_over({sealed("payments", "01")});
  CHECK_MESSAGE(good.findings.empty(), (good.findings.empty() ? "" : good.findings.front().check));
  CHECK(good.keys() == 1);
  CHECK_FALSE(good.fails(Severity::low));
  for (const auto& row : table) {
    CAPTURE(std::string(row.check));
    auto key = sealed("payments", "01");
    row.spoil(key);
    const auto report = report_over({key});
    const auto found = std::find_if(report.findings.begin(), report.findings.end(), [&](const policy::Finding& finding) { return finding.check == row.check; });
    REQUIRE(found != report.findings.end());
    CHECK(found->severity == row.severity);
    CHECK(found->rule == policy::check_of(row.check).rule);
    CHECK(report.fails(row.severity));
    CHECK_FALSE(found->evidence.empty());
    CHECK_FALSE(found->fix.empty());
  }
}

TEST_CASE("dates count to the end of their day and from its beginning") {
  auto key = sealed("payments", "01");
  key.not_before = now;
  key.not_after = now + 1;
  CHECK(report_over({key}).findings.empty());
}

TEST_CASE("what narrows a key is said, and takes no finding away") {
  auto key = sealed("k", "01"), victim = sealed("victim", "02");
  key.wrap = true;
  victim.extractable = true;
  key.mechanisms = {"CKM_AES_KEY_WRAP", "CKM_AES_CBC", "CKM_AES_ECB", "CKM_AES_GCM", "CKM_AES_CTR"};
  key.wrap_template = true;
  const auto report = report_over({key, victim});
  const auto found = std::find_if(report.findings.begin(), report.findings.end(), [](const policy::Finding& finding) { return finding.check == "wrap-decrypt"; });
  REQUIRE(found != report.findings.end());
  CHECK(found->severity == Severity::critical);
  CHECK(found->evidence.find("CKA_ALLOWED_MECHANISMS allows CKM_AES_KEY_WRAP, CKM_AES_CBC, CKM_AES_ECB, CKM_AES_GCM, …; CKA_WRAP_TEMPLATE narrows what it wraps, if the token heeds it") !=
        std::string::npos);
}

TEST_CASE("waivers of the command line: shown, fail nothing, and policy may forbid them") {
  auto key = sealed("payments", "01");
  key.modifiable = true;
  auto report = report_over({key});
  REQUIRE(report.count(Severity::medium) == 1);
  waive(report, policy::default_policy(), {{"G-SEALED", "known"}});
  CHECK(report.count(Severity::medium) == 0);
  CHECK_FALSE(report.fails(Severity::low));
  CHECK(keys_json(report)["findings"][0]["waived"] == "known");
  CHECK(keys_sarif(report)["runs"][0]["results"][0]["suppressions"][0]["justification"] == "known");
  auto strict = policy::default_policy();
  strict.forbidden_waivers.insert("G-SEALED");
  CHECK_THROWS_AS(waive(report, strict, {{"G-SEALED", "known"}}), Error);
}

TEST_CASE("an attack's path is in every report") {
  auto key = sealed("k", "01"), victim = sealed("victim", "02");
  key.wrap = true;
  victim.extractable = true;
  const auto report = report_over({key, victim});
  const Json json = keys_json(report), sarif = keys_sarif(report);
  const auto& first = json["findings"][0];
  CHECK(first["check"] == "wrap-decrypt");
  CHECK(first["attack"] == "A1");
  CHECK(first["path"].size() == 3);
  const auto& result = sarif["runs"][0]["results"][0];
  CHECK(result["ruleId"] == "G-SEALED/wrap-decrypt");
  CHECK(sarif["runs"][0]["tool"]["driver"]["rules"][result["ruleIndex"].get<std::size_t>()]["id"] == result["ruleId"]);
  CHECK(result["codeFlows"][0]["threadFlows"][0]["locations"].size() == 3);
  CHECK(result["partialFingerprints"] == keys_sarif(report_over({key, victim}))["runs"][0]["results"][0]["partialFingerprints"]);
  CHECK(keys_html(report).find("victim") != std::string::npos);
}

TEST_CASE("labels are foreign text: nothing of them is markup, and no report breaks on them") {
  auto key = sealed("<script>alert(1)</script>\"'&\x1b[31m\xff", "01");
  key.sensitive = false;
  const auto report = report_over({key});
  const auto page = keys_html(report);
  CHECK(page.find("<script>alert") == std::string::npos);
  CHECK(page.find('\x1b') == std::string::npos);
  CHECK_NOTHROW((void)dump_json(keys_json(report)));
  CHECK_NOTHROW((void)dump_json(keys_sarif(report)));
  CHECK(dump_json(keys_json(report)).find('\x1b') == std::string::npos);
}

TEST_CASE("every check of the rulebook is a rule of the SARIF report, once") {
  const auto sarif = keys_sarif(report_over({}));
  const auto& rules = sarif["runs"][0]["tool"]["driver"]["rules"];
  std::set<std::string> ids;
  for (const auto& rule : rules) ids.insert(rule["id"].get<std::string>());
  CHECK(ids.size() == policy::checks().size());
  CHECK(rules.size() == policy::checks().size());
}
