#include "kmtool/audit/keys.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/op/bundle_out.hpp"
#include "kmtool/op/object_facts.hpp"
#include "kmtool/op/objects.hpp"

namespace kmtool::audit {
namespace {

using pkcs11::Object;
using pkcs11::ObjectClass;
using policy::ObjectFacts;
using policy::ObjectKind;
using Answer = pkcs11::Trial::Answer;

// -- what the token does --------------------------------------------------------------------------------------------------

bool is_one_of(unsigned long number, std::initializer_list<unsigned long> numbers) { return std::find(numbers.begin(), numbers.end(), number) != numbers.end(); }

/// What it offers, by the mechanism list: nothing is tried.
void read_mechanisms(pkcs11::Token& token, policy::TokenTraits& traits) {
  for (const auto& line : token.mechanisms()) {
    const auto flags = split(line.flags, ',');
    const auto has = [&](const char* flag) { return std::find(flags.begin(), flags.end(), flag) != flags.end(); };
    // ECB, CBC, CBC-PAD and CTR of AES, and of DES with one, two or three keys.
    const bool aes = is_one_of(line.number, {0x1081, 0x1082, 0x1085, 0x1086}), des = is_one_of(line.number, {0x132, 0x133, 0x136, 0x121, 0x122, 0x125});
    if ((aes || des) && (has("wrap") || has("unwrap"))) traits.unauthenticated.push_back({aes ? Family::aes : Family::des3, line.name});
    if (is_one_of(line.number, {0x1, 0x3}) && (has("unwrap") || has("decrypt"))) traits.pkcs1.push_back(line.name);
    // CONCATENATE_*, XOR_BASE_AND_DATA, EXTRACT_KEY_FROM_KEY
    if (is_one_of(line.number, {0x360, 0x362, 0x363, 0x364, 0x365}) && has("derive")) traits.cutting.push_back(line.name);
  }
}

/// What was tried now counts more than what was found out once.
void take_trials(const pkcs11::Trials& trials, policy::TokenTraits& traits) {
  for (const auto& trial : trials.trials) {
    if (trial.answer == Answer::not_tried) continue;
    const bool allowed = trial.answer == Answer::allowed;
    if (trial.id == "wrap-unextractable") traits.extractable_enforced = !allowed;
    if (trial.id == "wrap-with-trusted") traits.wrap_with_trusted_enforced = !allowed;
    if (trial.id == "add-decrypt-locked") traits.modifiable_enforced = !allowed;
    if (trial.id == "copy-usage-locked") traits.copies_stay_locked = !allowed;
    if (trial.id == "local") traits.local_correct = allowed;
    std::erase_if(traits.allowed, [&](const auto& one) { return one.first == trial.id; });
    if (allowed && trial.bad) traits.allowed.emplace_back(trial.id, trial.detail);
  }
}

/// A token that says CKA_LOCAL of no key at all does not know the attribute, or says it wrong (NSS).
void guess_local(const KeysReport& report, policy::TokenTraits& traits) {
  constexpr std::size_t several = 8;  // fewer may all have been imported
  const auto& objects = report.objects;
  if (traits.local_correct) return;
  std::size_t secrets = 0;
  for (const auto& object : objects) {
    if (!object.holds_secret()) continue;
    if (object.local.value_or(false)) traits.local_correct = true;
    ++secrets;
  }
  if (!traits.local_correct && (secrets >= several || report.token.manufacturer.starts_with("Mozilla"))) traits.local_correct = false;
}

// -- what the catalog knows -------------------------------------------------------------------------------------------------

class Catalog {
 public:
  explicit Catalog(op::Context& context) : context_(context), anchor_(context.home.config.anchor_id()) {
    for (auto& version : context.versions()) {  // one that was imported again has the id of the one that was destroyed
      if (version.state != State::destroyed) versions_.insert_or_assign(version.id, version);
      else versions_.emplace(version.id, version);
    }
    for (const auto& signer : context.signers()) signers_.insert(signer.id);
  }

