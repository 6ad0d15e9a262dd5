#include <fmt/format.h>

#include <algorithm>

#include "kmtool/core/count.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/policy/objects.hpp"
#include "policy/tools.hpp"

namespace kmtool::policy {
namespace {

using Found = std::vector<Finding>;
using Owner = ObjectFacts::Owner;
constexpr std::int64_t day = 86400;

// -- strength, algorithm, origin ------------------------------------------------------------------------------------------

void audit_strength(const ObjectFacts& object, UnixTime now, Found& found) {
  const auto family = object.key.family;
  if (family == Family::des || family == Family::rc2 || family == Family::rc4 || family == Family::cipher) {
    found.push_back(finding_of("algorithm", object, object.key.text() + " is no approved algorithm"));
    return;
  }
  if (family == Family::des3 || family == Family::dsa) {
    found.push_back(finding_of("algorithm", object, fmt::format("{}: {}", object.key.text(), family == Family::dsa ? "DSA signatures are disallowed since 2024-02-03 (FIPS 186-5)" : "Triple-DES encryption is disallowed since 2024-01-01"), Severity::high));
    return;
  }
  if (object.strength < 0) {
    found.push_back(finding_of("strength-unknown", object, object.key.text() + ": the token does not tell its size"));
    return;
  }
  // The floor is the one that refuses at gen and wrap.
  for (const auto& violation : judge_strength_floor("G-GEN", object.key.text() + fmt::format(" ({} bits)", object.strength), object.strength, now)) {
    found.push_back(finding_of("strength", object, violation.what, violation.severity));
  }
}

void audit_numbers(const ObjectFacts& object, Found& found) {
  if (object.key.family == Family::ec && object.key.name != "p224" && object.key.name != "p256" && object.key.name != "p384" && object.key.name != "p521") {
    found.push_back(finding_of("curve", object, "the curve is " + (object.key.name.empty() ? "not named" : object.key.name)));
  }
  if (object.exponent != 0 && object.exponent < 65537) {
    found.push_back(finding_of("exponent", object, fmt::format("CKA_PUBLIC_EXPONENT is {}", object.exponent)));
  }
}

void audit_origin(const TokenTraits& traits, const ObjectFacts& object, Found& found) {
  if (!object.holds_secret() || traits.local_correct == false || object.local.value_or(true)) return;
  if (object.origin == "unwrapped" || object.origin == "imported") return;  // its provenance is the sealed and signed bundle, which the journal names
  if (object.origin == "generated" && object.backed_up) return;
  const bool ours = !object.record && object.kmtool_made();
  found.push_back(finding_of("imported", object, ours ? "CKA_LOCAL is false: unwrapped from a bundle, by its looks" : "CKA_LOCAL is false: it was created from a value, or unwrapped",
                             ours ? Severity::low : Severity::medium));
}

// -- flags ------------------------------------------------------------------------------------------------------------------

void audit_plaintext(const TokenTraits& traits, const ObjectFacts& object, Found& found) {
  if (object.sensitive == false) {
    const bool stays = object.extractable == false;  // then PKCS#11 forbids reading it; not every token does
    const bool read = std::any_of(traits.allowed.begin(), traits.allowed.end(), [](const auto& one) { return one.first == "read-unextractable"; });
    const char* said = !stays ? "CKA_SENSITIVE is false" : read ? "CKA_SENSITIVE is false; CKA_EXTRACTABLE too, and this token reads it out all the same" : "CKA_SENSITIVE is false; CKA_EXTRACTABLE too, which must stop reading but does not on every token (--probe tells)";
    auto bad = finding_of("not-sensitive", object, said, stays && !read ? Severity::high : Severity::critical);
    if (stays) bad.attack = "A4";
    bad.path = {fmt::format("C_GetAttributeValue: CKA_VALUE of {}", object.named()), "the value of the key is in the clear"};
    found.push_back(std::move(bad));
  } else if (object.always_sensitive == false && object.local != false) {
    // An imported key says so by CKA_LOCAL already.
    found.push_back(finding_of("was-not-sensitive", object, "CKA_ALWAYS_SENSITIVE is false"));
  }
}

void audit_leaving(const TokenTraits& traits, const ObjectFacts& object, Found& found) {
  if (object.extractable == true) {
    const bool locked = object.modifiable == false && object.kmtool_made();
    found.push_back(finding_of("extractable", object, "CKA_EXTRACTABLE is true", locked ? Severity::low : Severity::medium));
    if (object.wrap_with_trusted == false && traits.wrap_with_trusted_enforced.value_or(true)) {
      found.push_back(finding_of("no-wrap-with-trusted", object, "CKA_WRAP_WITH_TRUSTED is false"));
    }
  } else if (object.never_extractable == false && object.local != false && !object.backed_up) {
    found.push_back(finding_of("was-extractable", object, "CKA_NEVER_EXTRACTABLE is false"));
  }
}

void audit_flags(const TokenTraits& traits, const ObjectFacts& object, Found& found) {
  audit_plaintext(traits, object, found);
  audit_leaving(traits, object, found);
  if (object.is_private == false) found.push_back(finding_of("not-private", object, "CKA_PRIVATE is false"));
  const bool anchor = object.owner == Owner::anchor;  // it is relabelled with each checkpoint, and can do nothing
  if (object.modifiable == true && !anchor && traits.modifiable_enforced.value_or(true)) {
    found.push_back(finding_of("modifiable", object, "CKA_MODIFIABLE is true", object.kmtool_made() ? Severity::low : Severity::medium));
  }
  // kmtool denies copying where the token lets it; where a locked key's copies are locked too, it does no harm.
  if (object.copyable == true && object.modifiable == false && !object.kmtool_made() && !traits.copies_stay_locked.value_or(false)) {
    found.push_back(finding_of("copyable", object, "CKA_COPYABLE is true"));
  }
}

// -- usages -----------------------------------------------------------------------------------------------------------------

void audit_usage(const ObjectFacts& object, Found& found) {
  if (object.owner == Owner::anchor) return;
  const bool wraps = object.wrap || object.unwrap;
  const std::string mixed = mixed_usage(object);
  if (!mixed.empty()) found.push_back(finding_of(wraps && object.kind == ObjectKind::secret ? "kek-mixed" : "mixed-usage", object, mixed));
  if (object.sign_recover) found.push_back(finding_of("raw-recover", object, "CKA_SIGN_RECOVER is true"));
  if (object.trusted.value_or(false) && (object.encrypt || object.decrypt || object.sign || object.derive)) {
    found.push_back(finding_of("trusted-misused", object, "CKA_TRUSTED is true, and its usages are " + object.usages()));
  }
  if (object.holds_secret() && object.usages() == "none") found.push_back(finding_of("no-usage", object, "no usage is set"));
}

void audit_dates(const ObjectFacts& object, UnixTime now, Found& found) {
  if (object.not_after && now >= *object.not_after) found.push_back(finding_of("end-date-over", object, "CKA_END_DATE is " + rfc3339(*object.not_after - day).substr(0, 10)));
  if (object.not_before && now < *object.not_before) found.push_back(finding_of("start-date-ahead", object, "CKA_START_DATE is " + rfc3339(*object.not_before).substr(0, 10)));
}

// -- what the catalog says --------------------------------------------------------------------------------------------------

void audit_record(const Policy& policy, const ObjectFacts& object, UnixTime now, Found& found) {
  for (const auto& difference : object.differences) {
    found.push_back(finding_of("differs", object, printable(difference)));
    if (!object.record) found.back().fix = "destroy it with the vendor's tool";
    else if (object.record->state == State::destroyed) found.back().fix = fmt::format("kmtool state {} destroy --reason TEXT", printable(object.record->label));
  }
  if (!object.record || object.kind == ObjectKind::public_half) return;
  const KeyFacts& key = *object.record;
  for (const auto& violation : judge_key(policy, key.role, key.type, key.exportable, object.backed_up && key.role == Role::sign)) {
    // The floor was judged by the object itself.
    if (violation.rule == "G-GEN" && key.strength >= 112) found.push_back(finding_of("strength", object, violation.what, violation.severity));
    if (violation.rule == "G-SEALED" && key.role == Role::sign) found.push_back(finding_of("exportable-signature-key", object, violation.what, violation.severity));
  }
  for (const auto& violation : judge_standing(policy, key, now)) {
    found.push_back(finding_of(violation.code, object, violation.what, violation.severity));
  }
}

void audit_certificate(const ObjectFacts& object, UnixTime now, Found& found) {
  const CertificateFacts& certificate = *object.certificate;
  if (!certificate.readable) {
    found.push_back(finding_of("certificate-unreadable", object, "its CKA_VALUE is no X.509 certificate"));
    return;
  }
  const std::string until = rfc3339(certificate.not_after).substr(0, 10), who = printable(certificate.subject);
  if (now >= certificate.not_after) {
    found.push_back(finding_of("certificate-expired", object, fmt::format("{} expired on {}", who, until)));
  } else if (certificate.not_after - now < 90 * day) {
    found.push_back(finding_of("certificate-expiring", object, fmt::format("{} expires on {}, in {}", who, until, counted(static_cast<std::uint64_t>((certificate.not_after - now) / day), "day")), certificate.not_after - now < 30 * day ? Severity::medium : Severity::low));
  }
  if (now < certificate.not_before) found.push_back(finding_of("certificate-future", object, fmt::format("{} is valid from {}", who, rfc3339(certificate.not_before).substr(0, 10))));
  if (certificate.weak_signature && !certificate.self_signed) found.push_back(finding_of("certificate-signature", object, fmt::format("{} is signed with {}", who, printable(certificate.signature))));
  if (object.strength >= 0) {
    for (const auto& violation : judge_strength_floor("G-GEN", fmt::format("{} certifies {} ({} bits)", who, object.key.name, object.strength), object.strength, now)) {
      found.push_back(finding_of("strength", object, violation.what, violation.severity == Severity::critical ? Severity::high : violation.severity));
    }
  }
}

}  // namespace

std::string mixed_usage(const ObjectFacts& object) {
  // SP 800-57 part 1, 5.2: what belongs together is one purpose; a secret key's two directions are.
  std::vector<std::string> purposes;
  if (object.encrypt || object.decrypt) purposes.emplace_back("encryption");
  if (object.sign || object.verify || object.sign_recover || object.verify_recover) purposes.emplace_back("signatures");
  if (object.wrap || object.unwrap) purposes.emplace_back("key wrapping");
  if (object.derive) purposes.emplace_back("derivation");
  return purposes.size() < 2 ? "" : fmt::format("it serves {}: {}", join(purposes, " and "), object.usages());
}

std::vector<Standing> judge_standing(const Policy& policy, const KeyFacts& key, UnixTime now) {
  std::vector<Standing> found;
  const std::string label = printable(key.label);
  if (key.state == State::compromised) {
    found.push_back({"compromised-present", Severity::medium, label + " is compromised"});
  } else if (key.state == State::active && key.originator_end && now >= *key.originator_end) {
    found.push_back({"cryptoperiod-over", key.role == Role::kek ? Severity::high : Severity::medium, fmt::format("the originator period of {} ended on {}, and it is active", label, rfc3339(*key.originator_end).substr(0, 10))});
  } else if (key.state == State::active && key.originator_end && *key.originator_end - now < 30 * day) {
    found.push_back({"cryptoperiod-ending", Severity::low, fmt::format("the originator period of {} ends on {}", label, rfc3339(*key.originator_end).substr(0, 10))});
  } else if (key.state == State::deactivated && key.originator_end && key.role != Role::kek &&
             now >= *key.originator_end + period_of(policy, key.role).recipient) {
    found.push_back({"retired-present", Severity::low, fmt::format("{} is deactivated, and its recipient period ended on {}", label, rfc3339(*key.originator_end + period_of(policy, key.role).recipient).substr(0, 10))});
  }
  return found;
}

std::vector<Finding> audit_object(const Policy& policy, const TokenTraits& traits, const ObjectFacts& object, UnixTime now) {
  Found found;
  if (object.kind == ObjectKind::data) {
    found.push_back(object.is_private == false ? finding_of("data-public", object, "CKA_PRIVATE is false") : finding_of("data-object", object, "CKO_DATA"));
  }
  if (object.certificate) audit_certificate(object, now, found);
  if (object.is_key() && !object.has_private) {
    audit_strength(object, now, found);
    audit_numbers(object, found);
    audit_usage(object, found);
    audit_dates(object, now, found);
  }
  if (object.holds_secret()) {
    audit_origin(traits, object, found);
    audit_flags(traits, object, found);
  }
  audit_record(policy, object, now, found);
  return found;
}

}  // namespace kmtool::policy
