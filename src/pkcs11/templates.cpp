#include "templates.hpp"

#include <array>
#include <utility>

namespace kmtool::pkcs11 {
namespace {

using namespace std::string_view_literals;

constexpr std::array<std::pair<KeyType, std::string_view>, 4> curves{{
    {KeyType::ec_p256, "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"sv},
    {KeyType::ec_p384, "\x06\x05\x2b\x81\x04\x00\x22"sv},
    {KeyType::ec_p521, "\x06\x05\x2b\x81\x04\x00\x23"sv},
    {KeyType::ed25519,
     "\x13\x0c"
     "edwards25519"sv},
}};
constexpr std::string_view ed25519_oid = "\x06\x03\x2b\x65\x70"sv;
constexpr std::size_t id_length = 16;
constexpr std::array suffixes{"seal"sv, "anc1"sv, "anc2"sv};
constexpr std::array<std::uint8_t, 3> rsa_exponent{0x01, 0x00, 0x01};

void add_head(Attributes& out, const ObjectSpec& spec, const Bytes& id, ObjectClass object_class, Lifetime lifetime) {
  out.number(CKA_CLASS, cko_of(object_class)).number(CKA_KEY_TYPE, ckk_of(object_type(spec)));
  out.flag(CKA_TOKEN, lifetime == Lifetime::token).flag(CKA_PRIVATE, object_class != ObjectClass::public_key);
  out.text(CKA_LABEL, spec.label).bytes(CKA_ID, id);
}

void add_secrecy(Attributes& out, const ObjectSpec& spec) {
  out.flag(CKA_SENSITIVE, true).flag(CKA_EXTRACTABLE, spec.extractable);
}

/// Every usage is spelled out, set or not: tokens differ in what they take for granted.
void add_usage(Attributes& out, const ObjectSpec& spec, ObjectClass object_class) {
  const Usage usage = usage_of(spec.role, spec.type, spec.part);
  if (object_class == ObjectClass::public_key) out.flag(CKA_DERIVE, usage.derive).flag(CKA_VERIFY_RECOVER, false);
  if (object_class != ObjectClass::private_key) {
    out.flag(CKA_ENCRYPT, usage.encrypt).flag(CKA_VERIFY, usage.verify).flag(CKA_WRAP, usage.wrap);
  }
  if (object_class != ObjectClass::public_key) {
    out.flag(CKA_DECRYPT, usage.decrypt).flag(CKA_SIGN, usage.sign).flag(CKA_UNWRAP, usage.unwrap).flag(CKA_DERIVE, usage.derive);
  }
  if (object_class == ObjectClass::private_key) out.flag(CKA_SIGN_RECOVER, false);
}

/// Session objects stay modifiable, so that their copy can be given other attributes; the anchor is relabelled for ever.
void add_tail(Attributes& out, const ObjectSpec& spec, Lifetime lifetime, const Profile& profile) {
  if (lifetime != Lifetime::token || spec.part == Part::anchor) return;
  if (profile.copyable_known) out.flag(CKA_COPYABLE, false);
  out.flag(CKA_MODIFIABLE, false);  // last: SoftHSM refuses every attribute after it
}

}  // namespace

Bytes stored_id(const ObjectSpec& spec, const Profile& profile, bool second_anchor) {
  Bytes out = spec.id;
  if (!profile.one_object_per_id) return out;
  if (spec.part == Part::kek_seal) append(out, view(suffixes[0]));
  if (spec.part == Part::anchor) append(out, view(suffixes[second_anchor ? 2 : 1]));
  return out;
}

std::vector<Bytes> stored_ids(const Bytes& id, const Profile& profile) {
  std::vector<Bytes> out{id};
  if (!profile.one_object_per_id) return out;
  for (const std::string_view suffix : suffixes) append(out.emplace_back(id), view(suffix));
  return out;
}

Bytes visible_id(const Bytes& stored) {
  for (const std::string_view suffix : suffixes) {
    if (stored.size() == id_length + suffix.size() && equal(ByteView(stored).subspan(id_length), view(suffix))) {
      return {stored.begin(), stored.begin() + id_length};
    }
  }
  return stored;
}

KeyType object_type(const ObjectSpec& spec) {
  return spec.part == Part::kek_seal || spec.part == Part::anchor ? KeyType::hmac_sha256 : spec.type;
}

ObjectClass class_of_part(Role role, Part part) {
  if (part == Part::private_half) return ObjectClass::private_key;
  if (part == Part::public_half) return ObjectClass::public_key;
  if (part == Part::value && (role == Role::sign || role == Role::transport)) throw Error::internal("a pair has no part value");
  return ObjectClass::secret_key;
}

CK_KEY_TYPE ckk_of(KeyType type) {
  switch (type) {
    case KeyType::aes128:
    case KeyType::aes192:
    case KeyType::aes256:
      return CKK_AES;
    case KeyType::hmac_sha256:
    case KeyType::hmac_sha384:
    case KeyType::hmac_sha512:
      return CKK_GENERIC_SECRET;
    case KeyType::ec_p256:
    case KeyType::ec_p384:
    case KeyType::ec_p521:
      return CKK_EC;
    case KeyType::ed25519:
      return ckk_edwards;
    case KeyType::rsa3072:
    case KeyType::rsa4096:
      return CKK_RSA;
  }
  throw Error::internal("no such key type");
}

CK_OBJECT_CLASS cko_of(ObjectClass object_class) {
  switch (object_class) {
    case ObjectClass::secret_key:
      return CKO_SECRET_KEY;
    case ObjectClass::private_key:
      return CKO_PRIVATE_KEY;
    case ObjectClass::public_key:
      return CKO_PUBLIC_KEY;
    case ObjectClass::certificate:
      return CKO_CERTIFICATE;
    case ObjectClass::data:
      return CKO_DATA;
    case ObjectClass::other:
      break;
  }
  throw Error::internal("no such object class");
}

ObjectClass class_from(CK_OBJECT_CLASS number) {
  switch (number) {
    case CKO_SECRET_KEY:
      return ObjectClass::secret_key;
    case CKO_PRIVATE_KEY:
      return ObjectClass::private_key;
    case CKO_PUBLIC_KEY:
      return ObjectClass::public_key;
    case CKO_CERTIFICATE:
      return ObjectClass::certificate;
    case CKO_DATA:
      return ObjectClass::data;
    default:
      return ObjectClass::other;
  }
}

Bytes ec_params_of(KeyType type) {
  for (const auto& [curve, params] : curves) {
    if (curve == type) return to_bytes(params);
  }
  return {};
}

std::optional<KeyType> type_of_ec_params(ByteView params) {
  for (const auto& [curve, known] : curves) {
    if (equal(params, view(known))) return curve;
  }
  if (equal(params, view(ed25519_oid))) return KeyType::ed25519;
  return std::nullopt;
}

CK_MECHANISM_TYPE generation_mechanism(KeyType type) {
  if (type == KeyType::ed25519) return mech_edwards_pair_gen;
  if (is_rsa(type)) return CKM_RSA_PKCS_KEY_PAIR_GEN;
  if (is_ec(type)) return CKM_EC_KEY_PAIR_GEN;
  return ckk_of(type) == CKK_AES ? CKM_AES_KEY_GEN : CKM_GENERIC_SECRET_KEY_GEN;
}

Attributes secret_template(const ObjectSpec& spec, Lifetime lifetime, const Profile& profile) {
  Attributes out;
  add_head(out, spec, stored_id(spec, profile), ObjectClass::secret_key, lifetime);
  add_secrecy(out, spec);
  add_usage(out, spec, ObjectClass::secret_key);
  out.number(CKA_VALUE_LEN, value_length(object_type(spec)));
  add_tail(out, spec, lifetime, profile);
  return out;
}

Attributes anchor_template(const ObjectSpec& spec, const Bytes& stored, Lifetime lifetime) {
  Attributes out;
  add_head(out, spec, stored, ObjectClass::secret_key, lifetime);
  add_secrecy(out, spec);
  add_usage(out, spec, ObjectClass::secret_key);
  out.number(CKA_VALUE_LEN, value_length(object_type(spec)));
  return out;
}

Attributes public_template(const ObjectSpec& spec, Lifetime lifetime, const Profile& profile) {
  Attributes out;
  add_head(out, spec, stored_id(spec, profile), ObjectClass::public_key, lifetime);
  add_usage(out, spec, ObjectClass::public_key);
  if (is_rsa(spec.type)) {
    out.number(CKA_MODULUS_BITS, modulus_bits(spec.type)).bytes(CKA_PUBLIC_EXPONENT, rsa_exponent);
  } else {
    out.bytes(CKA_EC_PARAMS, ec_params_of(spec.type));
  }
  add_tail(out, spec, lifetime, profile);
  return out;
}

Attributes private_template(const ObjectSpec& spec, Lifetime lifetime, const Profile& profile) {
  Attributes out;
  add_head(out, spec, stored_id(spec, profile), ObjectClass::private_key, lifetime);
  add_secrecy(out, spec);
  add_usage(out, spec, ObjectClass::private_key);
  add_tail(out, spec, lifetime, profile);
  return out;
}

Attributes unwrap_template(const ObjectSpec& spec, const Profile& profile) {
  Attributes out;
  const ObjectClass object_class = class_of_part(spec.role, spec.part);
  if (object_class == ObjectClass::public_key) throw Error::internal("a public half is not unwrapped");
  add_head(out, spec, stored_id(spec, profile), object_class, Lifetime::session);
  add_secrecy(out, spec);
  add_usage(out, spec, object_class);
  add_tail(out, spec, Lifetime::session, profile);
  return out;
}

Attributes create_public_template(const ObjectSpec& spec, const Profile& profile) {
  Attributes out;
  add_head(out, spec, stored_id(spec, profile), ObjectClass::public_key, Lifetime::session);
  add_usage(out, spec, ObjectClass::public_key);
  add_tail(out, spec, Lifetime::session, profile);
  return out;
}

Attributes persist_template(const ObjectSpec& spec, bool extractable, bool lock, const Profile& profile) {
  Attributes out;
  out.flag(CKA_TOKEN, true);
  // Only what changes: SoftHSM refuses even false where it is false already.
  if (spec.extractable != extractable && spec.part != Part::public_half) out.flag(CKA_EXTRACTABLE, extractable);
  if (spec.part == Part::anchor) return out;
  if (profile.copyable_known) out.flag(CKA_COPYABLE, false);
  if (lock) out.flag(CKA_MODIFIABLE, false);
  return out;
}

}  // namespace kmtool::pkcs11
