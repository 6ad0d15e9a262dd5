#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "host.hpp"
#include "keys.hpp"
#include "kmtool/core/text.hpp"
#include "objects.hpp"

namespace kmtool::pkcs11 {
namespace {

/// Codes by which tokens say that a value does not open. SoftHSM and NSS have one word for it that means anything.
bool means_damaged(const Error& error) {
  constexpr std::array codes{CKR_GENERAL_ERROR,         CKR_FUNCTION_FAILED,         CKR_DATA_INVALID,
                             CKR_DATA_LEN_RANGE,        CKR_ENCRYPTED_DATA_INVALID,  CKR_WRAPPED_KEY_INVALID,
                             CKR_WRAPPED_KEY_LEN_RANGE, CKR_ENCRYPTED_DATA_LEN_RANGE};
  return std::ranges::any_of(codes, [&](CK_RV rv) { return is_rv(error, rv); });
}

/// Secret keys have one length, and so has what KW and KWP make of it; not every token tells the length of what it opened.
void hold_to_length(ByteView wrapped, const ObjectSpec& spec) {
  const std::size_t length = value_length(object_type(spec));
  if (class_of_part(spec.role, spec.part) != ObjectClass::secret_key || wrapped.size() == length + 8) return;
  throw Error::tampered(fmt::format("the wrapped value of {} has {} octets; a key of type {} has {}", printable(spec.label),
                                    wrapped.size(), to_text(object_type(spec)), length + 8));
}

/// What came out must be a key of the kind that the record says.
void hold_to_type(const Object& object, const ObjectSpec& spec) {
  const KeyType type = object_type(spec);
  bool as_said = object.key_type == ckk_of(type);
  if (object.object_class == ObjectClass::secret_key) {
    as_said = as_said && (object.value_length.value_or(0) == 0 || *object.value_length == value_length(type));
  } else if (is_rsa(type)) {
    as_said = as_said && (object.modulus.empty() || object.modulus.size() * 8 == modulus_bits(type));
  } else {
    as_said = as_said && (object.ec_params.empty() || type_of_ec_params(object.ec_params) == type);
  }
  if (as_said) return;
  throw Error::tampered(fmt::format("the wrapped value of {} is not a key of type {}", printable(spec.label), to_text(type)));
}

CK_OBJECT_HANDLE open_value(const Session& session, const Profile& profile, const Wrapped& wrapped, const ObjectSpec& spec) {
  const Mechanism mechanism = wrap_mechanism(profile, wrapped.algorithm);
  const bool needs_point = spec.part == Part::private_half && is_ec(spec.type);
  try {
    return session.unwrap(mechanism, wrapped.kek.value, wrapped.value, unwrap_template(spec, profile));
  } catch (const Error& error) {
    if (!needs_point || !is_rv(error, CKR_TEMPLATE_INCOMPLETE)) throw;
    if (wrapped.public_half == nullptr || wrapped.public_half->type() != spec.type) {
      throw Error(error.exit(), error.code(), error.message(),
                  "this token opens an EC private key only together with its public key");
    }
  }
  // NSS puts this point into the key, so that it must be the right one; the caller proves the halves against each other.
  Attributes what = unwrap_template(spec, profile);
  what.bytes(cka_nss_db, host::numbers_of(*wrapped.public_half).raw_point);
  return session.unwrap(mechanism, wrapped.kek.value, wrapped.value, std::move(what));
}

/// NSS gives private keys every usage whatever the template says, but takes them away again when told to.
void hold_to_usage(const Session& session, Object& object, const ObjectSpec& spec) {
  const Usage usage = usage_of(spec.role, spec.type, spec.part);
  struct Check {
    CK_ATTRIBUTE_TYPE type;
    std::optional<bool> Object::*field;
    bool wanted;
  };
  const std::array checks{
      Check{CKA_ENCRYPT, &Object::encrypt, usage.encrypt}, Check{CKA_DECRYPT, &Object::decrypt, usage.decrypt},
      Check{CKA_SIGN, &Object::sign, usage.sign},          Check{CKA_VERIFY, &Object::verify, usage.verify},
      Check{CKA_WRAP, &Object::wrap, usage.wrap},          Check{CKA_UNWRAP, &Object::unwrap, usage.unwrap},
      Check{CKA_DERIVE, &Object::derive, usage.derive},    Check{CKA_SIGN_RECOVER, &Object::sign_recover, false}};
  const auto wrong = [&](const Check& check) { return (object.*check.field).value_or(check.wanted) != check.wanted; };
  if (std::ranges::none_of(checks, wrong)) return;
  Attributes changes;
  for (const Check& check : checks) {
    if (wrong(check)) changes.flag(check.type, check.wanted);
  }
  session.set_attributes(object.handle.value, std::move(changes));
  object = read_object(session, object.handle.value, object.object_class);
  if (std::ranges::any_of(checks, wrong)) {
    throw Error::internal("the token gives " + printable(spec.label) + " other usages than asked, and keeps them",
                          "the key was destroyed; this token cannot hold such a key safely");
  }
}

}  // namespace

Mechanism wrap_mechanism(const Profile& profile, WrapAlgorithm algorithm) {
  const unsigned long number = algorithm == WrapAlgorithm::aes_kwp ? profile.kwp_mechanism : profile.kw_mechanism;
  if (number == 0) {
    throw Error::unavailable(fmt::format("this token has no {}", to_text(algorithm)), profile.kwp_note);
  }
  return {number, nullptr, 0};
}

namespace {

CK_OBJECT_HANDLE open_held(const Session& session, const Profile& profile, const Wrapped& wrapped, const ObjectSpec& spec) {
  hold_to_length(wrapped.value, spec);
  return opened_or_damaged(spec, "kek", [&] { return open_value(session, profile, wrapped, spec); });
}

}  // namespace

CK_OBJECT_HANDLE opened_or_damaged(const ObjectSpec& spec, const char* under, const std::function<CK_OBJECT_HANDLE()>& open) {
  try {
    return open();
  } catch (const Error& error) {
    if (!means_damaged(error)) throw;
    throw Error(ExitCode::damaged, error.code(),
                fmt::format("the wrapped value of {} does not open under this {}: {}", printable(spec.label), under, error.message()),
                fmt::format("it is damaged, or was wrapped under another {}", under));
  }
}

FreshObject hold_opened(const Session& session, CK_OBJECT_HANDLE handle, const ObjectSpec& spec) {
  FreshObject out{spec, {handle}};
  ScopedObject guard(session, handle);
  Object object = read_object(session, handle, class_of_part(spec.role, spec.part));
  hold_to_type(object, spec);
  hold_to_usage(session, object, spec);
  guard.release();
  return out;
}

FreshObject unwrap_key(const Session& session, const Profile& profile, const Wrapped& wrapped, const ObjectSpec& spec) {
  return hold_opened(session, open_held(session, profile, wrapped, spec), spec);
}

std::vector<Bytes> rewrap_key(const Session& session, const Profile& profile, const Wrapped& wrapped, const ObjectSpec& spec,
                              const std::vector<Token::WrapTarget>& targets) {
  const ScopedObject object(session, open_held(session, profile, wrapped, spec));
  // A secret key's length was held to its type before it was opened; a pair has to be looked at.
  const auto object_class = class_of_part(spec.role, spec.part);
  if (object_class != ObjectClass::secret_key) hold_to_type(read_object(session, object.get(), object_class), spec);
  std::vector<Bytes> out;
  out.reserve(targets.size());
  for (const auto& target : targets) {
    out.push_back(session.wrap(wrap_mechanism(profile, target.algorithm), target.kek.value, object.get()));
  }
  return out;
}

FreshObject create_public_half(const Session& session, const Profile& profile, const crypto::PublicKey& key,
                               const ObjectSpec& spec) {
  if (key.type() != spec.type) {
    throw Error::tampered(
        fmt::format("the public key of {} is {}, not {}", printable(spec.label), key.description(), to_text(spec.type)));
  }
  FreshObject out{spec, {}};
  out.spec.part = Part::public_half;
  out.spec.extractable = false;
  Attributes what = create_public_template(out.spec, profile);
  const host::Numbers numbers = host::numbers_of(key);
  if (is_rsa(spec.type)) {
    what.bytes(CKA_MODULUS, numbers.modulus).bytes(CKA_PUBLIC_EXPONENT, numbers.exponent);
  } else {
    what.bytes(CKA_EC_PARAMS, ec_params_of(spec.type)).bytes(CKA_EC_POINT, numbers.point);
  }
  out.handle = {session.create(std::move(what))};
  return out;
}

}  // namespace kmtool::pkcs11