  void claim(const Object& object, ObjectFacts& facts) {
    const auto by_label = std::exchange(facts.owner, ObjectFacts::Owner::nobody);
    if (object.id == anchor_ && object.label.starts_with("kmtool-anchor:")) facts.owner = ObjectFacts::Owner::anchor;
    if (signers_.contains(object.id)) facts.owner = ObjectFacts::Owner::signer;
    if (op::named_as_version(object)) as_versions_.insert(object.label);
    const auto home = op::home_named_by(object);
    if (facts.owner == ObjectFacts::Owner::nobody && !home.empty()) {
      facts.owner = by_label;  // judged as what it is: two anchors share an id, and are relabelled
      of_homes_.emplace(object.label, home);
    }
    const auto found = versions_.find(object.id);
    if (object.id.empty() || found == versions_.end() || !facts.is_key()) return;
    const auto& version = found->second;
    const Part part = op::part_of(version.role, object);
    const auto& parts = parts_of(version.role);
    facts.owner = ObjectFacts::Owner::key;
    if (version.state == State::destroyed && object.label != version.object_label()) {
      facts.differences.push_back("it carries another label, and the CKA_ID of " + version.label() + ", which was destroyed");
      return;
    }
    facts.record = version.facts();
    facts.origin = version.origin;
    facts.backed_up = version.backed_up;
    facts.waivers = version.waivers;
    if (version.state == State::destroyed) {
      facts.differences.emplace_back("the catalog says that it was destroyed");
    } else if (std::find(parts.begin(), parts.end(), part) == parts.end()) {
      facts.differences.push_back("an object that a " + std::string(to_text(version.role)) + " key does not have");
    } else {
      facts.differences = op::differences_of(context_, version, part, object);
      seen_[object.id].insert(part);
    }
  }

  void audit(const std::vector<ObjectFacts>& objects, const std::set<std::string>& homes, std::vector<policy::Finding>& found) const {
    for (const auto& [id, version] : versions_) {
      if (version.state == State::destroyed) continue;
      for (const Part part : parts_of(version.role)) {
        const auto at = seen_.find(id);
        if (at != seen_.end() && at->second.contains(part)) continue;
        ObjectFacts gone;
        gone.label = version.object_label();
        gone.id = hex(id);
        gone.kind = part == Part::private_half ? ObjectKind::private_half : part == Part::public_half ? ObjectKind::public_half : ObjectKind::secret;
        gone.record = version.facts();
        found.push_back(finding_of("missing", gone, version.label() + " has no " + std::string(to_text(part)) + " object on the token"));
      }
    }
    for (const auto& object : objects) {
      if (object.is_key() && (of_homes_.contains(object.label) || object.owner == ObjectFacts::Owner::nobody)) found.push_back(unmanaged(object, homes));
    }
  }

 private:
  /// On a token that serves other homes too a key may well be theirs: only anchors and signers tell whose they are.
  [[nodiscard]] policy::Finding unmanaged(const ObjectFacts& object, const std::set<std::string>& homes) const {
    const auto named = of_homes_.find(object.label);
    const bool other = named != of_homes_.end() && !context_.home.config.home_id.starts_with(named->second);
    auto finding = finding_of("unmanaged", object, "no version in the catalog has its CKA_ID", other || !object.holds_secret() ? std::optional(policy::Severity::low) : std::nullopt);
    if (other) {
      finding.evidence = "it is named as a signer or anchor of another home";
      finding.fix = "leave it to that home";
    } else if (named != of_homes_.end()) {
      finding.evidence = "it is named as a signer or anchor of this home, whose record does not know it: a restore forgot it, or it was planted";
      finding.fix = "destroy it with the vendor's tool";
    } else if (!homes.empty() && as_versions_.contains(object.label)) {
      const auto home = printable(*homes.begin());
      finding.evidence += "; the token serves the home " + home + " too, whose key it may be";
      finding.fix = "kmtool audit keys in that home says whether it is its key; once that home is given up: kmtool adopt NAME --id " + object.id + " --from-home " + home;
    }
    return finding;
  }

