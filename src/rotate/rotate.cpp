#include "kmtool/rotate/rotate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "kmtool/core/text.hpp"
#include "kmtool/keys/gen.hpp"
#include "kmtool/keys/state.hpp"
#include "kmtool/keys/succeed.hpp"
#include "rotate/kek.hpp"

namespace kmtool::rotate {

namespace {

/// What is wrong with one key stays with that key; what is wrong with the token, the disk or the machine is everybody's.
bool ends_everything(const Error& error) {
  switch (error.exit()) {
    case ExitCode::unavailable:
    case ExitCode::internal:
    case ExitCode::io:
    case ExitCode::busy:
      return true;
    default:
      return false;
  }
}

class Run {
 public:
  Run(op::Context& context, const Request& request, Report& report) : context_(context), request_(request), report_(report) {}

  void go() {
    note_clock();
    if (request_.due) settle_due();
    for (const auto& key : chosen()) {
      context_.check_stop();
      attempt(key.name, [&] { rotate_key(key); });
    }
    if (request_.due) {
      finish_open_rotations();
      destroy_due();
      for (auto& hook : owed_hooks(context_)) {
        const bool new_one = std::any_of(report_.owed.begin(), report_.owed.end(), [&](const auto& other) { return other.key == hook.key; });
        if (!new_one) report_.owed.push_back(std::move(hook));
      }
    }
  }

 private:
  template <class F>
  void attempt(const std::string& name, F&& act) {
    if (request_.max_failures > 0 && report_.failed.size() >= static_cast<std::size_t>(request_.max_failures)) return;
    try {
      act();
    } catch (const Error& error) {
      if (ends_everything(error)) throw;
      if (error.exit() == ExitCode::refused) context_.refused("rotate", name, error);
      report_.failed.push_back({name, error.code(), error.message(), error.hint()});
    }
  }

  /// A clock that was set back makes nothing due twice: what was rotated has a period that ends later still. It is said, though.
  void note_clock() {
    const auto newest = context_.journal().entry(context_.journal().size() - 1).json().value("time", "");
    const auto time = parse_rfc3339(newest);
    if (!time || *time <= context_.now()) return;
    report_.notes.push_back("the clock says " + rfc3339(context_.now()) + ", but the journal's newest entry was made at " + newest + ": was the clock set back?");
  }

  bool due(const op::VersionRecord& version) const {
    const auto end = version.facts().originator_end;
    return end && *end <= context_.now() + request_.within;
  }

  std::vector<op::KeyRecord> chosen() {
    std::vector<op::KeyRecord> keys;
    if (!request_.names.empty()) {
      std::set<std::string> seen;
      for (const auto& name : request_.names) {
        if (name.find('@') != std::string::npos) throw Error::usage(name + ": a key is rotated, not a version of it", "kmtool rotate " + name.substr(0, name.find('@')));
        const auto known = context_.find_key(name);
        if (!known) (void)context_.resolve(name);  // says what is near
        if (!seen.insert(name).second) throw Error::usage("the key " + name + " was named twice");
        keys.push_back(known.value());
      }
      return keys;
    }
    for (auto& key : context_.keys()) {
      const auto active = key.active ? context_.find_version(key.name, *key.active) : std::nullopt;
      if (!active) continue;
      if (request_.all || due(*active)) {
        keys.push_back(std::move(key));
      } else {
        ++report_.not_due;
      }
    }
    // KEKs last: what is wrapped anew goes under the newest versions of everything.
    std::stable_partition(keys.begin(), keys.end(), [](const auto& key) { return key.role != Role::kek; });
    return keys;
  }

  void rotate_key(const op::KeyRecord& key) {
    if (key.role == Role::kek) {
      rotate_kek(context_, request_, key.name, report_);
      return;
    }
    const auto from = keys::predecessor(context_, key);
    keys::SuccessorRequest wanted{key, from, {}, request_.overlap, {}};
    const bool backed_up = keys::needs_backup(context_, from);
    if (backed_up) wanted.backup = request_.backup;
    if (!backed_up && request_.backup && !request_.names.empty()) {
      throw Error::usage(from.label() + " was not backed up at birth: --backup would write nothing", "leave out --backup; an exportable key goes into a bundle by kmtool wrap");
    }
    wanted.with = [&](const op::VersionRecord& to) { return hook_rows(context_, request_, from, to); };
    const auto made = keys::succeed(context_, wanted);
    report_.rotated.push_back({key.name, made.from.version, made.to.version});
    if (!made.kept.empty()) report_.notes.push_back("the backup of " + made.from.label() + " that lay there is kept as " + made.kept);
    owe_hook(context_, request_, made.from, made.to, report_);
  }

