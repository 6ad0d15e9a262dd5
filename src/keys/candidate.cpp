#include "keys/candidate.hpp"

#include <algorithm>

#include "kmtool/core/text.hpp"
#include "kmtool/op/objects.hpp"

namespace kmtool::keys {

pkcs11::ObjectSpec spec_of(const op::VersionRecord& version, Part part) {
  return {version.role, version.type, part, version.object_label(), version.id, version.extractable};
}

namespace {

using pkcs11::Object;
using pkcs11::ObjectClass;

bool has(const std::optional<bool>& flag) { return flag.value_or(false); }

Unfit no_kek(const std::string& what) {
  return {what + ": a kek of kmtool is two objects, one that wraps and one that seals", "make a kek with kmtool gen --role kek"};
}

/// The key that the home has under the name that an object is labelled with.
std::optional<op::KeyRecord> key_of(const op::Context& context, const Candidate& candidate) {
  return candidate.was ? context.find_key(candidate.was->name) : std::nullopt;
}

Unfit untold(std::string why, std::string wants) { return {std::move(why), "say " + wants + " where you know it", std::move(wants)}; }

/// Nothing tells the role; where the token does not tell the length of a secret key, the type has to be said with it.
Unfit no_role(const op::Context& context, const Object& object, const Candidate& candidate, const AdoptRequest& request) {
  const bool untyped = object.object_class == ObjectClass::secret_key && !object.value_length && !object.type(Role::mac);
  if (const auto known = key_of(context, candidate)) {
    return untold("it does not tell what it is for, though the home has a key of that name", "--role " + std::string(to_text(known->role)));
  }
  if (!untyped) return untold("its usages do not tell what it is for", "--role ROLE");
  if (request.type) return untold("the token does not tell its length, so it is not certain what it is for", "--role ROLE");
  return untold("the token does not tell its length, so neither what it is for nor its type is certain", "--role ROLE --type TYPE");
}

Role role_of(const op::Context& context, const Object& object, const Candidate& candidate, const AdoptRequest& request) {
  if (request.role) return *request.role;
  if (object.object_class == ObjectClass::secret_key) {
    if (object.type(Role::data)) {
      if (has(object.encrypt) || has(object.decrypt)) return Role::data;
      if (has(object.wrap) || has(object.unwrap)) throw no_kek("it only wraps");
    }
    if (object.type(Role::mac) && (has(object.sign) || has(object.verify))) return Role::mac;
  } else if (has(object.sign)) {
    return Role::sign;
  } else if (has(object.unwrap) || has(object.decrypt) || has(object.derive)) {
    return Role::transport;
  }
  throw no_role(context, object, candidate, request);
}

/// Two secret keys, one of which wraps.
bool is_kek(const std::vector<Object>& objects) {
  const auto wraps = [](const Object& object) { return op::part_of(Role::kek, object) == Part::kek_wrap; };
  const auto secret = [](const Object& object) { return object.object_class == ObjectClass::secret_key; };
  return objects.size() == 2 && std::ranges::all_of(objects, secret) && std::ranges::count_if(objects, wraps) == 1;
}

/// What the token tells of the type, else what is known of the key, else what the user says.
KeyType type_of(const op::Context& context, const Object& object, const Candidate& candidate, const AdoptRequest& request) {
  const Role role = candidate.version.role;
  if (const auto type = object.type(role)) return *type;
  const auto known = key_of(context, candidate);
  const auto said = known && known->role == role ? std::optional(known->type) : request.type;
  if (said && !object.value_length && object.object_class == ObjectClass::secret_key && std::ranges::find(types_of(role), *said) != types_of(role).end()) return *said;
  throw untold("it is of no type that a " + std::string(to_text(role)) + " key of kmtool has, or the token does not tell its length", "--type TYPE");
}

/// Nothing but exactly what kmtool makes: a KEK of somebody else's making could give away what is wrapped under it.
void require_made_by_kmtool(op::Context& context, const Candidate& candidate) {
  if (!candidate.was) throw no_kek("its label is not that of a version, or its CKA_ID has not 16 octets");
  for (const auto& [part, object] : candidate.parts) {
    const auto spec = spec_of(candidate.version, part);
    const auto differences = context.token().differences(object, spec, false);
    if (!differences.empty() && !context.token().differences(object, spec, true).empty()) throw no_kek("its " + std::string(to_text(part)) + " object is not as kmtool makes them (" + join(differences, ", ") + ")");
  }
}

}  // namespace

Candidate candidate_of(op::Context& context, const std::vector<Object>& objects, const AdoptRequest& request) {
  const bool kek = is_kek(objects);
  const auto main = std::find_if(objects.begin(), objects.end(), [&](const Object& object) {
    return object.object_class != ObjectClass::public_key && (!kek || op::part_of(Role::kek, object) == Part::kek_wrap);
  });
  if (main == objects.end()) throw Unfit{"its private half is not on this token", "a public key alone is nothing to manage"};
  if (main->id.empty()) throw Unfit{"it has no CKA_ID", "give it one of its own with the tool that made it"};
  Candidate found;
  found.was = op::named_as_version(*main);
  auto& version = found.version;
  version.role = kek ? Role::kek : role_of(context, *main, found, request);
  if (version.role == Role::kek && !kek) throw no_kek("it is one object");
  version.type = type_of(context, *main, found, request);
  version.id = main->id;
  version.token_label = main->label;
  version.extractable = has(main->extractable);
  version.origin = "adopted";
  for (const auto& object : objects) {
    if (object.label != main->label) throw Unfit{"objects with its CKA_ID carry other labels", "give them one label with the tool that made them"};
    if (!found.parts.emplace(op::part_of(version.role, object), object).second) throw Unfit{"several objects of one kind share its CKA_ID", "kmtool does not guess: remove or renumber one"};
  }
  for (const Part part : parts_of(version.role)) {
    if (!found.parts.contains(part)) throw Unfit{"its " + std::string(to_text(part)) + " is not on this token", "both halves of a pair must be there"};
  }
  if (found.parts.size() != parts_of(version.role).size()) throw Unfit{"more objects carry its CKA_ID than a " + std::string(to_text(version.role)) + " key has", ""};
  if (kek) require_made_by_kmtool(context, found);
  return found;
}

}  // namespace kmtool::keys
