#include "kmtool/keys/gen.hpp"

#include <fmt/format.h>

#include <set>

#include "keys/make.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/domain/reason.hpp"
#include "kmtool/op/bundle_out.hpp"
#include "kmtool/op/objects.hpp"

namespace kmtool::keys {

namespace {

std::vector<std::string> names_of(const GenRequest& request) {
  if (request.count < 1 || request.count > 100000) throw Error::usage("--count must be from 1 to 100000");
  if (request.count == 1) {
    require_name(request.name, "key name");
    return {request.name};
  }
  std::vector<std::string> names;
  for (int i = 1; i <= request.count; ++i) {
    names.push_back(fmt::format("{}-{:04}", request.name, i));
    require_name(names.back(), "key name");
  }
  return names;
}

/// Neither the catalog nor the token may know the names: a label that another tool used would make later look-ups ambiguous.
void require_free(op::Context& context, const std::vector<std::string>& names) {
  std::set<std::string> labels;
  for (const auto& name : names) {
    if (context.find_key(name)) {
      throw Error::exists("there is already a key " + name, "choose another name; a new version comes from kmtool rotate " + name);
    }
    labels.insert(label_of(name, 1));
  }
  const auto taken = context.token().find_by_labels(labels);
  if (taken.empty()) return;
  const auto homes = op::other_homes(context);
  const auto& label = taken.front().label;
  if (!homes.empty()) {
    throw Error::exists("the token already has an object labelled " + label + "; it serves the home " + printable(*homes.begin()) + " too, whose key it may be", "choose another name");
  }
  throw Error::exists("the token already has an object labelled " + label + ", which this home does not know",
                      "choose another name, or bring the object under management: kmtool adopt " + KeyRef::parse(label).name + " --label " + label);
}

std::vector<policy::Waiver> judge(op::Context& context, const GenRequest& request, const std::vector<op::VersionRecord>& versions,
                                  const std::vector<op::VersionRecord>& keks, const std::vector<op::KekRecipient>& recipients) {
  const auto& rules = context.home.policy;
  auto violations = policy::judge_token(rules, context.token_facts());
  const auto add = [&violations](std::vector<policy::Violation> more) {
    for (auto& violation : more) violations.push_back(std::move(violation));
  };
  add(policy::judge_key(rules, request.role, request.type, request.exportable, request.backup.has_value()));
  if (request.cryptoperiod) add(policy::judge_period(rules, request.role, *request.cryptoperiod));
  for (const auto& kek : keks) add(policy::judge_backup(rules, kek.facts(), versions.front().facts(), context.now()));
  for (const auto& recipient : recipients) add(policy::judge_export(rules, recipient.facts, versions.front().facts(), context.now(), true));
  return policy::enforce(rules, violations, context.options.waivers);
}

std::vector<op::VersionRecord> records_of(op::Context& context, const GenRequest& request, const std::vector<std::string>& names) {
  const UnixTime now = context.now();
  std::vector<op::VersionRecord> records;
  for (const auto& name : names) {
    op::VersionRecord version;
    version.name = name;
    version.role = request.role;
    version.type = request.type;
    const bool later = request.activate_at && *request.activate_at > now;
    version.state = later ? State::pre_activation : State::active;
    version.extractable = request.exportable;
    version.origin = "generated";
    version.backed_up = request.backup.has_value();
    version.created = now;
    if (later) version.activate_at = request.activate_at;
    if (!later) version.activated = now;
    version.expires = policy::originator_end(context.home.policy, request.role, later ? *request.activate_at : now, request.cryptoperiod);
    version.token_serial = context.token().info().serial;
    records.push_back(std::move(version));
  }
  return records;
}

op::KeyRecord key_of(const GenRequest& request, const op::VersionRecord& version) {
  op::KeyRecord key;
  key.name = version.name;
  key.role = version.role;
  key.type = version.type;
  if (version.state == State::active) key.active = version.version;
  key.latest = version.version;
  key.owner = request.owner;
  key.application = request.application;
  key.cryptoperiod = request.cryptoperiod;
  key.created = version.created;
  return key;
}

op::Outcome make_plain(op::Context& context, const GenRequest& request, std::vector<op::VersionRecord>& versions) {
  op::Outcome outcome;
  std::uint64_t done = 0;
  for (auto& version : versions) {
    context.check_stop();
    make_on_token(context, version);
    outcome.changes.push_back(key_of(request, version).change());
    outcome.changes.push_back(version.change());
    context.progress("generating", ++done, versions.size());
  }
  return outcome;
}

op::Plan plan_of(const GenRequest& request, const std::vector<op::VersionRecord>& versions) {
  op::Plan plan;
  plan.command = "gen";
  plan.target = versions.size() == 1 ? versions.front().label() : fmt::format("{} ({} keys)", request.name, versions.size());
  for (const auto& version : versions) {
    plan.keys.push_back({version.label(), version.id, version.role, version.type, version.extractable, false});
  }
  plan.details = {{"role", to_text(request.role)}, {"type", to_text(request.type)}, {"exportable", request.exportable}};
  return plan;
}

GenResult generate_with_backup(op::Context& context, const GenRequest& request, std::vector<op::VersionRecord> versions,
                               const std::vector<op::VersionRecord>& kek_versions, const std::vector<policy::Waiver>& waivers) {
  auto plan = plan_of(request, versions);
  const auto target = home::check_bundle_output(*request.backup, context.options.overwrite);
  GenResult result;
  auto made = make_backed_up(context, std::move(plan), versions, {target, kek_versions, waivers}, [&](const op::VersionRecord& version) {
    return std::vector<journal::Change>{key_of(request, version).change(), version.change()};
  });
  result.bundle = std::move(made.bundle);
  result.kept = std::move(made.kept);
  result.keys = std::move(versions);
  return result;
}

op::KekDestinations destinations_of(const GenRequest& request) {
  auto to = request.to;
  to.parents = request.keks;
  return to;
}

GenResult generate_kek_with_backup(op::Context& context, const GenRequest& request, std::vector<op::VersionRecord> versions,
                                   std::vector<op::KekRecipient> recipients, const std::vector<policy::Waiver>& waivers) {
  auto plan = plan_of(request, versions);
  plan.details["recipients"] = op::describe(recipients);
  plan.details["waivers"] = Json::array();
  for (const auto& waiver : waivers) plan.details["waivers"].push_back({{"rule", waiver.rule}, {"reason", waiver.reason}});
  auto& version = versions.front();
  const auto target = home::check_bundle_output(*request.backup, context.options.overwrite);
  std::vector<journal::Change> rows{key_of(request, version).change(), version.change()};
  for (auto& change : op::public_key_rows(recipients)) rows.push_back(std::move(change));
  GenResult result;
  auto made = make_kek_backed_up(context, std::move(plan), version, {target, recipients, waivers, request.layer}, rows);
  result.bundle = std::move(made.bundle);
  result.kept = std::move(made.kept);
  result.keys = std::move(versions);
  result.recipients = std::move(recipients);
  return result;
}

}  // namespace

GenResult generate(op::Context& context, const GenRequest& request) {
  require_note("--owner", request.owner);
  require_note("--application", request.application);
  const auto names = names_of(request);
  require_free(context, names);
  auto versions = records_of(context, request, names);
  const bool kek_backup = request.backup && request.role == Role::kek;
  if (kek_backup && versions.size() != 1) throw Error::usage("a backup file holds one kek", "make them one by one, each with its own --backup FILE");
  std::vector<op::VersionRecord> keks;
  std::vector<op::KekRecipient> recipients;
  if (request.backup && !kek_backup) keks = op::resolve_keks(context, request.keks);
  if (kek_backup) recipients = op::resolve_recipients(context, destinations_of(request));
  const auto waivers = judge(context, request, versions, keks, recipients);
  for (auto& version : versions) version.waivers = waivers;
  if (!context.token().profile().can_generate(request.type)) {
    throw Error::unavailable("this token cannot generate " + std::string(to_text(request.type)) + " keys",
                             "kmtool token shows what it can; choose another --type");
  }
  if (request.backup) require_backup_possible(context.token(), request.role, request.type);
  if (context.options.dry_run) {
    if (request.backup) home::check_bundle_output(*request.backup, context.options.overwrite);
    return {std::move(versions), std::nullopt, std::move(recipients)};
  }
  const auto random = context.token().random(16 * versions.size());
  for (std::size_t i = 0; i < versions.size(); ++i) {
    const auto* begin = random.data() + 16 * i;
    versions[i].id.assign(begin, begin + 16);
  }
  if (kek_backup) return generate_kek_with_backup(context, request, std::move(versions), std::move(recipients), waivers);
  if (request.backup) return generate_with_backup(context, request, std::move(versions), keks, waivers);
  context.run(plan_of(request, versions), [&] { return make_plain(context, request, versions); });
  return {std::move(versions), std::nullopt, {}};
}

}  // namespace kmtool::keys
