#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "kmtool/core/count.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/domain/reason.hpp"
#include "kmtool/op/bundle_out.hpp"
#include "kmtool/op/copies.hpp"
#include "kmtool/transfer/inventory.hpp"

namespace kmtool::transfer {

namespace {

/// Which keys are left without the bundles that are lost. Keys are told by their CKA_ID, whatever they were called when a bundle was written.
class Left {
 public:
  Left(op::Context& context, const std::set<std::string>& lost) : context_(context), copies_(context) {
    for (const auto& version : context.versions()) {
      if (version.state != State::destroyed) on_token_.insert(hex(version.id));
    }
    for (const auto& bundle : context.bundles()) {
      if (lost.contains(bundle.id) || !bundle.bad.empty()) continue;
      for (const auto& label : context.bundle_keys(bundle.id)) {
        held_.insert(bundle.kind + " " + label);
        for (const auto& id : ids_of(label)) held_.insert(bundle.kind + " " + id);
      }
    }
  }

  /// Empty: another bundle of that kind holds the key, too.
  [[nodiscard]] std::string loss(const std::string& label, const std::string& kind) const {
    const auto ids = ids_of(label);
    const auto held = [&](const std::string& what) { return held_.contains(kind + " " + what); };
    if (held(label) || std::ranges::any_of(ids, held)) return {};
    const bool here = std::ranges::any_of(ids, [&](const auto& id) { return on_token_.contains(id); });
    if (kind == "kek") {
      return here ? label + " has no backup any more: kmtool export-kek " + label + ", before its token is lost too"
                  : label + " is on no token of this home, and in no bundle any more: what opens under it alone is lost";
    }
    return here ? label + " is in no bundle any more: kmtool wrap " + label + ", before its token is lost too"
                : label + " is on no token of this home, and in no bundle any more: what it protects is lost for ever";
  }

 private:
  [[nodiscard]] std::set<std::string> ids_of(const std::string& label) const {
    if (const auto id = from_hex(op::id_in_name(label)); id && !id->empty()) return copies_.same_key(*id);
    const auto version = op::version_named(context_, label);
    return version ? copies_.same_key(version->id) : std::set<std::string>{};
  }

  op::Context& context_;
  op::Copies copies_;
  std::set<std::string> on_token_, held_;  ///< CKA_IDs in hex; `keys ID` and `keys LABEL`
};

/// That a KEK's backup opened with a quorum is remembered by the KEK: the next backup must not be worth less.
void keep_quorum(const op::Context& context, const op::BundleRecord& bundle, std::map<std::string, op::VersionRecord>& keks) {
  if (bundle.kind != "kek" || !bundle.quorum || bundle.quorum->empty()) return;
  for (const auto& label : bundle.keys) {
    auto version = op::version_named(context, label);
    if (!version || !version->quorum.empty()) continue;
    version->quorum = *bundle.quorum;
    keks.emplace(label, *std::move(version));
  }
}

op::BundleRecord find(const op::Context& context, const std::string& which) {
  const auto path = std::filesystem::absolute(which).lexically_normal().string();
  for (auto& bundle : context.bundles()) {
    if (bundle.id != which && bundle.path != path && bundle.path != which) continue;
    if (op::lies_at(bundle.path, bundle.id)) {
      throw Error::exists(printable(bundle.path) + " is where the catalog has it: it is not lost",
                          "remove the file first where it is not to be kept");
    }
    return bundle;
  }
  throw Error::missing("the catalog knows no bundle " + printable(which), "kmtool bundles lists them; say the path that is shown there");
}

}  // namespace

Lost take_lost(op::Context& context, const std::vector<std::string>& which, const std::string& reason) {
  require_reason(reason);
  Lost lost;
  std::set<std::string> ids;
  for (const auto& one : which) {
    auto bundle = find(context, one);
    if (ids.insert(bundle.id).second) lost.bundles.push_back(std::move(bundle));
  }
  const Left left(context, ids);
  std::set<std::string> told;
  std::map<std::string, op::VersionRecord> keks;
  std::vector<journal::Change> changes;
  Json details{{"reason", reason}, {"lost", Json::array()}};
  for (auto& bundle : lost.bundles) {
    bundle.keys = context.bundle_keys(bundle.id);
    for (const auto& label : bundle.keys) {
      auto loss = left.loss(label, bundle.kind);
      if (!loss.empty() && told.insert(bundle.kind + label).second) lost.losses.push_back(std::move(loss));
    }
    keep_quorum(context, bundle, keks);
    for (auto& change : bundle.removal()) changes.push_back(std::move(change));
    if (details["lost"].size() < 100) details["lost"].push_back({{"bundle", bundle.id}, {"path", bundle.path}, {"host", bundle.host}});
  }
  for (const auto& [label, kek] : keks) changes.push_back(kek.change());
  for (auto& bundle : context.bundles()) {
    if (ids.contains(bundle.id) || !ids.contains(bundle.kept_for)) continue;
    lost.current.push_back(bundle.path);
    bundle.kept_for.clear();
    for (auto& change : bundle.changes()) changes.push_back(std::move(change));
  }
  if (context.options.dry_run || lost.bundles.empty()) return lost;
  context.note("bundles --lost", lost.bundles.size() == 1 ? lost.bundles.front().path : counted(lost.bundles.size(), "bundle"), std::move(details),
               std::move(changes));
  return lost;
}

}  // namespace kmtool::transfer
