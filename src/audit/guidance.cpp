#include "kmtool/audit/guidance.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>

#include "guidance_facts.hpp"
#include "kmtool/core/count.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::audit {
namespace {

using policy::Severity;

// -- keys and token ---------------------------------------------------------------------------------------------------------

void generation(const GuidanceFacts& facts, GuidanceLine& line) {
  const auto& context = facts.context;
  line.evidence.push_back(fmt::format("{} of {} key versions were generated in the token, {} unwrapped from bundles, {} adopted", facts.origin("generated"), facts.alive.size(), facts.origin("unwrapped") + facts.origin("imported"), facts.origin("adopted")));
  line.evidence.push_back(facts.profile.local_correct ? "the token tells generated keys from imported ones (CKA_LOCAL), and that was read back" : "the token does not tell generated keys from imported ones (CKA_LOCAL): the journal is the only witness");
  const auto& validation = context.home.config.validation;
  line.evidence.push_back(validation ? "recorded validation: " + validation->text() : "no FIPS 140 validation of the module is recorded");
  if (!validation || validation->standard != "FIPS 140-3" || facts.origin("adopted") > 0) line.verdict = Compliance::partly;
  facts.add_findings(line, Severity::medium, {"validation", "cryptoperiod-over"});
}

void random_values(const GuidanceFacts& facts, GuidanceLine& line) {
  line.evidence.push_back("every random value came from C_GenerateRandom of token " + facts.token_name() + "; kmtool has no other source");
  if (!facts.context.home.config.validation) {
    line.evidence.push_back("that the module's generator is a validated one is not recorded");
    line.verdict = Compliance::partly;
  }
}

void hardware(const GuidanceFacts& facts, GuidanceLine& line) {
  const bool is = facts.report.token.hardware;
  line.evidence.push_back("the token " + facts.token_name() + (is ? " calls itself hardware" : " is software"));
  line.evidence.push_back(facts.context.home.policy.require_hardware ? "policy requires hardware: a software token is refused" : "policy does not require hardware");
  if (!is) line.verdict = Compliance::not_met;
}

void transport(const GuidanceFacts& facts, GuidanceLine& line) {
  line.evidence.push_back(fmt::format("{} bundle{} left the token, each wrapped to named recipients, sealed and signed", facts.bundles.size(), facts.bundles.size() == 1 ? "" : "s"));
  line.evidence.push_back(fmt::format("bundles are taken from this home's signer and {} pinned ones of other sites; anybody else's are refused", facts.context.trusted().size()));
  if (!facts.context.home.config.validation) {
    line.evidence.push_back("no validation of this module is recorded, so use inside validated modules is not shown");
    line.verdict = Compliance::partly;
  }
  facts.add_findings(line, Severity::medium);
}

void where(const GuidanceFacts& facts, GuidanceLine& line) {
  const auto& token = facts.report.token;
  line.evidence.push_back(fmt::format("{} key versions are on token {} (serial {}, {} {})", facts.alive.size(), token.label, token.serial, token.manufacturer, token.model));
  std::uint64_t copies = 0;
  std::size_t unverified = 0;
  for (const auto& bundle : facts.bundles) {
    copies += bundle.records;
    unverified += bundle.verified ? 0 : 1;
  }
  line.evidence.push_back(fmt::format("{} wrapped copies are in {} catalogued bundles, each with its recipients (kmtool bundles); {} of these bundles were never verified since", copies, facts.bundles.size(), unverified));
  facts.add_findings(line, Severity::medium);
}

void memory(const GuidanceFacts& facts, GuidanceLine& line) {
  rlimit core{};
  const bool no_dump = getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0;
  line.evidence.emplace_back("key values never reach the host: generating, wrapping, unwrapping and signing are calls of the token");
  line.evidence.emplace_back(no_dump ? "this process writes no core dump (RLIMIT_CORE is 0), and its PIN lay in locked memory" : "this process could write a core dump");
  line.evidence.push_back("owner and permissions of " + facts.report.home + " were found safe (kmtool refuses it otherwise)");
  if (!no_dump) line.verdict = Compliance::partly;
  if (facts.context.home.config.embedded) {
    line.evidence.emplace_back("the embedded software token lies in the home with its PIN: whoever copies the home has the keys");
    line.verdict = Compliance::partly;
  }
}

void plaintext(const GuidanceFacts& facts, GuidanceLine& line) {
  const auto secrets = facts.count([](const policy::ObjectFacts& object) { return object.holds_secret(); });
  const auto sensitive = facts.count([](const policy::ObjectFacts& object) { return object.holds_secret() && object.sensitive == true; });
  line.evidence.push_back(fmt::format("{} of {} secret and private keys on the token are CKA_SENSITIVE", sensitive, secrets));
  line.evidence.emplace_back("kmtool has no way to print or write a key's value");
  facts.add_findings(line, Severity::medium);
}

void vault(const GuidanceFacts& facts, GuidanceLine& line) {
  line.evidence.emplace_back(facts.context.home.config.embedded ? "the vault is a software token whose files lie in the home" : "the home holds metadata only; every key is on the token");
  if (facts.context.home.config.embedded) line.verdict = Compliance::partly;
  const auto open = facts.count([](const policy::ObjectFacts& object) { return object.holds_secret() && object.is_private == false; });
  line.evidence.push_back(counted(open, "key") + " can be used without a login");
  facts.add_findings(line, Severity::medium);
}

void keks(const GuidanceFacts& facts, GuidanceLine& line) {
  line.evidence.push_back(fmt::format("{} KEK version{} on the token, {} bundle{} under them", facts.role(Role::kek), facts.role(Role::kek) == 1 ? " is" : "s are", facts.bundles.size(), facts.bundles.size() == 1 ? "" : "s"));
  std::size_t waived = 0;
  for (const auto& version : facts.alive) waived += std::any_of(version.waivers.begin(), version.waivers.end(), [](const policy::Waiver& waiver) { return waiver.rule == "G-KEK"; }) ? 1 : 0;
  line.evidence.push_back(waived == 0 ? "strengths were compared before every C_WrapKey; no waiver of G-KEK is on record for a key" : fmt::format("a waiver of G-KEK is on record for {} key versions", waived));
  if (waived > 0) line.verdict = Compliance::partly;
  facts.add_findings(line, Severity::medium);
}

void integrity(const GuidanceFacts& facts, GuidanceLine& line) {
  const auto& profile = facts.profile;
  line.evidence.push_back(profile.kwp_mechanism != 0 ? "keys are wrapped with AES-KWP (RFC 5649), which authenticates" : profile.kw_mechanism != 0 ? "keys are wrapped with AES-KW (RFC 3394), which authenticates" : "the token has no authenticated key wrapping: kmtool wraps nothing on it");
  line.evidence.emplace_back("every bundle is sealed with HMAC-SHA-256 by its KEK and signed by the home's document signer, metadata included");
  const auto verified = static_cast<std::size_t>(std::count_if(facts.bundles.begin(), facts.bundles.end(), [](const op::BundleRecord& bundle) { return bundle.verified.has_value(); }));
  if (!facts.bundles.empty()) line.evidence.push_back(fmt::format("{} of {} bundles were verified since they were written (kmtool bundles --verify-all)", verified, facts.bundles.size()));
  for (const auto& finding : facts.report.findings) {
    if (finding.check == "unauthenticated-wrapping") line.evidence.push_back("what the token offers besides, kmtool does not use: " + finding.evidence);
  }
  facts.add_findings(line, Severity::medium, {"unauthenticated-wrapping", "pkcs1-unwrapping"});
}

void no_application(const GuidanceFacts& facts, GuidanceLine& line) {
  const auto active = static_cast<std::size_t>(std::count_if(facts.alive.begin(), facts.alive.end(), [](const op::VersionRecord& version) { return version.state == State::active; }));
  line.evidence.push_back(fmt::format("applications get PKCS#11 URIs of {} active key versions (kmtool show NAME --uri), never values", active));
  line.evidence.push_back(fmt::format("{} of them may leave the token, and then only wrapped", facts.extractable()));
}

void sealed(const GuidanceFacts& facts, GuidanceLine& line) {
  const auto secrets = facts.count([](const policy::ObjectFacts& object) { return object.holds_secret(); });
  const auto sealed = facts.count([](const policy::ObjectFacts& object) { return object.holds_secret() && object.extractable == false; });
  line.evidence.push_back(fmt::format("{} of {} secret and private keys are non-extractable", sealed, secrets));
  line.evidence.push_back(facts.profile.extractable_enforced ? "the token refuses to wrap non-extractable keys (tried)" : "the token wraps non-extractable keys (tried)");
  line.evidence.push_back(facts.profile.modifiable_enforced ? "the token refuses to change locked keys (tried)" : "the token lets usages be added to locked keys (tried)");
  line.evidence.push_back(fmt::format("{} known attack{} found on the keys (kmtool audit keys)", facts.attacks(), facts.attacks() == 1 ? " was" : "s were"));
  facts.add_findings(line, Severity::medium);
}

void work(const GuidanceFacts& facts, GuidanceLine& line) {
  auto& journal = facts.context.journal();
  try {
    journal.check_entries();
    line.evidence.push_back(fmt::format("the journal has {}, each as recorded, under a checkpoint that the token signed", counted(journal.size(), "entry", "entries")));
  } catch (const Error& error) {
    line.evidence.push_back(error.message() + " (kmtool audit verify)");
    line.verdict = Compliance::not_met;
  }
  const auto over = static_cast<std::size_t>(std::count_if(facts.report.findings.begin(), facts.report.findings.end(), [](const policy::Finding& finding) { return finding.check == "cryptoperiod-over"; }));
  line.evidence.push_back(fmt::format("{} active keys are beyond their cryptoperiod", over));
  facts.add_findings(line, Severity::medium);
}

// -- API keys, as the catalog has them --------------------------------------------------------------------------------------

bool none_issued(const GuidanceFacts& facts, GuidanceLine& line) {
  if (!facts.api_keys.empty()) return false;
  line.verdict = Compliance::not_applicable;
  line.evidence.emplace_back("no API keys issued");
  return true;
}

void restricted(const GuidanceFacts& facts, GuidanceLine& line) {
  if (none_issued(facts, line)) return;
  const auto good = static_cast<std::size_t>(std::count_if(facts.api_keys.begin(), facts.api_keys.end(), [](const ApiKeyFacts& key) { return key.restricted; }));
  line.evidence.push_back(fmt::format("{} of {} live API keys are restricted by address, referrer or mobile app", good, facts.api_keys.size()));
  if (good < facts.api_keys.size()) line.verdict = good == 0 ? Compliance::not_met : Compliance::partly;
}

void unique(const GuidanceFacts& facts, GuidanceLine& line) {
  if (none_issued(facts, line)) return;
  std::map<std::string, std::size_t> live;
  for (const auto& key : facts.api_keys) live[key.app + "/" + key.environment] += key.overlapping ? 0 : 1;
  const auto shared = static_cast<std::size_t>(std::count_if(live.begin(), live.end(), [](const auto& one) { return one.second > 1; }));
  line.evidence.push_back(fmt::format("{} live API keys for {} applications and environments; {} of these have more than one beside a rotation's overlap", facts.api_keys.size(), live.size(), shared));
  if (shared > 0) line.verdict = Compliance::not_met;
}

void monitored(const GuidanceFacts& facts, GuidanceLine& line) {
  if (none_issued(facts, line)) return;
  line.evidence.push_back(fmt::format("uses and denials of {} live API keys are counted by key, rule and source (kmtool apikey usage)", facts.api_keys.size()));
}

void environment(const GuidanceFacts& facts, GuidanceLine& line) {
  if (none_issued(facts, line)) return;
  line.evidence.push_back(counted(facts.stored_keys, "key is", "keys are") + " kept sealed and handed to programs by kmtool apikey exec alone");
  line.evidence.emplace_back("whether any stands in code is for kmtool apikey scan to say, where the code is");
  line.verdict = Compliance::partly;
}

using Judge = void (*)(const GuidanceFacts&, GuidanceLine&);
const std::map<std::string, Judge>& judges() {
  static const std::map<std::string, Judge> all{{"G-GEN", generation}, {"G-RNG", random_values}, {"G-HW", hardware}, {"G-TRANSPORT", transport}, {"G-WHERE", where}, {"G-MEMORY", memory}, {"G-PLAINTEXT", plaintext}, {"G-VAULT", vault}, {"G-KEK", keks}, {"G-INTEGRITY", integrity}, {"G-NOAPP", no_application}, {"G-SEALED", sealed}, {"G-WORK", work}, {"A-RESTRICT", restricted}, {"A-UNIQUE", unique}, {"A-MONITOR", monitored}, {"A-ENV", environment}};
  return all;
}

}  // namespace

std::string_view to_text(Compliance verdict) {
  switch (verdict) {
    case Compliance::met:
      return "met";
    case Compliance::partly:
      return "partly";
    case Compliance::not_met:
      return "not met";
    case Compliance::not_applicable:
      break;
  }
  return "not applicable";
}

GuidanceReport guidance(op::Context& context) {
  GuidanceReport report{audit_keys(context, false), {}};
  const GuidanceFacts facts(context, report.keys);
  for (const auto& rule : policy::rules()) {
    GuidanceLine line{rule.id, rule.says, rule.answers, Compliance::met, {}};
    judges().at(rule.id)(facts, line);
    report.lines.push_back(std::move(line));
  }
  return report;
}

}  // namespace kmtool::audit
