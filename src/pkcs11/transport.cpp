#include <fmt/format.h>

#include <algorithm>
#include <ranges>

#include "host.hpp"
#include "keys.hpp"
#include "kmtool/core/text.hpp"
#include "objects.hpp"

/// Keys to public keys and back (domain/transport.hpp says what the octets are). Nothing made on the way outlives the call.
namespace kmtool::pkcs11 {
namespace {

using Kind = Transport::Kind;
constexpr std::size_t bridge_length = 32;

/// OAEP's parameters and the mechanism that points to them.
struct Oaep {
  explicit Oaep(std::string_view hash) : parameters(oaep_parameters(std::string(hash))) {}
  [[nodiscard]] Mechanism mechanism() { return {CKM_RSA_PKCS_OAEP, &parameters, sizeof parameters}; }
  CK_RSA_PKCS_OAEP_PARAMS parameters;
};

/// The AES key between the two steps.
Attributes bridge_template(CK_ATTRIBUTE_TYPE usage, bool extractable) {
  Attributes out;
  out.number(CKA_CLASS, CKO_SECRET_KEY).number(CKA_KEY_TYPE, CKK_AES).flag(CKA_TOKEN, false).flag(CKA_PRIVATE, true);
  out.flag(CKA_SENSITIVE, true).flag(CKA_EXTRACTABLE, extractable).flag(CKA_ENCRYPT, false).flag(CKA_DECRYPT, false);
  out.flag(CKA_WRAP, usage == CKA_WRAP).flag(CKA_UNWRAP, usage == CKA_UNWRAP);
  return out;
}

CK_OBJECT_HANDLE derive_bridge(const Session& session, CK_OBJECT_HANDLE private_key, Bytes point, std::string_view hash,
                               CK_ATTRIBUTE_TYPE usage) {
  CK_ECDH1_DERIVE_PARAMS parameters{};
  parameters.kdf = kdf_number(hash);
  parameters.pPublicData = point.data();
  parameters.ulPublicDataLen = point.size();
  Attributes what = bridge_template(usage, false);
  what.number(CKA_VALUE_LEN, bridge_length);
  return session.derive({CKM_ECDH1_DERIVE, &parameters, sizeof parameters}, private_key, std::move(what));
}

/// A pair for one agreement.
KeyPair ephemeral_pair(const Session& session, KeyType curve) {
  const Bytes id = session.random(16);
  Attributes public_half, private_half;
  public_half.flag(CKA_TOKEN, false).flag(CKA_PRIVATE, false).flag(CKA_VERIFY, false).bytes(CKA_ID, id);
  public_half.bytes(CKA_EC_PARAMS, ec_params_of(curve));
  private_half.flag(CKA_TOKEN, false).flag(CKA_PRIVATE, true).flag(CKA_SENSITIVE, true).flag(CKA_EXTRACTABLE, false);
  private_half.flag(CKA_DERIVE, true).flag(CKA_SIGN, false).bytes(CKA_ID, id);
  return session.generate_pair(CKM_EC_KEY_PAIR_GEN, std::move(public_half), std::move(private_half));
}

CK_OBJECT_HANDLE open_bridge(const Session& session, CK_OBJECT_HANDLE private_key, ByteView head, const Transport& transport) {
  if (transport.kind == Kind::ecdh_kwp) {
    return derive_bridge(session, private_key, Bytes(head.begin(), head.end()), transport.hash, CKA_UNWRAP);
  }
  Oaep oaep(transport.hash);
  return session.unwrap(oaep.mechanism(), private_key, head, bridge_template(CKA_UNWRAP, false));
}

}  // namespace

CK_ULONG kdf_number(std::string_view hash) {
  if (hash == "SHA-256") return 6;  // CKD_SHA256_KDF and its kin: PKCS #11 3.0
  if (hash == "SHA-384") return 7;
  if (hash == "SHA-512") return 8;
  return 0;
}

Bytes wrap_under_public(const Session& session, const Profile& profile, CK_OBJECT_HANDLE public_object, CK_OBJECT_HANDLE key,
                        const Transport& transport) {
  Oaep oaep(transport.hash);
  if (transport.kind == Kind::rsa_oaep) return session.wrap(oaep.mechanism(), public_object, key);
  Attributes what = bridge_template(CKA_WRAP, true);
  what.number(CKA_VALUE_LEN, bridge_length);
  const ScopedObject bridge(session, session.generate(CKM_AES_KEY_GEN, std::move(what)));
  Bytes out = session.wrap(oaep.mechanism(), public_object, bridge.get());
  append(out, session.wrap(wrap_mechanism(profile, WrapAlgorithm::aes_kwp), bridge.get(), key));
  return out;
}

Bytes wrap_by_agreement(const Session& session, const Profile& profile, const crypto::PublicKey& recipient, CK_OBJECT_HANDLE key,
                        const Transport& transport) {
  const KeyPair pair = ephemeral_pair(session, recipient.type().value());
  const ScopedObject private_half(session, pair.private_half), public_half(session, pair.public_half);
  const auto own = public_key_of(read_object(session, pair.public_half, ObjectClass::public_key));
  const ScopedObject bridge(session, derive_bridge(session, pair.private_half, host::numbers_of(recipient).raw_point, transport.hash, CKA_WRAP));
  Bytes out = host::numbers_of(own).raw_point;
  append(out, session.wrap(wrap_mechanism(profile, WrapAlgorithm::aes_kwp), bridge.get(), key));
  return out;
}

Bytes wrap_to_public(const Session& session, const Profile& profile, const crypto::PublicKey& recipient, CK_OBJECT_HANDLE key,
                     const Transport& transport) {
  const auto type = recipient.type();
  if (!type || !fits(transport, *type)) {
    throw Error::internal(fmt::format("{} does not go with a key of type {}", to_text(transport), recipient.description()));
  }
  if (transport.kind == Kind::ecdh_kwp) return wrap_by_agreement(session, profile, recipient, key, transport);
  const ObjectSpec spec{Role::transport, *type, Part::public_half, "kmtool-recipient", session.random(16), false};
  const ScopedObject object(session, create_public_half(session, profile, recipient, spec).handle.value);
  return wrap_under_public(session, profile, object.get(), key, transport);
}

CK_OBJECT_HANDLE open_transported(const Session& session, const Profile& profile, CK_OBJECT_HANDLE private_key, ByteView value,
                                  std::size_t head, const Transport& transport, Attributes what) {
  if (transport.kind == Kind::rsa_oaep) {
    Oaep oaep(transport.hash);
    return session.unwrap(oaep.mechanism(), private_key, value, std::move(what));
  }
  const ScopedObject bridge(session, open_bridge(session, private_key, value.first(head), transport));
  return session.unwrap(wrap_mechanism(profile, WrapAlgorithm::aes_kwp), bridge.get(), value.subspan(head), std::move(what));
}

namespace {

/// The sender's point, before the token computes with its private key: one that is not on the curve could draw the key out of it bit by
/// bit (SP 800-56A r3, 5.6.2.3.3), and tokens disagree on what to answer.
void hold_to_curve(ByteView point, KeyType curve, const ObjectSpec& spec) {
  try {
    if (point.empty() || point[0] != 4) throw Error::tampered("not uncompressed");
    crypto::PublicKey::from_ec(ec_params_of(curve), point);
  } catch (const Error& error) {
    throw Error::tampered(fmt::format("the wrapped value of {} does not begin with a point of {}: {}", printable(spec.label), to_text(curve),
                                      error.message()));
  }
}

/// RFC 8017, 7.1.2: what is not below the modulus is no ciphertext. NSS finds fault with its arguments then, not with the value.
void hold_below_modulus(ByteView sealed, const Bytes& modulus, const ObjectSpec& spec) {
  const auto leading = std::find_if(modulus.begin(), modulus.end(), [](std::uint8_t octet) { return octet != 0; });
  const auto length = static_cast<std::size_t>(modulus.end() - leading);
  if (length != sealed.size() || std::lexicographical_compare(sealed.begin(), sealed.end(), leading, modulus.end())) return;
  throw Error::tampered(fmt::format("the wrapped value of {} does not open under this transport key: it is larger than its modulus", printable(spec.label)),
                        "it is damaged, or was wrapped under another transport key");
}

}  // namespace

FreshObject unwrap_transported(const Session& session, const Profile& profile, const Object& private_half, KeyType type,
                               ByteView value, const Transport& transport, const ObjectSpec& spec) {
  if (!fits(transport, type) || value.size() != transported_length(transport, type, value_length(object_type(spec)))) {
    throw Error::tampered(fmt::format("the wrapped value of {} is not one of {} for a key of type {}", printable(spec.label),
                                      to_text(transport), to_text(type)));
  }
  const std::size_t head = transport_head(transport, type);
  if (transport.kind == Kind::ecdh_kwp) {
    hold_to_curve(value.first(head), type, spec);
  } else {
    hold_below_modulus(transport.kind == Kind::rsa_oaep ? value : value.first(head), private_half.modulus, spec);
  }
  const auto handle = opened_or_damaged(spec, "transport key", [&] {
    return open_transported(session, profile, private_half.handle.value, value, head, transport, unwrap_template(spec, profile));
  });
  return hold_opened(session, handle, spec);
}

}  // namespace kmtool::pkcs11
