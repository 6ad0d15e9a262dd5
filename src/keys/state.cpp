#include "kmtool/keys/state.hpp"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>

#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/domain/reason.hpp"
#include "kmtool/op/bundle_out.hpp"
#include "kmtool/op/copies.hpp"

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

StateResult destroy(op::Context& context, op::VersionRecord version, const std::string& reason) {
  auto key = key_of(context, version);
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

/// Another way into a bundle than this KEK: a recipient whose version is neither destroyed nor unknown here.
bool opens_otherwise(const op::Context& context, const op::BundleRecord& bundle, const std::string& without) {
  if (!bundle.public_keys.empty()) return true;  // elsewhere, with a transport key
  return std::any_of(bundle.keks.begin(), bundle.keks.end(), [&](const std::string& label) {
    if (label == without) return false;
    const auto ref = KeyRef::parse(label);
    const auto kek = context.find_version(ref.name, ref.version.value_or(0));
    return kek && kek->state != State::destroyed;
  });
}

/// Bundles with this KEK in them, which bring it back.
std::vector<op::BundleRecord> holding(const op::Context& context, const op::VersionRecord& kek) {
  auto bundles = context.bundles();
  std::erase_if(bundles, [&](const op::BundleRecord& bundle) {
    if (bundle.kind != "kek") return true;
    const auto held = context.bundle_keys(bundle.id);
    return std::find(held.begin(), held.end(), kek.label()) == held.end();
  });
  return bundles;
}

/// Why this bundle gives nothing back, as far as this host can tell; empty: it does.
std::string gone(const op::BundleRecord& bundle) {
  if (!bundle.bad.empty()) return "the last verification found: " + bundle.bad;
  char host[256] = {};
  if (gethostname(host, sizeof host - 1) != 0 || bundle.host != printable(host)) return {};
  std::error_code error;
  if (!std::filesystem::exists(bundle.path, error)) return "it is not there: moved, or lost";
  return op::lies_at(bundle.path, bundle.id) ? "" : "what lies there is not that bundle";
}

/// Is one of them there, and somebody can open it? Why those are not there, in `why`.
bool gives_back(const op::Context& context, const std::vector<op::BundleRecord>& bundles, const std::string& without, std::vector<std::string>& why) {
  bool given = false;
  for (const auto& bundle : bundles) {
    const auto reason = gone(bundle);
    if (!reason.empty()) why.push_back(bundle.path + ": " + reason);
    given = given || (reason.empty() && opens_otherwise(context, bundle, without));
  }
  return given;
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
void find_affected(const op::Context& context, StateResult& result) {
  std::set<std::string> seen;
  const auto add = [&](std::vector<op::BundleRecord> bundles) {
    for (auto& bundle : bundles) {
      if (seen.insert(bundle.id).second) result.affected.push_back(std::move(bundle));
    }
  };
  const auto of = [&](const op::VersionRecord& version) {
    add(context.bundles_of(version));
    if (version.role == Role::kek) add(holding(context, version));
  };
  of(result.version);
  for (const auto& copy : result.also) of(copy);
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

std::vector<std::string> losses(op::Context& context, const op::VersionRecord& version) {
  std::vector<std::string> found, why;
  const auto bundles = context.bundles_of(version);
  if (version.role == Role::kek) {
    if (gives_back(context, holding(context, version), version.label(), why)) return found;  // it comes back with import-kek, and opens them again
    for (const auto& bundle : bundles) {
      if (!opens_otherwise(context, bundle, version.label())) {
        found.push_back(bundle.path + " (" + std::to_string(bundle.records) + (bundle.records == 1 ? " key" : " keys") +
                        ") opens under no other kek");
      }
    }
    if (!found.empty()) found.insert(found.end(), why.begin(), why.end());
    return found;
  }
  if (!op::same_key(context, version).empty() || gives_back(context, bundles, "", why)) return found;
  found.push_back("no bundle holds " + version.label() + ": what it protects is lost for ever");
  if (!why.empty()) found.front() = "no bundle of " + version.label() + " is left, and what it protects is lost for ever, unless it is elsewhere (" + join(why, "; ") + ")";
  return found;
}

bool only_bad_bundles(const op::Context& context, const op::VersionRecord& version) {
  if (version.role == Role::kek) return false;
  const auto bundles = context.bundles_of(version);
  return !bundles.empty() && std::all_of(bundles.begin(), bundles.end(), [](const auto& bundle) { return !bundle.bad.empty(); });
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
  require_legal(version, request.transition);
  const UnixTime now = context.now();
  const auto& verb = verb_of(request.transition);
  if (verb.to == State::active && version.state == State::suspended) require_in_period(version, now);
  if (request.transition == Transition::destroy) {
    if (context.options.dry_run) {
      auto key = key_of(context, version);
      transition_changes(key, version, State::destroyed, now, request.reason);
      auto others = op::same_key(context, version);
      return {std::move(version), std::nullopt, {}, {}, std::move(others)};
    }
    return destroy(context, std::move(version), request.reason);
  }
  auto key = key_of(context, version);
  StateResult result;
  std::vector<journal::Change> changes;
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
    find_affected(context, result);
  } else if (verb.to != State::active) {
    result.others = op::same_key(context, result.version);
  }
  if (context.options.dry_run) return result;
  Json details{{"from", from}, {"to", to_text(verb.to)}, {"reason", request.reason}};
  if (result.replaced) details["deactivated"] = result.replaced->label();
  if (!result.affected.empty()) details["affected_bundles"] = result.affected.size();
  for (const auto& copy : result.also) details["same_key"].push_back(copy.label());
  context.note("state " + std::string(verb.word), result.version.label(), std::move(details), std::move(changes));
  return result;
}

}  // namespace kmtool::keys
