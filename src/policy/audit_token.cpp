#include <fmt/format.h>

#include <algorithm>

#include "kmtool/core/text.hpp"
#include "kmtool/policy/objects.hpp"

namespace kmtool::policy {
namespace {

using Found = std::vector<Finding>;

/// How many of the keys are meant, and the first of them.
std::string meant(const std::vector<const ObjectFacts*>& keys) {
  if (keys.empty()) return "no key of the token is open to it now";
  std::vector<std::string> names;
  for (std::size_t i = 0; i < std::min<std::size_t>(3, keys.size()); ++i) names.push_back(keys[i]->named());
  return fmt::format("{} key{}: {}{}", keys.size(), keys.size() == 1 ? " is open to it" : "s are open to it", join(names, ", "), keys.size() > 3 ? ", …" : "");
}

template <class Test>
std::vector<const ObjectFacts*> those(const std::vector<ObjectFacts>& objects, Test&& test) {
  std::vector<const ObjectFacts*> out;
  for (const auto& object : objects) {
    if (object.owner != ObjectFacts::Owner::anchor && test(object)) out.push_back(&object);
  }
  return out;
}

/// What a token allows, which keys that concerns, and how it goes on from there.
struct Hole {
  const char* trial;  ///< id of the trial, or empty
  const char* check;
  bool (*open)(const ObjectFacts&);
  std::vector<std::string> (*path)(const std::string& how, const std::string& key);
};

bool is_sensitive(const ObjectFacts& object) { return object.holds_secret() && object.sensitive.value_or(true); }
bool is_open_but_sealed(const ObjectFacts& object) { return object.holds_secret() && object.extractable == false && object.sensitive == false; }
bool is_sealed(const ObjectFacts& object) { return object.holds_secret() && object.extractable == false; }
bool wraps_only(const ObjectFacts& object) { return object.kind == ObjectKind::secret && object.wrap && !object.decrypt; }
bool is_guarded(const ObjectFacts& object) { return object.wrap_with_trusted.value_or(false); }
bool derives(const ObjectFacts& object) { return object.kind == ObjectKind::secret && object.derive; }

using Path = std::vector<std::string>;
Path reading(const std::string& how, const std::string& key) { return {how + " of " + key, "the value of the key is in the clear"}; }
Path clearing(const std::string& how, const std::string& key) { return {how + " of " + key + " becomes false", "C_GetAttributeValue: its CKA_VALUE is in the clear"}; }
Path leaving(const std::string& how, const std::string& key) { return {how + ": " + key + " becomes extractable", "C_WrapKey: a key that the attacker knows wraps it", "he decrypts it on his own machine"}; }
Path wrapping(const std::string& how, const std::string& key) { return {how + ": a key that the attacker brought wraps " + key, "he decrypts it on his own machine"}; }
Path copying(const std::string& how, const std::string& key) { return {how + ": a copy of " + key, "C_GetAttributeValue: the CKA_VALUE of the copy is in the clear"}; }
Path duplicating(const std::string& how, const std::string& key) { return {how + ": a copy of " + key + " that decrypts", "C_WrapKey: " + key + " wraps a key that may leave", "C_Decrypt: the copy decrypts the wrapped key"}; }
Path adding(const std::string& how, const std::string& key) { return {how + " of " + key + " becomes true", "C_WrapKey: it wraps a key that may leave", "C_Decrypt: it decrypts the wrapped key"}; }
Path trusting(const std::string& how, const std::string&) { return {how + " of a key that the attacker knows", "C_WrapKey: it wraps keys that only trusted ones may"}; }
Path cutting(const std::string& how, const std::string& key) { return {how + ": one octet of " + key, "C_GetAttributeValue: the octet is in the clear; again for the next one"}; }
Path reimporting(const std::string&, const std::string& key) { return {"C_WrapKey: " + key + " wraps a key W that may leave", "C_UnwrapKey: as a key with WRAP, and again as one with DECRYPT", "C_WrapKey, C_Decrypt: what the one wraps the other decrypts"}; }

const std::vector<Hole>& holes() {
  static const std::vector<Hole> all{
      {"read-sensitive", "sensitive-readable", is_sensitive, reading},
      {"read-unextractable", "unextractable-readable", is_open_but_sealed, reading},
      {"clear-sensitive", "sensitive-cleared", is_sensitive, clearing},
      {"set-extractable", "extractable-set", is_sealed, leaving},
      {"copy-extractable", "copy-extractable", is_sealed, leaving},
      {"copy-usage-locked", "copy-adds-usage", wraps_only, duplicating},
      {"copy-not-sensitive", "copy-readable", is_sensitive, copying},
      {"wrap-unextractable", "extractable-not-enforced", is_sealed, wrapping},
      {"add-decrypt-locked", "modifiable-not-enforced", wraps_only, adding},
      {"wrap-with-trusted", "trusted-not-enforced", is_guarded, wrapping},
      {"set-trusted", "user-sets-trusted", is_guarded, trusting},
      {"derive-part", "key-cutting", derives, cutting},
      {"unwrap-twice", "reimport", wraps_only, reimporting},
  };
  return all;
}

void audit_holes(const TokenTraits& traits, const std::vector<ObjectFacts>& objects, Found& found) {
  for (const auto& hole : holes()) {
    const auto allowed = std::find_if(traits.allowed.begin(), traits.allowed.end(), [&](const auto& one) { return one.first == hole.trial; });
    if (allowed == traits.allowed.end()) continue;
    const auto open = those(objects, hole.open);
    // What nothing on the token is open to is a matter of what will be made there.
    const bool idle = open.empty() && check_of(hole.check).severity > Severity::medium;
    Finding finding = finding_of(hole.check, traits, allowed->second + "; " + meant(open), idle ? std::optional(Severity::medium) : std::nullopt);
    finding.path = hole.path(allowed->second, open.empty() ? "a key" : open.front()->named());
    found.push_back(std::move(finding));
  }
}

void audit_mechanisms(const TokenTraits& traits, const std::vector<ObjectFacts>& objects, Found& found) {
  const auto wraps = those(objects, [](const ObjectFacts& object) { return object.kind == ObjectKind::secret && (object.wrap || object.unwrap); });
  std::vector<std::string> mechanisms;
  for (const auto& [family, name] : traits.unauthenticated) {
    const bool aes = family == Family::aes;
    const bool used = std::any_of(wraps.begin(), wraps.end(), [aes](const ObjectFacts* key) { return (key->key.family == Family::aes) == aes; });
    if (used) mechanisms.push_back(name);
  }
  if (!mechanisms.empty()) {
    Finding finding = finding_of("unauthenticated-wrapping", traits, "wraps with " + join(mechanisms, ", ") + "; " + meant(wraps));
    finding.path = {fmt::format("C_WrapKey: {} wraps a key with {}", wraps.front()->named(), mechanisms.front()), "the attacker changes blocks of the wrapped key", "C_UnwrapKey: the token takes it; what it encrypts tells him about the rest of the key"};
    found.push_back(std::move(finding));
  }
  const auto opens = those(objects, [](const ObjectFacts& object) { return object.kind == ObjectKind::private_half && object.key.family == Family::rsa && (object.unwrap || object.decrypt); });
  if (!traits.pkcs1.empty() && !opens.empty()) {
    Finding finding = finding_of("pkcs1-unwrapping", traits, join(traits.pkcs1, ", ") + "; " + meant(opens));
    finding.path = {fmt::format("C_UnwrapKey: {} is given changed values, some ten thousand times", opens.front()->named()), "which of them it calls badly padded tells the value, bit by bit"};
    found.push_back(std::move(finding));
  }
}

}  // namespace

std::vector<Finding> audit_token(const Policy& policy, const TokenFacts& facts, const TokenTraits& traits, const std::vector<ObjectFacts>& objects) {
  Found found;
  for (const auto& violation : judge_token(policy, facts)) {
    found.push_back(finding_of(violation.rule == "G-HW" ? "software-token" : "validation", traits, violation.what, violation.severity));
  }
  audit_holes(traits, objects, found);
  audit_mechanisms(traits, objects, found);
  if (traits.local_correct == false && std::any_of(objects.begin(), objects.end(), [](const ObjectFacts& object) { return object.holds_secret(); })) {
    found.push_back(finding_of("origin-unknown", traits, "CKA_LOCAL is not true of generated keys"));
  }
  return found;
}

}  // namespace kmtool::policy
