#include "kmtool/keys/succeed.hpp"

#include <algorithm>

#include "keys/make.hpp"
#include "keys/succeed_backup.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/keys/state.hpp"

namespace kmtool::keys {

namespace {

/// The next number whose label no object on the token has. One that is taken is another home's, or was made after the backup of which this
/// home was restored: it is left alone.
int free_number(op::Context& context, const op::KeyRecord& key, std::vector<std::string>& notes) {
  constexpr int last = 999999;
  const int next = key.latest + 1;
  int number = next;
  while (number <= last && !context.token().find_by_label(label_of(key.name, number)).empty()) ++number;
  if (number > last) throw Error::exists("the token has objects labelled " + label_of(key.name, next) + " and so on: no number is left for " + key.name, "make a key of another name with kmtool gen");
  if (number == next) return number;
  const auto taken = label_of(key.name, next) + (number > next + 1 ? " to " + label_of(key.name, number - 1) : "");
  notes.push_back("the token already has " + taken + ", which this home does not know (another home's, or made after the backup that was restored; see kmtool-adopt(1)): the new version is " +
                  label_of(key.name, number));
  return number;
}

op::VersionRecord next_version(op::Context& context, const SuccessorRequest& request, std::vector<std::string>& notes) {
  const UnixTime now = context.now();
  op::VersionRecord to;
  to.name = request.key.name;
  to.version = free_number(context, request.key, notes);
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
  if (version.backed_up && !version.extractable) return true;
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
  Successor result;
  result.from = request.from;
  result.to = next_version(context, request, result.notes);
  auto& to = result.to;
  auto& from = result.from;
  std::vector<op::VersionRecord> keks;
  std::vector<op::KekRecipient> recipients;
  if (request.backup) {
    require_backup_possible(context.token(), to.role, to.type);
    if (to.role == Role::kek) recipients = kek_recipients_of(context, request, result.notes);
    if (to.role != Role::kek) keks = recipients_of(context, request);
  }
  to.waivers = judge(context, request, to, keks, recipients);
  std::filesystem::path target;
  if (request.backup) {
    target = home::check_bundle_output(*request.backup, context.options.overwrite);
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
    if (!request.quorum.empty()) plan.details["quorum"] = request.quorum;
    if (request.no_quorum) plan.details["quorum"] = "none";
    auto made = to.role == Role::kek ? make_kek_backed_up(context, std::move(plan), versions.front(), {target, recipients, to.waivers, request.layer}, rows(to))
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
