#include "kmtool/keys/succeed.hpp"

#include <algorithm>

#include "keys/make.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/keys/state.hpp"

namespace kmtool::keys {

namespace {

op::VersionRecord next_version(op::Context& context, const SuccessorRequest& request) {
  const UnixTime now = context.now();
  op::VersionRecord to;
  to.name = request.key.name;
  to.version = request.key.latest + 1;
  to.role = request.key.role;
  to.type = request.key.type;
  to.extractable = request.from.extractable;
  to.origin = "generated";
  to.backed_up = request.backup.has_value() && !to.extractable;
  to.created = now;
  to.activated = now;
  to.changed = now;
  to.reason = "succeeds " + request.from.label();
  to.expires = policy::originator_end(context.home.policy, to.role, now, request.key.cryptoperiod);
  to.token_serial = context.token().info().serial;
  return to;
}

/// The KEKs of the bundle that holds the old version, as they are now.
std::vector<op::VersionRecord> recipients_of(const op::Context& context, const op::VersionRecord& from) {
  auto bundles = context.bundles_of(from);
  std::erase_if(bundles, [](const op::BundleRecord& bundle) { return bundle.kind != "keys" || !bundle.kept_for.empty(); });
  if (bundles.empty()) {
    throw Error::missing("the catalog knows no bundle that holds " + from.label() + ", so it is not known under which kek to back up its successor",
                         "make a new key with kmtool gen NAME --backup FILE --kek KEK");
  }
  const auto first = std::min_element(bundles.begin(), bundles.end(), [](const auto& a, const auto& b) { return a.created < b.created; });
  std::vector<op::VersionRecord> keks;
  for (const auto& label : first->keks) {
    auto kek = context.resolve(KeyRef::parse(label).name);
    const bool twice = std::any_of(keks.begin(), keks.end(), [&](const auto& other) { return other.id == kek.id; });
    if (!twice) keks.push_back(std::move(kek));
  }
  return keks;
}

/// To whom a KEK's successor goes: whoever the old one's backups are for, parents in their versions of today. Public keys that are brought
/// take the place of the recorded ones, for a transport key elsewhere may have been renewed.
op::KekDestinations destinations_of(const op::Context& context, const op::VersionRecord& from, op::KekDestinations to) {
  for (const auto& bundle : op::backups_of_kek(context, from)) {
    for (const auto& label : bundle.keks) {
      const auto name = KeyRef::parse(label).name;
      if (name != from.name && std::ranges::find(to.parents, name) == to.parents.end()) to.parents.push_back(name);
    }
    if (!to.public_keys.empty()) continue;
    for (const auto& fingerprint : bundle.public_keys) {
      if (std::ranges::find(to.recorded, fingerprint) == to.recorded.end()) to.recorded.push_back(fingerprint);
    }
  }
  return to;
}

/// Custodians' shares open a value that a layer lies over: a successor without it would be worth less than the old one.
void require_no_quorum(const op::Context& context, const op::VersionRecord& from) {
  for (const auto& bundle : op::backups_of_kek(context, from)) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(bundle.path, error)) continue;
    LineReader reader(bundle.path, bundle::max_line);
    const auto header = bundle::read_header(reader);
    if (header.id != bundle.id || !header.quorum) continue;
    throw Error::refused("G-VAULT", "the backup " + bundle.path + " of " + from.label() + " opens with a quorum of custodians, and so must its successor's",
                         "make a new kek with its own custodians: kmtool gen NAME --role kek --backup FILE --quorum M/N …");
  }
}

std::vector<op::KekRecipient> kek_recipients_of(op::Context& context, const SuccessorRequest& request) {
  require_no_quorum(context, request.from);
  const auto to = destinations_of(context, request.from, request.to);
  for (const auto& fingerprint : to.recorded) {
    if (op::public_key_recorded(context, fingerprint)) continue;
    throw Error::refused("G-VAULT", "the backup of " + request.from.label() + " is for the public key " + fingerprint + ", of which only the fingerprint is on record",
                         "kmtool rotate " + request.key.name + " --backup FILE --to-public-key PEM --fingerprint " + fingerprint);
  }
  if (to.empty()) {
    throw Error::missing("the catalog knows no bundle that holds " + request.from.label() + ", so it is not known to whom its successor goes",
                         "kmtool rotate " + request.key.name + " --backup FILE --to-public-key PEM --fingerprint HEX");
  }
  return op::resolve_recipients(context, to);
}

/// What to do about a missing backup, and for whom it will be.
[[noreturn]] void refuse_without_backup(op::Context& context, const SuccessorRequest& request) {
  const auto& from = request.from;
  std::string what = from.label() + (from.backed_up ? " was backed up at birth" : " was exported") + ": its successor needs a backup too";
  std::string hint = "kmtool rotate " + request.key.name + " --backup FILE";
  const auto to = destinations_of(context, from, {});
  std::vector<std::string> names = to.parents;
  for (const auto& fingerprint : to.recorded) {
    names.push_back("the public key " + fingerprint);
    if (!op::public_key_recorded(context, fingerprint)) hint += " --to-public-key PEM --fingerprint " + fingerprint;
  }
  if (!names.empty()) what += ", for " + join(names, ", ");
  throw Error::refused("G-VAULT", what, hint);
}