  op::Context& context_;
  Bytes anchor_;
  std::map<Bytes, op::VersionRecord> versions_;
  std::set<Bytes> signers_;
  std::set<std::string> as_versions_;            ///< labels `payments@3`
  std::map<std::string, std::string> of_homes_;  ///< labels that name an anchor or signer, and whose
  std::map<Bytes, std::set<Part>> seen_;
};

// -- the report -------------------------------------------------------------------------------------------------------------

void pair_up(std::vector<ObjectFacts>& objects) {
  std::map<std::string, ObjectFacts*> privates;
  for (auto& object : objects) {
    if (object.kind == ObjectKind::private_half && !object.id.empty()) privates.emplace(object.id, &object);
  }
  for (auto& object : objects) {
    if (object.kind != ObjectKind::public_half || object.id.empty()) continue;
    const auto found = privates.find(object.id);
    if (found == privates.end() || found->second->key.family != object.key.family) continue;
    object.has_private = true;
    if (found->second->key.bits != 0) continue;
    found->second->key = object.key;  // a private half need not show its numbers
    found->second->strength = object.strength;
  }
}

void judge(const policy::Policy& policy, const policy::TokenFacts& facts, const policy::TokenTraits& traits, KeysReport& report) {
  const auto add = [&](std::vector<policy::Finding> more) { std::move(more.begin(), more.end(), std::back_inserter(report.findings)); };
  add(policy::audit_token(policy, facts, traits, report.objects));
  for (const auto& object : report.objects) add(policy::audit_object(policy, traits, object, report.time));
  add(policy::audit_set(report.objects));
  add(policy::find_attacks(traits, report.objects));
  policy::sort_findings(report.findings);
}

KeysReport begin(pkcs11::Token& token, policy::TokenTraits& traits, bool probe, UnixTime now) {
  KeysReport report;
  report.token = token.info();
  report.time = now;
  traits.label = report.token.label;
  traits.hardware = report.token.hardware;
  read_mechanisms(token, traits);
  if (probe) {
    report.probe = token.try_attacks();
    take_trials(*report.probe, traits);
  }
  return report;
}

}  // namespace

std::size_t KeysReport::keys() const {
  return static_cast<std::size_t>(std::count_if(objects.begin(), objects.end(), [](const ObjectFacts& object) { return object.is_key(); }));
}

std::size_t KeysReport::count(policy::Severity severity) const {
  return static_cast<std::size_t>(std::count_if(findings.begin(), findings.end(), [&](const policy::Finding& finding) { return finding.severity == severity && finding.waived.empty(); }));
}

bool KeysReport::fails(policy::Severity least) const {
  return std::any_of(findings.begin(), findings.end(), [&](const policy::Finding& finding) { return finding.severity >= least && finding.waived.empty(); });
}

void waive(KeysReport& report, const policy::Policy& policy, const std::vector<policy::Waiver>& waivers) {
  for (const auto& waiver : waivers) {
    if (policy.forbidden_waivers.contains(waiver.rule)) {
      throw Error::refused(waiver.rule, "policy forbids waiving " + waiver.rule, "see forbidden_waivers in policy.json");
    }
    for (auto& finding : report.findings) {
      if (finding.rule == waiver.rule && finding.waived.empty()) finding.waived = waiver.reason;
    }
  }
  policy::sort_findings(report.findings);
}

KeysReport audit_keys(op::Context& context, bool probe) {
  auto traits = op::token_traits(context.token());
  KeysReport report = begin(context.token(), traits, probe, context.now());
  report.home = context.home.paths.root.string();
  report.validation = context.home.config.validation;
  Catalog catalog(context);
  const auto objects = context.token().scan();
  for (const auto& object : objects) {
    context.check_stop();
    report.objects.push_back(op::object_facts(context.token(), object));
    catalog.claim(object, report.objects.back());
    context.progress("objects", report.objects.size(), objects.size());
  }
  pair_up(report.objects);
  guess_local(report, traits);
  catalog.audit(report.objects, op::other_homes(context, objects), report.findings);
  judge(context.home.policy, context.token_facts(), traits, report);
  return report;
}

KeysReport audit_token(pkcs11::Token& token, bool probe, UnixTime now, const Progress& progress) {
  policy::TokenTraits traits;
  KeysReport report = begin(token, traits, probe, now);
  const auto objects = token.scan();
  for (const auto& object : objects) {
    report.objects.push_back(op::object_facts(token, object));
    if (progress) progress("objects", report.objects.size(), objects.size());
  }
  pair_up(report.objects);
  guess_local(report, traits);
  judge(policy::default_policy(), {.hardware = report.token.hardware}, traits, report);
  return report;
}

}  // namespace kmtool::audit
