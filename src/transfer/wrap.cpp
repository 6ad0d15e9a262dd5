#include <fmt/format.h>

#include <set>

#include "kmtool/core/file.hpp"
#include "kmtool/op/bundle_out.hpp"
#include "kmtool/op/copies.hpp"
#include "kmtool/op/exposed.hpp"
#include "kmtool/op/workers.hpp"
#include "kmtool/transfer/transfer.hpp"

namespace kmtool::transfer {

namespace {

/// With --all: every version whose state allows it and whose key may leave the token; the others are named, not silently dropped.
std::vector<op::VersionRecord> all_wrappable(op::Context& context, const WrapRequest& request, std::vector<std::string>& skipped) {
  std::vector<op::VersionRecord> keys;
  for (auto& version : context.versions()) {
    if (version.role == Role::kek || (request.role && version.role != *request.role)) continue;
    if (version.state == State::destroyed || version.state == State::compromised) continue;
    if (!version.extractable) {
      skipped.push_back(version.label() + ": not exportable");
      continue;
    }
    std::string why;
    if (!context.token().wrap_algorithm(version.type, &why)) {
      skipped.push_back(version.label() + ": " + why);
      continue;
    }
    keys.push_back(std::move(version));
  }
  return keys;
}

std::vector<op::VersionRecord> named(const op::Context& context, const std::vector<std::string>& references) {
  std::vector<op::VersionRecord> keys;
  std::set<std::string> seen;
  for (const auto& reference : references) {
    auto version = context.resolve(reference);
    if (!seen.insert(version.label()).second) throw Error::usage("the key " + version.label() + " was named twice", "name each key once");
    keys.push_back(std::move(version));
  }
  return keys;
}

std::vector<policy::Waiver> judge(op::Context& context, const std::vector<op::VersionRecord>& keks,
                                  const std::vector<op::VersionRecord>& keys) {
  std::vector<policy::Violation> violations;
  for (const auto& kek : keks) {
    for (const auto& key : keys) {
      for (auto& violation : policy::judge_wrap(context.home.policy, kek.facts(), key.facts(), context.now())) {
        violations.push_back(std::move(violation));
      }
    }
  }
  return policy::enforce(context.home.policy, violations, context.options.waivers);
}

WrapResult preview(op::Context& context, const std::vector<op::VersionRecord>& keks, const std::vector<op::VersionRecord>& keys,
                   const std::filesystem::path& target) {
  WrapResult result;
  result.bundle.path = target.string();
  result.bundle.records = keys.size();
  const auto algorithm = op::common_algorithm(context.token(), keys);
  for (const auto& kek : keks) {
    result.recipients.push_back({kek.label(), kek.id, kek.type, strength_of(kek.type), algorithm, context.token().wrap_mechanism_name(algorithm)});
    result.bundle.keks.push_back(kek.label());
  }
  return result;
}

/// Those that a KEK was over which is compromised: whoever gets the bundle is told.
std::set<std::string> exposed_among(op::Context& context, const std::vector<op::VersionRecord>& keys) {
  std::set<std::string> labels;
  const op::Exposed known(context);
  if (known.empty()) return labels;
  const op::Copies copies(context);
  for (const auto& key : keys) {
    if (!known.by(key.label(), copies.same_key(key.id)).empty()) labels.insert(key.label());
  }
  return labels;
}

using Objects = std::map<std::string, std::map<Part, pkcs11::Object>>;

void wrap_all(op::Context& context, op::BundleOut& out, const std::vector<op::VersionRecord>& keys, const Objects& objects, int sessions,
              const std::set<std::string>& exposed) {
  std::uint64_t done = 0;
  const auto object_of = [&](const op::VersionRecord* key) -> const pkcs11::Object& {
    return objects.at(key->label()).at(op::wrapped_part(key->role));
  };
  op::Workers<const op::VersionRecord*, std::vector<Bytes>> workers(
      context, sessions > 0 ? sessions : context.home.policy.sessions,
      [&](pkcs11::Token& token, const op::VersionRecord* key) {
        std::vector<Bytes> wrapped;
        for (const auto& target : out.targets()) wrapped.push_back(token.wrap(target.kek, object_of(key).handle, target.algorithm));
        return wrapped;
      },
      [&](const op::VersionRecord* key, std::vector<Bytes>&& wrapped) {
        auto record = op::BundleOut::record_of(*key, object_of(key));
        record.wrapped = std::move(wrapped);
        if (exposed.contains(key->label())) record.state = State::compromised;
        out.write(record);
        context.progress("wrapping", ++done, keys.size());
      });
  for (const auto& key : keys) workers.push(&key);
  workers.drain();
}

}  // namespace

WrapResult wrap(op::Context& context, const WrapRequest& request) {
  const auto keks = op::resolve_keks(context, request.keks);
  std::vector<std::string> skipped;
  const auto keys = request.all ? all_wrappable(context, request, skipped) : named(context, request.keys);
  if (keys.empty()) {
    throw Error::missing("there is no key that could be wrapped" + std::string(skipped.empty() ? "" : " (" + skipped.front() + ")"),
                         "make keys with kmtool gen NAME --role data --exportable");
  }
  const auto waivers = judge(context, keks, keys);
  const auto algorithm = op::common_algorithm(context.token(), keys);
  const auto target = home::check_bundle_output(request.out, context.options.overwrite);
  auto result = preview(context, keks, keys, target);
  result.skipped = skipped;
  const auto exposed = exposed_among(context, keys);
  result.exposed.assign(exposed.begin(), exposed.end());

  auto objects = context.objects_of(keys);
  objects.merge(context.objects_of(keks));
  for (const auto& key : keys) {
    const Part part = op::wrapped_part(key.role);
    op::require_as_recorded(context, key, part, objects.at(key.label()).at(part));
  }
  auto found = op::keks_on_token(context, keks, objects);
  if (context.options.dry_run) {
    result.kept = op::kept_where(context, target, {});
    return result;
  }

  op::Plan plan;
  plan.command = "wrap";
  plan.target = keys.size() == 1 ? keys.front().label() : fmt::format("{} keys", keys.size());
  const auto id = op::new_bundle_id(context);
  plan.files.push_back(op::planned_file(context, target, id, {}));
  result.kept = plan.files.back().kept_path;
  plan.details = {{"bundle", id}, {"out", target.string()}, {"keks", result.bundle.keks}, {"records", keys.size()}};
  plan.details["waivers"] = Json::array();
  for (const auto& waiver : waivers) plan.details["waivers"].push_back({{"rule", waiver.rule}, {"reason", waiver.reason}});
  context.run(plan, [&] {
    AtomicFile file(target, context.options.overwrite, plan.files[0].temporary_path);
    op::BundleOut out(context, file, std::move(found), id, keys.size(), waivers, algorithm);
    wrap_all(context, out, keys, objects, request.sessions, exposed);
    result.bundle = out.finish();
    op::keep_replaced(plan.files[0]);
    file.commit();
    auto changes = op::replaced_changes(context, plan.files[0], result.bundle);
    for (auto& change : result.bundle.changes()) changes.push_back(std::move(change));
    return op::Outcome{std::move(changes), {{"bundle", id}, {"digest", result.bundle.digest}}};
  });
  return result;
}

}  // namespace kmtool::transfer
