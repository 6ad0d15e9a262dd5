#include "kmtool/keys/state.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/domain/reason.hpp"
#include "kmtool/op/copies.hpp"
#include "kmtool/op/exposed.hpp"
#include "kmtool/op/objects.hpp"

namespace kmtool::keys {

namespace {

struct Verb {
  Transition transition;
  std::string_view word, done;
  State to;
};
constexpr Verb verbs[] = {{Transition::activate, "activate", "activated", State::active},
                          {Transition::suspend, "suspend", "suspended", State::suspended},
                          {Transition::resume, "resume", "resumed", State::active},
                          {Transition::deactivate, "deactivate", "deactivated", State::deactivated},
                          {Transition::compromise, "compromise", "called compromised", State::compromised},
                          {Transition::destroy, "destroy", "destroyed again", State::destroyed}};

const Verb& verb_of(Transition transition) {
  for (const auto& verb : verbs) {
    if (verb.transition == transition) return verb;
  }
  throw Error::internal("no such transition");
}

/// `activate` and `resume` lead to the same state, but not from the same.
void require_legal(const op::VersionRecord& version, Transition transition) {
  const auto& verb = verb_of(transition);
  const State from = version.state;
  const bool fits = transition_allowed(from, verb.to) && (transition != Transition::activate || from == State::pre_activation) &&
                    (transition != Transition::resume || from == State::suspended);
  if (fits) return;
  std::vector<std::string> legal;
  for (const auto& other : verbs) {
    const bool can = transition_allowed(from, other.to) &&
                     (other.transition != Transition::activate || from == State::pre_activation) &&
                     (other.transition != Transition::resume || from == State::suspended);
    if (can) legal.emplace_back(other.word);
  }
  throw Error::refused("G-WORK",
                       version.label() + " is " + std::string(to_text(from)) + ": it cannot be " + std::string(verb.done),
                       legal.empty() ? "a destroyed key stays destroyed; make a new version with kmtool rotate " + version.name
                                     : "what it can: " + join(legal, ", "));
}

void require_in_period(const op::VersionRecord& version, UnixTime now) {
  if (!version.expires || *version.expires > now) return;
  throw Error::refused(
      "G-WORK", "the originator period of " + version.label() + " ended on " + rfc3339(*version.expires) + ": it stays as it is",
      "make a new version with kmtool rotate " + version.name);
}

op::KeyRecord key_of(const op::Context& context, const op::VersionRecord& version) {
  const auto key = context.find_key(version.name);
  if (!key) throw Error::tampered("the catalog has " + version.label() + " without its key", "run kmtool doctor");
  return *key;
}

/// What is destroyed must be what the person saw: an active version may have been succeeded, or a backup deleted, while they thought about it.
void require_as_confirmed(const op::VersionRecord& version, const Confirmed& seen, const std::vector<std::string>& lost) {
  const auto changed = [&](const std::string& what) {
    return Error::busy(what + " changed while you were asked: nothing was destroyed", "look again: kmtool show " + version.label());
  };
  if (version.id != seen.id || version.state != seen.state) throw changed(version.label());
  for (const auto& loss : lost) {
    if (std::ranges::find(seen.losses, loss) == seen.losses.end()) throw changed("what is lost with " + version.label());
  }
}

/// The objects that are this version's; another home's, or one that was planted, may carry its CKA_ID under another label, and stays. Throws
/// damaged (65) where there are more of them than parts: nobody can tell which to destroy.
std::vector<pkcs11::Object> objects_to_destroy(op::Context& context, const op::VersionRecord& version) {
  auto objects = context.token().find_by_id(version.id);
  std::erase_if(objects, [&](const auto& object) { return !op::passes_for(object, version); });
  if (version.state == State::destroyed) {
    const auto others = context.versions();  // it may have been adopted anew
    const bool of_another = std::ranges::any_of(others, [&](const auto& other) {
      return other.state != State::destroyed && other.id == version.id && other.object_label() == version.object_label();
    });
    if (of_another) return {};
  }
  std::map<pkcs11::ObjectClass, std::size_t> count;
  bool surplus = objects.size() > parts_of(version.role).size();
  for (const auto& object : objects) surplus = surplus || (++count[object.object_class] > 1 && version.role != Role::kek);
  if (!surplus) return objects;
  std::vector<std::string> names;
  for (const auto& object : objects) names.push_back(op::describe(object));
  throw Error::tampered("the token has several objects that pass for " + version.label() + ": " + join(names, ", ") + "; kmtool does not guess which to destroy",
                        "look at them with kmtool doctor, and remove the foreign one with the vendor's tool");
}

/// Destroyed before, and back with an older copy of the token: the row stays as it is, the journal tells of it.
op::Plan plan_again(const op::VersionRecord& version, const std::string& reason) {
  op::Plan plan;
  plan.command = "state destroy";
  plan.target = version.label();
  plan.destroys = {version.label()};
  plan.details = {{"reason", reason}, {"again", true}};
  return plan;
}

StateResult destroy_again(op::Context& context, op::VersionRecord version, const std::string& reason) {
  auto others = op::same_key(context, version);
  if (!context.options.dry_run) {
    context.run(plan_again(version, reason), [&] { return op::Outcome{{}, {{"objects", op::destroy_objects(context, version)}}}; });
  }
  return {std::move(version), std::nullopt, {}, {}, std::move(others)};
}

StateResult destroy(op::Context& context, op::VersionRecord version, const std::string& reason) {
  auto key = key_of(context, version);
  if (context.options.dry_run) {
    transition_changes(key, version, State::destroyed, context.now(), reason);
    auto others = op::same_key(context, version);
    return {std::move(version), std::nullopt, {}, {}, std::move(others)};
  }
  op::Plan plan;
  plan.command = "state destroy";
  plan.target = version.label();
  plan.destroys = {version.label()};
  plan.back = {key.change(), version.change()};
  plan.details = {{"reason", reason}};
  plan.begin = transition_changes(key, version, State::destroyed, context.now(), reason);
  std::size_t objects = 0;
  auto others = op::same_key(context, version);
  context.run(plan, [&] {
    objects = op::destroy_objects(context, version);
    return op::Outcome{{}, {{"objects", objects}}};
  });
  return {std::move(version), std::nullopt, {}, {}, std::move(others)};
}

StateResult destroy(op::Context& context, const StateRequest& request, op::VersionRecord version) {
  if (request.confirmed) require_as_confirmed(version, *request.confirmed, losses(context, version));
  const auto objects = objects_to_destroy(context, version);
  if (objects.empty()) require_legal(version, Transition::destroy);  // where it is destroyed, something of it came back
  if (!request.confirmed && request.tell_loss) std::ranges::for_each(losses(context, version), request.tell_loss);
  return version.state == State::destroyed ? destroy_again(context, std::move(version), request.reason) : destroy(context, std::move(version), request.reason);
}

/// The same key under other names is compromised with this one: it is one value.
void compromise_copies(op::Context& context, StateResult& result, UnixTime now, const std::string& reason, std::vector<journal::Change>& changes) {
  std::map<std::string, op::KeyRecord> keys;
  for (auto& copy : op::same_key(context, result.version)) {
    if (!transition_allowed(copy.state, State::compromised)) continue;
    auto& key = keys.try_emplace(copy.name, key_of(context, copy)).first->second;
    for (auto& change : transition_changes(key, copy, State::compromised, now, reason)) changes.push_back(std::move(change));
    result.also.push_back(std::move(copy));
  }
}

/// Every bundle that holds the key or, when it is a KEK, depends on it; under whichever of its names.
std::vector<op::BundleRecord> affected(op::Context& context, const op::VersionRecord& version) {
  const auto labels = op::labels_of_key(context, version);
  if (version.role != Role::kek) return op::bundles_with(context, labels, "keys");
  auto bundles = op::bundles_under(context, labels);
  std::set<std::string> seen;
  for (const auto& bundle : bundles) seen.insert(bundle.id);
  for (auto& bundle : op::bundles_with(context, labels, "kek")) {
    if (seen.insert(bundle.id).second) bundles.push_back(std::move(bundle));
  }
  return bundles;
}

/// A KEK, or a key that opens KEKs which other sites wrap for it.
bool protects_keys(const op::VersionRecord& version) { return version.role == Role::kek || version.role == Role::transport; }

/// What was under a KEK is as good as known with it, and stays so when its bundles are moved to another: that is on record from here on.
std::size_t expose(op::Context& context, StateResult& result, std::vector<journal::Change>& changes) {
  const op::Exposed before(context);
  const op::Copies copies(context);
  const auto labels = op::ever_under(context, result.version);
  std::set<std::string> ids;
  for (const auto& label : labels) {
    if (!before.has_row(label)) changes.push_back(op::Exposed::row(label, result.version.label()));
    if (const auto version = op::version_named(context, label)) ids.merge(copies.same_key(version->id));
  }
  for (const auto& version : context.versions()) {
    if (version.state == State::active && version.id != result.version.id && ids.contains(hex(version.id))) result.exposed.push_back(version.label());
  }
  return labels.size();
}

}  // namespace

std::optional<Transition> transition_from(std::string_view text) {
  for (const auto& verb : verbs) {
    if (verb.word == text) return verb.transition;
  }
  return std::nullopt;
}

std::vector<journal::Change> transition_changes(op::KeyRecord& key, op::VersionRecord& version, State to, UnixTime when,
                                                const std::string& reason) {
  if (version.state == State::pre_activation && to == State::active) {
    // The period counts from the activation that happens, not from the one that was planned.
    if (version.expires && version.activate_at) version.expires = *version.expires + (when - *version.activate_at);
    version.activated = when;
    version.activate_at.reset();
  }
  version.state = to;
  version.changed = when;
  version.reason = reason;
  if (to != State::active) version.deactivate_at.reset();
  if (to == State::active) {
    key.active = version.version;
  } else if (key.active == version.version) {
    key.active.reset();
  }
  return {key.change(), version.change()};
}

/// Without @V the active version; for activate and resume, where none is active, the one version that stands where these begin.
op::VersionRecord version_for(const op::Context& context, const StateRequest& request) {
  const auto ref = KeyRef::parse(request.key);
  const auto key = context.find_key(ref.name);
  const bool begins = request.transition == Transition::activate || request.transition == Transition::resume;
  if (ref.version || !key || key->active || !begins) return context.resolve(request.key);
  const State from = request.transition == Transition::activate ? State::pre_activation : State::suspended;
  std::vector<op::VersionRecord> found;
  for (auto& version : context.versions()) {
    if (version.name == ref.name && version.state == from) found.push_back(std::move(version));
  }
  return found.size() == 1 ? found.front() : context.resolve(request.key);
}

StateResult change_state(op::Context& context, const StateRequest& request) {
  require_reason(request.reason);
  auto version = version_for(context, request);
  if (request.transition == Transition::destroy) return destroy(context, request, std::move(version));
  require_legal(version, request.transition);
  const UnixTime now = context.now();
  const auto& verb = verb_of(request.transition);
  if (verb.to == State::active && version.state == State::suspended) require_in_period(version, now);
  auto key = key_of(context, version);
  StateResult result;
  std::vector<journal::Change> changes;
  std::size_t exposed = 0;
  if (verb.to == State::active && key.active && *key.active != version.version) {
    auto before = context.resolve(label_of(key.name, *key.active));
    if (request.transition == Transition::resume) {
      throw Error::refused("G-WORK", before.label() + " is active: " + version.label() + " cannot be resumed beside it",
                           "kmtool state " + version.label() + " deactivate --reason TEXT: it then processes what it protected, and " + before.label() + " stays active");
    }
    changes = transition_changes(key, before, State::deactivated, now, "succeeded by " + version.label());
    result.replaced = std::move(before);
  }
  const std::string from(to_text(version.state));
  for (auto& change : transition_changes(key, version, verb.to, now, request.reason)) changes.push_back(std::move(change));
  result.version = std::move(version);
  if (verb.to == State::compromised) {
    compromise_copies(context, result, now, request.reason, changes);
    result.affected = affected(context, result.version);
    if (protects_keys(result.version)) exposed = expose(context, result, changes);
  } else if (verb.to != State::active) {
    result.others = op::same_key(context, result.version);
  }
  if (context.options.dry_run) return result;
  Json details{{"from", from}, {"to", to_text(verb.to)}, {"reason", request.reason}};
  if (result.replaced) details["deactivated"] = result.replaced->label();
  if (!result.affected.empty()) details["affected_bundles"] = result.affected.size();
  if (exposed > 0) details["exposed"] = exposed;
  for (const auto& copy : result.also) details["same_key"].push_back(copy.label());
  context.note("state " + std::string(verb.word), result.version.label(), std::move(details), std::move(changes));
  return result;
}

}  // namespace kmtool::keys
