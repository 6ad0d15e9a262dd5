#include "keys.hpp"
#include "kmtool/core/text.hpp"
#include "objects.hpp"

namespace kmtool::pkcs11 {
namespace {

ObjectSpec part_spec(const ObjectSpec& key, Part part) {
  ObjectSpec out = key;
  out.part = part;
  if (part == Part::public_half) out.extractable = false;
  return out;
}

std::vector<FreshObject> release(std::vector<std::pair<ObjectSpec, ScopedObject>>& made) {
  std::vector<FreshObject> out;
  out.reserve(made.size());
  for (auto& [spec, object] : made) out.push_back({spec, {object.release()}});
  return out;
}

std::string explain(const ObjectSpec& spec, const std::vector<std::string>& differences) {
  return "the token made " + printable(spec.label) + " otherwise than asked: " + join(differences, "; ");
}

bool id_taken(const Session& session, const ObjectSpec& spec, const Bytes& stored) {
  Attributes filter;
  filter.flag(CKA_TOKEN, true).number(CKA_CLASS, cko_of(class_of_part(spec.role, spec.part))).bytes(CKA_ID, stored);
  return !session.find(std::move(filter)).empty();
}

/// Where a second object of one class and id would replace the first, the first must not exist.
void require_free_id(const Session& session, const Profile& profile, const ObjectSpec& spec) {
  if (!profile.one_object_per_id || !id_taken(session, spec, stored_id(spec, profile))) return;
  throw Error::refused(
      "duplicate-id", "the token has an object with the CKA_ID of " + printable(spec.label) + " already, which would be replaced",
      "destroy the key that is on the token first");
}

/// Some tokens do not take CKA_MODIFIABLE in a copy: then, and only then, without it.
CK_OBJECT_HANDLE copy_to_token(const Session& session, const Profile& profile, const FreshObject& fresh, bool extractable) {
  try {
    return session.copy(fresh.handle.value, persist_template(fresh.spec, extractable, true, profile));
  } catch (const Error& error) {
    const bool about_attributes = is_rv(error, CKR_ATTRIBUTE_READ_ONLY) || is_rv(error, CKR_ATTRIBUTE_TYPE_INVALID) ||
                                  is_rv(error, CKR_ATTRIBUTE_VALUE_INVALID) || is_rv(error, CKR_TEMPLATE_INCONSISTENT);
    if (!about_attributes || profile.modifiable_enforced) throw;
  }
  return session.copy(fresh.handle.value, persist_template(fresh.spec, extractable, false, profile));
}

}  // namespace

std::vector<FreshObject> generate_key(const Session& session, const Profile& profile, const ObjectSpec& spec, Lifetime lifetime) {
  std::vector<std::pair<ObjectSpec, ScopedObject>> made;
  if (lifetime == Lifetime::token) {
    for (const Part part : parts_of(spec.role)) require_free_id(session, profile, part_spec(spec, part));
  }
  if (class_of(spec.type) == KeyClass::pair) {
    const ObjectSpec private_spec = part_spec(spec, Part::private_half);
    const ObjectSpec public_spec = part_spec(spec, Part::public_half);
    const KeyPair pair = session.generate_pair(generation_mechanism(spec.type), public_template(public_spec, lifetime, profile),
                                               private_template(private_spec, lifetime, profile));
    ScopedObject public_half(session, pair.public_half);
    made.emplace_back(private_spec, ScopedObject(session, pair.private_half));
    made.emplace_back(public_spec, std::move(public_half));
    return release(made);
  }
  for (const Part part : parts_of(spec.role)) {
    const ObjectSpec object = part_spec(spec, part);
    const auto handle = session.generate(generation_mechanism(object_type(object)), secret_template(object, lifetime, profile));
    made.emplace_back(object, ScopedObject(session, handle));
  }
  return release(made);
}

Object persist_object(const Session& session, const Profile& profile, const FreshObject& fresh, bool extractable) {
  const ScopedObject original(session, fresh.handle.value);
  require_free_id(session, profile, fresh.spec);
  ScopedObject copy(session, copy_to_token(session, profile, fresh, extractable));
  ObjectSpec wanted = fresh.spec;
  wanted.extractable = extractable && wanted.part != Part::public_half;
  Object out = read_object(session, copy.get(), class_of_part(wanted.role, wanted.part));
  // The session object knows whether it was generated or unwrapped; its copy must say the same.
  const Object before = read_object(session, original.get(), class_of_part(wanted.role, wanted.part));
  const bool imported = profile.local_correct && !before.local.value_or(false);
  const auto differences = object_differences(out, wanted, imported, profile);
  if (!differences.empty()) {
    throw Error::internal(explain(wanted, differences), "the copy was destroyed; this token cannot hold such a key safely");
  }
  copy.release();
  return out;
}

std::vector<Object> generate_key_on_token(const Session& session, const Profile& profile, const ObjectSpec& spec) {
  std::vector<ScopedObject> guards;
  std::vector<Object> out;
  const auto made = generate_key(session, profile, spec, Lifetime::token);
  guards.reserve(made.size());
  for (const FreshObject& fresh : made) guards.emplace_back(session, fresh.handle.value);
  for (const FreshObject& fresh : made) {
    out.push_back(read_object(session, fresh.handle.value, class_of_part(fresh.spec.role, fresh.spec.part)));
    const auto differences = object_differences(out.back(), fresh.spec, false, profile);
    if (!differences.empty()) {
      throw Error::internal(explain(fresh.spec, differences), "the key was destroyed; this token cannot hold such a key safely");
    }
  }
  for (ScopedObject& guard : guards) guard.release();
  return out;
}

Handle make_anchor(const Session& session, const Profile& profile, const Bytes& id, const std::string& label) {
  const ObjectSpec spec{Role::mac, KeyType::hmac_sha256, Part::anchor, label, id, false};
  Bytes stored = stored_id(spec, profile);
  if (profile.one_object_per_id && id_taken(session, spec, stored)) {
    stored = stored_id(spec, profile, true);
    if (id_taken(session, spec, stored)) throw Error::refused("duplicate-id", "the token has both rollback anchors already");
  }
  CK_OBJECT_HANDLE handle = 0;
  if (profile.copies) {
    const ScopedObject original(session,
                                session.generate(CKM_GENERIC_SECRET_KEY_GEN, anchor_template(spec, stored, Lifetime::session)));
    handle = session.copy(original.get(), persist_template(spec, false, false, profile));
  } else {
    handle = session.generate(CKM_GENERIC_SECRET_KEY_GEN, anchor_template(spec, stored, Lifetime::token));
  }
  ScopedObject anchor(session, handle);
  const auto differences = object_differences(read_object(session, handle, ObjectClass::secret_key), spec, false, profile);
  if (!differences.empty()) throw Error::internal(explain(spec, differences), "the object was destroyed");
  anchor.release();
  return {handle};
}

}  // namespace kmtool::pkcs11