  /// Activations and ends of overlaps whose time has come.
  void settle_due() {
    const UnixTime now = context_.now();
    for (const auto& version : context_.versions()) {
      const bool activate = version.state == State::pre_activation && version.activate_at && *version.activate_at <= now;
      const bool deactivate = version.state == State::active && version.deactivate_at && *version.deactivate_at <= now;
      if (!activate && !deactivate) continue;
      attempt(version.label(), [&] {
        const auto verb = activate ? keys::Transition::activate : keys::Transition::deactivate;
        keys::change_state(context_, {version.label(), verb, activate ? "its time of activation has come" : "its overlap has ended"});
        (activate ? report_.activated : report_.deactivated).push_back(version.label());
      });
    }
  }

  void finish_open_rotations() {
    for (const auto& item : context_.journal().proven_all("rotation")) {
      const bool tried = std::any_of(report_.rotated.begin(), report_.rotated.end(), [&](const auto& done) { return done.name == item.id; }) ||
                         std::any_of(report_.failed.begin(), report_.failed.end(), [&](const auto& failed) { return failed.name == item.id; });
      if (!tried) attempt(item.id, [&] { rotate_kek(context_, request_, item.id, report_); });
    }
  }

  /// policy `destroy_after`, counted from the deactivation; never a KEK that a bundle needs.
  void destroy_due() {
    for (const auto& version : context_.versions()) {
      const auto after = context_.home.policy.destroy_after.find(version.role);
      if (after == context_.home.policy.destroy_after.end() || version.state != State::deactivated || !version.changed) continue;
      if (*version.changed + after->second > context_.now()) continue;
      if (version.role == Role::kek && !context_.bundles_of(version).empty()) continue;
      attempt(version.label(), [&] {
        keys::change_state(context_, {version.label(), keys::Transition::destroy, "policy: destroyed " + duration_text(after->second) + " after its deactivation"});
        report_.destroyed.push_back(version.label());
      });
    }
  }

  op::Context& context_;
  const Request& request_;
  Report& report_;
};

void check_request(const Request& request) {
  const int ways = static_cast<int>(!request.names.empty()) + static_cast<int>(request.all) + static_cast<int>(request.due);
  if (ways != 1) throw Error::usage(ways == 0 ? "which keys?" : "name keys, or say --all, or --due: one of them", "kmtool rotate NAME… | --due | --all");
  if (request.within != 0 && !request.due) throw Error::usage("--within goes with --due");
  if (request.backup && request.names.size() != 1) throw Error::usage("--backup is for one key", "kmtool rotate NAME --backup FILE");
  if (!request.to.public_keys.empty() && !request.backup) throw Error::usage("--to-public-key goes with --backup FILE", "it is for a kek that was backed up at birth");
  for (const auto& file : request.rewrap) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(file, error)) throw Error::missing("--rewrap: there is no bundle " + file.string(), "kmtool bundles lists those that were written");
  }
  if (!request.hook.empty()) hook_words(request.hook);
}

}  // namespace

void rotate(op::Context& context, const Request& request, Report& report) {
  check_request(request);
  Run(context, request, report).go();
}

std::vector<journal::Change> hook_rows(op::Context& context, const Request& request, const op::VersionRecord& from, const op::VersionRecord& to) {
  if (request.hook.empty()) return {};
  return {OwedHook{to.label(), from.label(), keys::uri_of(context, to), request.hook, 0}.change()};
}

void owe_hook(op::Context& context, const Request& request, const op::VersionRecord& from, const op::VersionRecord& to, Report& report) {
  if (request.hook.empty()) return;
  report.owed.push_back({to.label(), from.label(), keys::uri_of(context, to), request.hook, 0});
}

}  // namespace kmtool::rotate
