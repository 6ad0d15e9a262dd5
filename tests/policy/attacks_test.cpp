#include <doctest/doctest.h>

#include <algorithm>

#include "fixture.hpp"
#include "kmtool/policy/objects.hpp"

namespace kmtool::policy::test {
namespace {

/// A sealed, locked AES-256 key that can do nothing.
ObjectFacts secret(const std::string& label, int n = 1) {
  ObjectFacts out;
  out.label = label;
  out.id = "0" + std::to_string(n);
  out.kind = ObjectKind::secret;
  out.key = {Family::aes, 256, ""};
  out.strength = 256;
  out.is_private = out.sensitive = out.local = out.always_sensitive = out.never_extractable = true;
  out.extractable = out.modifiable = out.copyable = out.wrap_with_trusted = out.trusted = false;
  return out;
}

ObjectFacts leaving(const std::string& label = "victim", int n = 9) {
  auto out = secret(label, n);
  out.extractable = true;
  out.encrypt = out.decrypt = true;
  return out;
}

ObjectFacts half(ObjectKind kind, const std::string& label, int n = 5) {
  auto out = secret(label, n);
  out.kind = kind;
  out.key = {Family::rsa, 3072, ""};
  out.strength = 128;
  out.public_id = "public-" + std::to_string(n);
  return out;
}

const Finding* find(const std::vector<Finding>& findings, const std::string& check, const std::string& label = "") {
  const auto found = std::find_if(findings.begin(), findings.end(), [&](const Finding& f) { return f.check == check && (label.empty() || f.object.label == label); });
  return found == findings.end() ? nullptr : &*found;
}

}  // namespace

TEST_CASE("A1: a secret key that wraps and decrypts, with the path to its victim") {
  auto key = secret("k");
  key.wrap = key.decrypt = true;
  const auto findings = find_attacks({}, {key, leaving()});
  const auto* found = find(findings, "wrap-decrypt");
  REQUIRE(found != nullptr);
  CHECK(found->severity == Severity::critical);
  CHECK(found->attack == "A1");
  REQUIRE(found->path.size() == 3);
  CHECK(found->path[0] == "C_WrapKey: k (aes-256) wraps victim (aes-256)");
  CHECK(found->path[1] == "C_Decrypt: k (aes-256) decrypts the wrapped key");
  SUBCASE("with nothing to wrap it is bad, and no more") {
    const auto alone = find_attacks({}, {key, secret("sealed", 2)});
    CHECK(find(alone, "wrap-decrypt")->severity == Severity::high);
  }
  SUBCASE("a token that does not heed EXTRACTABLE gives it every key") {
    TokenTraits traits;
    traits.extractable_enforced = false;
    const auto all = find_attacks(traits, {key, secret("sealed", 2)});
    CHECK(find(all, "wrap-decrypt")->severity == Severity::critical);
    CHECK(find(all, "wrap-decrypt")->path[0].find("sealed") != std::string::npos);
  }
}

TEST_CASE("A2: the public half wraps, the private half decrypts") {
  auto wraps = half(ObjectKind::public_half, "pair"), opens = half(ObjectKind::private_half, "pair");
  wraps.wrap = opens.decrypt = true;
  const auto findings = find_attacks({}, {wraps, opens, leaving()});
  REQUIRE(find(findings, "public-wrap-decrypt") != nullptr);
  CHECK(find(findings, "public-wrap-decrypt")->attack == "A2");
  CHECK(find(findings, "foreign-wrapping-key") == nullptr);
  SUBCASE("found by the numbers where the ids differ") {
    opens.id = "77";
    CHECK(find(find_attacks({}, {wraps, opens, leaving()}), "public-wrap-decrypt") != nullptr);
  }
  SUBCASE("a private half elsewhere is a trojan wrapping key") {
    const auto foreign = find_attacks({}, {wraps, leaving()});
    CHECK(find(foreign, "public-wrap-decrypt") == nullptr);
    CHECK(find(foreign, "foreign-wrapping-key")->severity == Severity::high);
  }
  SUBCASE("transport keys only unwrap") {
    opens.decrypt = false;
    opens.unwrap = true;
    const auto none = find_attacks({}, {wraps, opens});
    CHECK(none.empty());
  }
}

TEST_CASE("A3 to A5: what the token itself allows, over the keys that are open to it") {
  TokenTraits traits;
  traits.label = "t";
  traits.allowed = {{"read-sensitive", "C_GetAttributeValue CKA_VALUE"}, {"read-unextractable", "C_GetAttributeValue CKA_VALUE"}, {"copy-extractable", "C_CopyObject"}};
  auto readable = secret("readable", 2);
  readable.sensitive = false;
  const auto findings = audit_token(default_policy(), {.hardware = true}, traits, {secret("k"), readable});
  for (const auto& [name, attack] : {std::pair{"sensitive-readable", "A3"}, {"unextractable-readable", "A4"}, {"copy-extractable", "A5"}}) {
    const std::string check = name;
    const auto* found = find(findings, check);
    REQUIRE_MESSAGE(found != nullptr, check);
    CHECK(found->attack == attack);
    CHECK(found->severity == Severity::critical);
    CHECK(found->path.size() >= 2);
    CHECK(found->object.object_class == "token");
  }
  CHECK(find(findings, "unextractable-readable")->path[0].find("readable") != std::string::npos);
  SUBCASE("without a key that is open to it, it is a warning") {
    const auto idle = audit_token(default_policy(), {.hardware = true}, traits, {});
    CHECK(find(idle, "sensitive-readable")->severity == Severity::medium);
  }
}

TEST_CASE("encrypt and unwrap, derivation, drift") {
  auto key = secret("k");
  SUBCASE("encrypt and unwrap") {
    key.encrypt = key.unwrap = true;
    CHECK(find(find_attacks({}, {key, leaving()}), "encrypt-unwrap")->path.size() == 4);
  }
  SUBCASE("derive, worse where the token cuts keys") {
    key.derive = true;
    CHECK(find(find_attacks({}, {key}), "derive")->severity == Severity::medium);
    TokenTraits cuts;
    cuts.cutting = {"CKM_EXTRACT_KEY_FROM_KEY"};
    CHECK(find(find_attacks(cuts, {key}), "derive")->severity == Severity::high);
  }
  SUBCASE("a modifiable wrap key could become one that decrypts") {
    key.wrap = true;
    CHECK(find_attacks({}, {key}).empty());
    key.modifiable = true;
    CHECK(find(find_attacks({}, {key, leaving()}), "drift")->severity == Severity::high);
    CHECK(find(find_attacks({}, {key, leaving()}), "drift")->path[0].find("CKA_DECRYPT") != std::string::npos);
  }
}

TEST_CASE("the order of wrapping: weaker keys that wrap stronger ones, and chains around WRAP_WITH_TRUSTED") {
  auto weak = secret("weak");
  weak.key.bits = weak.strength = 128;
  weak.wrap = weak.unwrap = true;
  CHECK(find(find_attacks({}, {weak, leaving()}), "weaker-kek")->severity == Severity::high);
  SUBCASE("equal strength carries") {
    weak.strength = 256;
    CHECK(find_attacks({}, {weak, leaving()}).empty());
  }
  SUBCASE("through a kek that may itself leave") {
    auto kek = leaving("strong-kek", 3);
    kek.encrypt = kek.decrypt = false;
    kek.wrap = true;
    const auto chained = find_attacks({}, {weak, kek, leaving()});
    const auto& path = find(chained, "weaker-kek", "weak")->path;
    CHECK(std::any_of(path.begin(), path.end(), [](const std::string& step) { return step.find("strong-kek (aes-256), which wraps others") != std::string::npos; }));
  }
  SUBCASE("WRAP_WITH_TRUSTED keeps a key from it, unless the trusted key may leave") {
    auto guarded = leaving("guarded", 4);
    guarded.wrap_with_trusted = true;
    CHECK(find_attacks({}, {weak, guarded}).empty());
    auto trusted = secret("trusted", 6);
    trusted.trusted = trusted.extractable = true;
    trusted.wrap = true;
    CHECK(find(find_attacks({}, {weak, guarded, trusted}), "trusted-chain")->path.size() == 3);
  }
}

TEST_CASE("two keys that share a number or name: one wraps, the other decrypts") {
  auto one = secret("twin", 1), other = secret("twin", 2);
  one.wrap = other.decrypt = true;
  CHECK(find(find_attacks({}, {one, other, leaving()}), "wrap-decrypt-copies") != nullptr);
  other.label = "else";
  CHECK(find(find_attacks({}, {one, other, leaving()}), "wrap-decrypt-copies") == nullptr);
  other.id = one.id;
  CHECK(find(find_attacks({}, {one, other, leaving()}), "wrap-decrypt-copies") != nullptr);
}

TEST_CASE("kmtool's own roles contradict nothing, and what it makes is no attack") {
  auto kek = secret("root@1", 1), seal = secret("root@1", 1), data = leaving("payments@1", 2);
  for (auto* key : {&kek, &seal}) key->id = std::string(32, 'a');
  data.id = std::string(32, 'b');
  kek.wrap = kek.unwrap = true;
  seal.key = {Family::generic, 256, ""};
  seal.sign = seal.verify = true;
  CHECK(mixed_usage(kek).empty());
  CHECK(mixed_usage(data).empty());
  CHECK(find_attacks({}, {kek, seal, data}).empty());
  CHECK(audit_set({kek, seal, data}).empty());
  for (const auto& object : {kek, seal, data}) {
    for (const auto& finding : audit_object(default_policy(), {}, object, now)) CHECK(finding.severity == Severity::low);
  }
}

TEST_CASE("the floor of strengths is that of gen and wrap, with its dates") {
  auto key = half(ObjectKind::private_half, "old");
  key.sign = true;
  key.key.bits = 2048;
  key.strength = 112;
  CHECK(find(audit_object(default_policy(), {}, key, now), "strength")->severity == Severity::medium);
  CHECK(find(audit_object(default_policy(), {}, key, now + 5 * year), "strength")->severity == Severity::high);
  key.strength = 80;
  CHECK(find(audit_object(default_policy(), {}, key, now), "strength")->severity == Severity::critical);
}

TEST_CASE("a waiver on record covers what the door let pass, and nothing else of its rule") {
  auto key = leaving("payments@1");
  key.wrap = true;
  key.waivers = {{"G-SEALED", "agreed with the auditor"}};
  CHECK(find(audit_object(default_policy(), {}, key, now), "extractable")->waived == "agreed with the auditor");
  CHECK(find(find_attacks({}, {key}), "wrap-decrypt")->waived.empty());
  auto findings = find_attacks({}, {key});
  for (auto& finding : audit_object(default_policy(), {}, key, now)) findings.push_back(finding);
  sort_findings(findings);
  CHECK(findings.front().waived.empty());
  CHECK_FALSE(findings.back().waived.empty());
}

TEST_CASE("checks have unique ids, belong to a rule, and are whole") {
  std::vector<std::string> ids;
  for (const auto& check : checks()) {
    ids.emplace_back(check.id);
    CHECK_MESSAGE(is_rule(check.rule), check.id);
    CHECK(std::string(check.why).size() > 20);
    CHECK_FALSE(std::string(check.fix).empty());
  }
  std::sort(ids.begin(), ids.end());
  CHECK(std::adjacent_find(ids.begin(), ids.end()) == ids.end());
}

TEST_CASE("a label cannot break out of the command that mends") {
  auto key = secret("x'; reboot #");
  key.id.clear();
  const auto finding = finding_of("no-usage", key, "e");
  CHECK(finding.fix == "pkcs11-tool --login --delete-object --type secrkey --label 'x'\\''; reboot #'");
}

}  // namespace kmtool::policy::test