std::vector<policy::Waiver> judge(op::Context& context, const SuccessorRequest& request, const op::VersionRecord& to,
                                  const std::vector<op::VersionRecord>& keks, const std::vector<op::KekRecipient>& recipients) {
  const auto& rules = context.home.policy;
  auto violations = policy::judge_token(rules, context.token_facts());
  const auto add = [&violations](std::vector<policy::Violation> more) {
    for (auto& violation : more) violations.push_back(std::move(violation));
  };
  add(policy::judge_key(rules, to.role, to.type, to.extractable, to.backed_up));
  if (request.key.cryptoperiod) add(policy::judge_period(rules, to.role, *request.key.cryptoperiod));
  for (const auto& kek : keks) add(policy::judge_backup(rules, kek.facts(), to.facts(), context.now()));
  for (const auto& recipient : recipients) add(policy::judge_export(rules, recipient.facts, to.facts(), context.now(), true));
  auto waivers = context.options.waivers;
  waivers.insert(waivers.end(), request.from.waivers.begin(), request.from.waivers.end());  // what was waived for the key holds for its successor
  return policy::enforce(rules, violations, waivers);
}

void require_label_free(op::Context& context, const op::VersionRecord& to) {
  if (context.token().find_by_label(to.label()).empty()) return;
  throw Error::exists("the token already has an object labelled " + to.label() + ", which kmtool does not manage",
                      "rename it with the tool that made it, then rotate again");
}

op::Plan plan_of(const op::VersionRecord& from, const op::VersionRecord& to) {
  op::Plan plan;
  plan.command = "rotate";
  plan.target = to.label();
  plan.keys.push_back({to.label(), to.id, to.role, to.type, to.extractable, false});
  plan.details = {{"from", from.label()}, {"to", to.label()}, {"role", to_text(to.role)}, {"type", to_text(to.type)}};
  return plan;
}

}  // namespace

bool needs_backup(const op::Context& context, const op::VersionRecord& version) {
  if (version.backed_up && version.origin == "generated" && !version.extractable) return true;
  return !op::backups_of_kek(context, version).empty();
}

op::VersionRecord predecessor(const op::Context& context, const op::KeyRecord& key) {
  if (key.active) return context.resolve(key.name);
  for (int number = key.latest; number > 0; --number) {
    if (auto version = context.find_version(key.name, number); version && version->state != State::pre_activation) return *std::move(version);
  }
  throw Error::missing("key " + key.name + " has no version that was ever active", "kmtool state " + label_of(key.name, key.latest) + " activate --reason TEXT");
}

Successor succeed(op::Context& context, const SuccessorRequest& request) {
  if (needs_backup(context, request.from) && !request.backup) refuse_without_backup(context, request);
  Successor result{request.from, next_version(context, request), std::nullopt, {}};
  auto& to = result.to;
  auto& from = result.from;
  require_label_free(context, to);
  std::vector<op::VersionRecord> keks;
  std::vector<op::KekRecipient> recipients;
  if (request.backup) {
    require_backup_possible(context.token(), to.role, to.type);
    if (to.role == Role::kek) recipients = kek_recipients_of(context, request);
    if (to.role != Role::kek) keks = recipients_of(context, from);
  }
  to.waivers = judge(context, request, to, keks, recipients);
  std::filesystem::path target;
  if (request.backup) {
    target = home::check_output(*request.backup, context.options.overwrite);
    result.backup = target;
    result.kept = op::kept_where(context, target, {to.label()});
  }
  auto key = request.key;
  key.active = to.version;
  key.latest = to.version;
  if (from.state != State::active) {
    to.reason = "succeeds " + from.label() + ", which is " + std::string(to_text(from.state));  // it stays what it is
  } else if (request.overlap) {
    from.deactivate_at = context.now() + *request.overlap;
  } else {
    auto ignored = key;
    transition_changes(ignored, from, State::deactivated, context.now(), "succeeded by " + to.label());
  }
  if (context.options.dry_run) return result;
  to.id = context.token().random(16);
  const auto rows = [&](const op::VersionRecord& version) {
    std::vector<journal::Change> changes{key.change(), from.change(), version.change()};
    for (auto& change : op::public_key_rows(recipients)) changes.push_back(std::move(change));
    if (request.with) {
      for (auto& change : request.with(version)) changes.push_back(std::move(change));
    }
    return changes;
  };
  std::vector<op::VersionRecord> versions{to};
  if (request.backup) {
    auto plan = plan_of(from, to);
    if (to.role == Role::kek) plan.details["recipients"] = op::describe(recipients);
    auto made = to.role == Role::kek ? make_kek_backed_up(context, std::move(plan), versions.front(), {target, recipients, to.waivers, {}}, rows(to))
                                     : make_backed_up(context, std::move(plan), versions, {target, keks, to.waivers}, rows);
    result.kept = std::move(made.kept);
  } else {
    context.run(plan_of(from, to), [&] {
      make_on_token(context, versions.front());
      return op::Outcome{rows(versions.front()), {{"from", from.label()}}};
    });
  }
  to = versions.front();
  return result;
}

}  // namespace kmtool::keys
