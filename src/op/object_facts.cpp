#include "kmtool/op/object_facts.hpp"

#include "kmtool/core/encoding.hpp"
#include "kmtool/crypto/digest.hpp"
#include "kmtool/crypto/x509_facts.hpp"
#include "kmtool/pkcs11/survey.hpp"

namespace kmtool::op {
namespace {

using pkcs11::Object;
using pkcs11::ObjectClass;
using policy::ObjectFacts;
using policy::ObjectKind;

ObjectKind kind_from(ObjectClass object_class) {
  switch (object_class) {
    case ObjectClass::secret_key:
      return ObjectKind::secret;
    case ObjectClass::private_key:
      return ObjectKind::private_half;
    case ObjectClass::public_key:
      return ObjectKind::public_half;
    case ObjectClass::certificate:
      return ObjectKind::certificate;
    case ObjectClass::data:
      return ObjectKind::data;
    case ObjectClass::other:
      break;
  }
  return ObjectKind::other;
}

/// What tells a public key from every other: the digest of its SubjectPublicKeyInfo, as certificates have it too.
std::string public_id(pkcs11::Token& token, const Object& object) {
  const bool shown = (!object.modulus.empty() && !object.public_exponent.empty()) || !object.ec_point.empty();
  if (!shown || (object.object_class != ObjectClass::private_key && object.object_class != ObjectClass::public_key)) return {};
  try {
    return hex(crypto::sha256(token.public_key(object).spki()));
  } catch (const Error&) {  // a kind or curve that has no SPKI here: its own numbers tell it
    return "raw-" + hex(crypto::sha256(object.modulus.empty() ? object.ec_point : object.modulus));
  }
}

unsigned long small_number(const Bytes& octets) {
  unsigned long out = 0;
  for (const auto octet : octets) {
    if (out >> 48U != 0) return ~0UL;
    out = out << 8U | octet;
  }
  return out;
}

void read_certificate(pkcs11::Token& token, const Object& object, ObjectFacts& facts) {
  policy::CertificateFacts certificate;
  if (const auto said = crypto::read_certificate(token.certificate(object))) {
    certificate = {true, said->subject, said->issuer, said->not_before, said->not_after, said->signature, said->weak_signature, said->self_signed, said->authority};
    facts.public_id = said->public_id;
    facts.key.name = said->key;
    facts.strength = said->strength;
  }
  facts.certificate = certificate;
}

void read_usages(const Object& object, ObjectFacts& facts) {
  const auto set = [](const std::optional<bool>& flag) { return flag.value_or(false); };
  facts.encrypt = set(object.encrypt);
  facts.decrypt = set(object.decrypt);
  facts.sign = set(object.sign);
  facts.verify = set(object.verify);
  facts.wrap = set(object.wrap);
  facts.unwrap = set(object.unwrap);
  facts.derive = set(object.derive);
  facts.sign_recover = set(object.sign_recover);
  facts.verify_recover = set(object.verify_recover);
}

void read_limits(pkcs11::Token& token, const Object& object, ObjectFacts& facts) {
  const auto limits = token.limits(object);
  if (const auto from = parse_rfc3339(limits.start_date + "T00:00:00Z")) facts.not_before = from;
  if (const auto day = parse_rfc3339(limits.end_date + "T00:00:00Z")) facts.not_after = *day + 86400;
  facts.mechanisms = limits.mechanisms;
  facts.wrap_template = limits.wrap_template;
}

/// Without a home the labels that kmtool gives its own objects are all there is to go by.
ObjectFacts::Owner owner_by_label(const ObjectFacts& facts) {
  if (facts.label.starts_with("kmtool-anchor:") && facts.usages() == "none") return ObjectFacts::Owner::anchor;
  const bool named = facts.label.starts_with("kmtool-log-signer-") || facts.label.starts_with("kmtool-document-signer-");
  const bool locked = facts.modifiable != true && facts.extractable != true;
  return named && locked && facts.is_key() && facts.kind != ObjectKind::secret ? ObjectFacts::Owner::signer : ObjectFacts::Owner::nobody;
}

}  // namespace

ObjectFacts object_facts(pkcs11::Token& token, const Object& object) {
  ObjectFacts facts;
  facts.label = object.label;
  facts.id = hex(object.id);
  facts.kind = kind_from(object.object_class);
  facts.key = pkcs11::kind_of(object);
  facts.strength = facts.key.strength();
  facts.is_private = object.is_private;
  facts.sensitive = object.sensitive;
  facts.extractable = object.extractable;
  facts.modifiable = object.modifiable;
  facts.copyable = object.copyable;
  facts.local = object.local;
  facts.always_sensitive = object.always_sensitive;
  facts.never_extractable = object.never_extractable;
  facts.wrap_with_trusted = object.wrap_with_trusted;
  facts.trusted = object.trusted;
  read_usages(object, facts);
  facts.exponent = small_number(object.public_exponent);
  facts.public_id = public_id(token, object);
  if (object.object_class == ObjectClass::certificate) read_certificate(token, object, facts);
  if (facts.is_key()) read_limits(token, object, facts);
  facts.owner = owner_by_label(facts);
  return facts;
}

policy::TokenTraits token_traits(const pkcs11::Token& token) {
  const auto& profile = token.profile();
  policy::TokenTraits traits;
  traits.label = token.info().label;
  traits.hardware = token.info().hardware;
  traits.extractable_enforced = profile.extractable_enforced;
  traits.wrap_with_trusted_enforced = profile.wrap_with_trusted_enforced;
  traits.modifiable_enforced = profile.modifiable_enforced;
  traits.local_correct = profile.local_correct;
  const auto allow = [&](bool is, const char* trial, const char* how) {
    if (is) traits.allowed.emplace_back(trial, how);
  };
  const bool wraps = profile.kw_mechanism != 0 || profile.kwp_mechanism != 0;
  allow(wraps && !profile.extractable_enforced, "wrap-unextractable", "C_WrapKey");
  allow(wraps && !profile.wrap_with_trusted_enforced, "wrap-with-trusted", "C_WrapKey");
  allow(!profile.modifiable_enforced, "add-decrypt-locked", "C_SetAttributeValue: CKA_DECRYPT");
  allow(profile.copies && !profile.copy_keeps_extractable_false, "copy-extractable", "C_CopyObject");
  return traits;
}

}  // namespace kmtool::op
