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
#include "kmtool/op/openers.hpp"
#include "kmtool/transfer/inventory.hpp"

namespace kmtool::transfer {

namespace {

/// Which keys are left without the bundles that are lost. Keys are told by their CKA_ID, whatever they were called when a bundle was written.
class Left {
 public:
  Left(op::Context& context, const std::set<std::string>& lost) : context_(context), copies_(context) {
    for (auto& version : context.versions()) {
      auto id = hex(version.id);
      if (version.state != State::destroyed) on_token_.emplace(std::move(id), std::move(version));
    }
    const op::Openers openers(context, nullptr);
    for (const auto& bundle : context.bundles()) {
      if (lost.contains(bundle.id) || !bundle.bad.empty() || !openers.open(bundle)) continue;
      for (const auto& label : context.bundle_keys(bundle.id)) {
        held_.insert(bundle.kind + " " + label);
        for (const auto& id : ids_of(label)) held_.insert(bundle.kind + " " + id);
      }
    }
  }

  /// Empty: another bundle of that kind, which somebody can open, holds the key, too.
  [[nodiscard]] std::string loss(const std::string& label, const std::string& kind) const {
    const auto ids = ids_of(label);
    const auto held = [&](const std::string& what) { return held_.contains(kind + " " + what); };
    if (held(label) || std::ranges::any_of(ids, held)) return {};
    const auto here = std::ranges::find_if(ids, [&](const auto& id) { return on_token_.contains(id); });
    if (here == ids.end()) {
      return label + " is on no token of this home, and in no bundle any more: what " + (kind == "kek" ? "opens under it alone is lost" : "it protects is lost for ever");
    }
    return label + (kind == "kek" ? " has no backup" : " is in no bundle") + " any more: kmtool " + anew(on_token_.at(*here), kind) + ", before its token is lost too";
  }

 private:
  /// How a key gets into a bundle again; one that may not leave its token has to be succeeded by one that is backed up at birth.
  static std::string anew(const op::VersionRecord& version, const std::string& kind) {
    if (!version.extractable) return "rotate " + version.name + " --backup FILE --kek " + (kind == "kek" ? "PARENT" : "KEK");
    return kind == "kek" ? "export-kek " + version.label() + " --to-kek PARENT --out FILE" : "wrap " + version.label() + " --kek KEK --out FILE";
  }

  [[nodiscard]] std::set<std::string> ids_of(const std::string& label) const {
    if (const auto id = from_hex(op::id_in_name(label)); id && !id->empty()) return copies_.same_key(*id);
    const auto version = op::version_named(context_, label);
    return version ? copies_.same_key(version->id) : std::set<std::string>{};
  }

  op::Context& context_;
  op::Copies copies_;
  std::map<std::string, op::VersionRecord> on_token_;  ///< by CKA_ID in hex
  std::set<std::string> held_;                         ///< `keys ID` and `keys LABEL`
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
