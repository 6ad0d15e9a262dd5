#include "kmtool/keys/adopt.hpp"

#include <algorithm>
#include <set>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/domain/reason.hpp"
#include "kmtool/op/object_facts.hpp"

namespace kmtool::keys {

namespace {

using pkcs11::Object;
using pkcs11::ObjectClass;

/// Why an object cannot be a key of kmtool.
struct Unfit {
  std::string why, hint;
};

bool is_key(const Object& object) {
  return object.object_class == ObjectClass::secret_key || object.object_class == ObjectClass::private_key || object.object_class == ObjectClass::public_key;
}

bool has(const std::optional<bool>& flag) { return flag.value_or(false); }

Role role_of(const Object& object, std::optional<Role> wanted) {
  if (wanted) return *wanted;
  if (object.object_class == ObjectClass::secret_key) {
    if (object.type(Role::data)) {
      if (has(object.encrypt) || has(object.decrypt)) return Role::data;
      if (has(object.wrap) || has(object.unwrap)) {
        throw Unfit{"it only wraps: a kek of kmtool is two objects, one that wraps and one that seals", "make a kek with kmtool gen --role kek"};
      }
    }
    if (object.type(Role::mac) && (has(object.sign) || has(object.verify))) return Role::mac;
  } else if (has(object.sign)) {
    return Role::sign;
  } else if (has(object.unwrap) || has(object.decrypt) || has(object.derive)) {
    return Role::transport;
  }
  throw Unfit{"its usages do not tell what it is for", "say --role"};
}

/// The objects of one CKA_ID as the parts of one key.
struct Candidate {
  op::VersionRecord version;
  std::map<Part, Object> parts;
};

Candidate candidate_of(const std::vector<Object>& objects, const AdoptRequest& request) {
  const auto main = std::find_if(objects.begin(), objects.end(), [](const Object& object) { return object.object_class != ObjectClass::public_key; });
  if (main == objects.end()) throw Unfit{"its private half is not on this token", "a public key alone is nothing to manage"};
  if (main->id.empty()) throw Unfit{"it has no CKA_ID", "give it one of its own with the tool that made it"};
  Candidate found;
  auto& version = found.version;
  version.role = role_of(*main, request.role);
  if (version.role == Role::kek) throw Unfit{"a kek of kmtool is two objects, one that wraps and one that seals", "make a kek with kmtool gen --role kek"};
  const auto type = main->type(version.role);
  if (!type) throw Unfit{"it is of no type that a " + std::string(to_text(version.role)) + " key of kmtool has", "see the roles and types in kmtool gen --help"};
  version.type = *type;
  version.id = main->id;
  version.token_label = main->label;
  version.extractable = has(main->extractable);
  version.origin = "adopted";
  for (const auto& object : objects) {
    if (object.label != main->label) throw Unfit{"objects with its CKA_ID carry other labels", "give them one label with the tool that made them"};
    Part part = Part::value;
    if (object.object_class == ObjectClass::private_key) part = Part::private_half;
    if (object.object_class == ObjectClass::public_key) part = Part::public_half;
    if (!found.parts.emplace(part, object).second) throw Unfit{"several objects of one kind share its CKA_ID", "kmtool does not guess: remove or renumber one"};
  }
  for (const Part part : parts_of(version.role)) {
    if (!found.parts.contains(part)) throw Unfit{"its " + std::string(to_text(part)) + " is not on this token", "both halves of a pair must be there"};
  }
  if (found.parts.size() != parts_of(version.role).size()) throw Unfit{"more objects carry its CKA_ID than a " + std::string(to_text(version.role)) + " key has", ""};
  return found;
}

void say_flaws(op::Context& context, Candidate& candidate) {
  auto& version = candidate.version;
  const auto traits = op::token_traits(context.token());
  for (const auto& [part, object] : candidate.parts) {
    const pkcs11::ObjectSpec spec{version.role, version.type, part, version.object_label(), version.id, version.extractable};
    for (auto& text : context.token().differences(object, spec, true)) version.flaws.push_back(std::move(text));
    if (part == Part::public_half) {
      version.public_spki = context.token().public_key(object).spki();
      continue;
    }
    const Usage wanted = usage_of(version.role, version.type, part);
    std::vector<std::string> more;
    const auto beyond = [&](const std::optional<bool>& flag, bool meant, const char* name) {
      if (has(flag) && !meant) more.emplace_back(name);
    };
    beyond(object.encrypt, wanted.encrypt, "encrypt");
    beyond(object.decrypt, wanted.decrypt, "decrypt");
    beyond(object.sign, wanted.sign, "sign");
    beyond(object.verify, wanted.verify, "verify");
    beyond(object.wrap, wanted.wrap, "wrap");
    beyond(object.unwrap, wanted.unwrap, "unwrap");
    beyond(object.derive, wanted.derive, "derive");
    if (!more.empty()) version.flaws.push_back("usages beyond its role: " + join(more, ", "));
    // What audit keys would find of it.
    for (const auto& finding : policy::audit_object(context.home.policy, traits, op::object_facts(context.token(), object), context.now())) {
      version.flaws.push_back(finding.check + ": " + finding.evidence);
    }
    if (object.label.empty()) version.flaws.emplace_back("no label");
  }
}

/// A name for a label: bad characters become hyphens; a number is added where the name is taken.
std::string name_for(const op::Context& context, const std::string& label, const std::set<std::string>& taken) {
  std::string name;
  for (const char c : label.substr(0, 56)) {
    const bool good = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-';
    name += good ? c : '-';
  }
  if (name.empty() || std::isalnum(static_cast<unsigned char>(name[0])) == 0) name = "key" + name;
  auto free = name;
  for (int i = 2; taken.contains(free) || context.find_key(free); ++i) free = name + "-" + std::to_string(i);
  return free;
}

/// Everything on the token that neither this home nor another manages, by CKA_ID.
std::map<Bytes, std::vector<Object>> unmanaged(op::Context& context) {
  std::set<Bytes> known{context.home.config.anchor_id()};
  for (const auto& version : context.versions()) known.insert(version.id);
  for (const auto& signer : context.signers()) known.insert(signer.id);
  std::map<Bytes, std::vector<Object>> found;
  for (auto& object : context.token().scan()) {
    const bool of_a_home = object.label.starts_with("kmtool-anchor:") || object.label.starts_with("kmtool-log-signer-") || object.label.starts_with("kmtool-document-signer-");
    if (!is_key(object) || of_a_home || (known.contains(object.id) && !object.id.empty())) continue;
    found[object.id].push_back(std::move(object));
  }
  return found;
}

std::string described(const std::vector<Object>& objects) {
  const auto& first = objects.front();
  return "\"" + printable(first.label) + "\" (id " + (first.id.empty() ? "none" : hex(first.id)) + ")";
}

/// The one group that label or id name.
std::vector<Object> chosen(op::Context& context, const AdoptRequest& request) {
  std::vector<std::vector<Object>> matches;
  for (auto& [id, objects] : unmanaged(context)) {
    const bool fits = std::any_of(objects.begin(), objects.end(), [&](const Object& object) {
      return (request.label.empty() || object.label == request.label) && (request.id.empty() || object.id == request.id);
    });
    if (fits) matches.push_back(std::move(objects));
  }
  const auto asked = request.label.empty() ? "id " + hex(request.id) : "label " + printable(request.label);
  if (matches.empty()) {
    const auto managed = request.label.empty() ? context.token().find_by_id(request.id) : context.token().find_by_label(request.label);
    if (!managed.empty()) throw Error::exists("the object with " + asked + " is managed already, or is no key", "kmtool list shows what is managed");
    throw Error::missing("the token has no object with " + asked, "pkcs11-tool --list-objects shows what it has");
  }
  if (matches.size() > 1) throw Error::tampered("several objects have the " + asked + "; kmtool does not guess", "name one by --id");
  return std::move(matches.front());
}

std::vector<policy::Waiver> judge(op::Context& context, const op::VersionRecord& version) {
  auto violations = policy::judge_token(context.home.policy, context.token_facts());
  for (auto& violation : policy::judge_key(context.home.policy, version.role, version.type, version.extractable, false)) violations.push_back(std::move(violation));
  return policy::enforce(context.home.policy, violations, context.options.waivers);
}

void complete(op::Context& context, Candidate& candidate, const std::string& name) {
  auto& version = candidate.version;
  version.name = name;
  version.created = context.now();
  version.activated = context.now();
  version.changed = context.now();
  version.reason = "adopted";
  version.expires = policy::originator_end(context.home.policy, version.role, context.now(), std::nullopt);
  version.token_serial = context.token().info().serial;
  say_flaws(context, candidate);
  version.waivers = judge(context, version);
}

std::vector<journal::Change> rows_of(const AdoptRequest& request, const op::VersionRecord& version) {
  op::KeyRecord key;
  key.name = version.name;
  key.role = version.role;
  key.type = version.type;
  key.active = 1;
  key.latest = 1;
  key.owner = request.owner;
  key.application = request.application;
  key.created = version.created;
  return {key.change(), version.change()};
}

void adopt_all(op::Context& context, const AdoptRequest& request, AdoptResult& result) {
  std::set<std::string> taken;
  for (const auto& [id, objects] : unmanaged(context)) {
    try {
      auto candidate = candidate_of(objects, request);
      complete(context, candidate, name_for(context, candidate.version.token_label, taken));
      taken.insert(candidate.version.name);
      result.keys.push_back(std::move(candidate.version));
    } catch (const Unfit& unfit) {
      result.skipped.push_back({described(objects), unfit.why});
    } catch (const Error& error) {
      if (error.exit() != ExitCode::refused) throw;
      result.skipped.push_back({described(objects), error.message()});
    }
  }
}

void adopt_one(op::Context& context, const AdoptRequest& request, AdoptResult& result) {
  require_name(request.name, "key name");
  if (context.find_key(request.name)) throw Error::exists("there is already a key " + request.name, "choose another name");
  const auto objects = chosen(context, request);
  try {
    auto candidate = candidate_of(objects, request);
    complete(context, candidate, request.name);
    result.keys.push_back(std::move(candidate.version));
  } catch (const Unfit& unfit) {
    throw Error::refused("G-SEALED", described(objects) + " cannot be adopted: " + unfit.why, unfit.hint);
  }
}

}  // namespace

AdoptResult adopt(op::Context& context, const AdoptRequest& request) {
  require_note("--owner", request.owner);
  require_note("--application", request.application);
  AdoptResult result;
  if (request.all) {
    adopt_all(context, request, result);
  } else {
    adopt_one(context, request, result);
  }
  if (context.options.dry_run || result.keys.empty()) return result;
  std::vector<journal::Change> changes;
  Json details{{"adopted", Json::array()}};
  for (const auto& version : result.keys) {
    for (auto& change : rows_of(request, version)) changes.push_back(std::move(change));
    if (details["adopted"].size() < 100) details["adopted"].push_back({{"key", version.label()}, {"flaws", readable_flaws(version)}});
  }
  const auto target = result.keys.size() == 1 ? result.keys.front().label() : std::to_string(result.keys.size()) + " keys";
  context.note("adopt", target, std::move(details), std::move(changes));
  return result;
}

std::vector<std::string> readable_flaws(const op::VersionRecord& version) {
  std::vector<std::string> texts;
  for (const auto& flaw : version.flaws) {
    if (!flaw.starts_with("CKA_")) texts.push_back(flaw);
  }
  return texts;
}

}  // namespace kmtool::keys
