#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "kmtool/core/host.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/keys/state.hpp"
#include "kmtool/op/bundle_out.hpp"
#include "kmtool/op/copies.hpp"

namespace kmtool::keys {

namespace {

/// Who opens bundles here when one KEK is gone. A recipient's label may be one that its KEK had before: it was destroyed, and came back under
/// another name.
class Openers {
 public:
  /// Without the KEK that has this CKA_ID; nullptr: all of them.
  Openers(const op::Context& context, const Bytes* without) {
    for (auto& version : context.versions()) {
      if (version.role != Role::kek || (without != nullptr && version.id == *without)) continue;
      if (version.state != State::destroyed) here_.insert(version.id);
      ids_.emplace(version.label(), std::move(version.id));
    }
  }

  [[nodiscard]] bool open(const op::BundleRecord& bundle) const {
    if (!bundle.public_keys.empty()) return true;  // elsewhere, with a transport key
    return std::ranges::any_of(bundle.keks, [&](const auto& label) {
      const auto id = ids_.find(label);
      return id != ids_.end() && here_.contains(id->second);
    });
  }

 private:
  std::map<std::string, Bytes> ids_;
  std::set<Bytes> here_;  ///< not destroyed
};

/// Why this bundle gives nothing back, as far as this host can tell; empty: it does.
std::string gone(const op::BundleRecord& bundle) {
  if (!bundle.bad.empty()) return "the last verification found: " + bundle.bad;
  if (bundle.host != host_name()) return {};
  std::error_code error;
  if (!std::filesystem::exists(bundle.path, error)) return "it is not there: moved, or lost";
  return op::lies_at(bundle.path, bundle.id) ? "" : "what lies there is not that bundle";
}

/// Is one of them there, and somebody can open it? Why those are not there, in `why`.
bool gives_back(const std::vector<op::BundleRecord>& bundles, const Openers& openers, std::vector<std::string>& why) {
  bool given = false;
  for (const auto& bundle : bundles) {
    const auto reason = gone(bundle);
    if (!reason.empty()) why.push_back(bundle.path + ": " + reason);
    given = given || (reason.empty() && openers.open(bundle));
  }
  return given;
}

std::vector<std::string> losses_of_kek(op::Context& context, const op::VersionRecord& kek) {
  std::vector<std::string> found, why;
  const auto labels = op::labels_of_key(context, kek);
  const Openers others(context, &kek.id);
  if (gives_back(op::bundles_with(context, labels, "kek"), others, why)) return found;  // it comes back with import-kek, and opens them again
  for (const auto& bundle : op::bundles_under(context, labels)) {
    if (others.open(bundle)) continue;
    found.push_back(bundle.path + " (" + std::to_string(bundle.records) + (bundle.records == 1 ? " key" : " keys") + ") opens under no other kek");
  }
  if (!found.empty()) found.insert(found.end(), why.begin(), why.end());
  return found;
}

}  // namespace

std::vector<std::string> losses(op::Context& context, const op::VersionRecord& version) {
  if (version.role == Role::kek) return losses_of_kek(context, version);
  std::vector<std::string> why;
  if (!op::same_key(context, version).empty()) return {};
  if (gives_back(op::bundles_with(context, op::labels_of_key(context, version), "keys"), Openers(context, nullptr), why)) return {};
  if (why.empty()) return {"no bundle holds " + version.label() + ": what it protects is lost for ever"};
  return {"no bundle of " + version.label() + " is left, and what it protects is lost for ever, unless it is elsewhere (" + join(why, "; ") + ")"};
}

bool only_bad_bundles(op::Context& context, const op::VersionRecord& version) {
  if (version.role == Role::kek) return false;
  const auto bundles = op::bundles_with(context, op::labels_of_key(context, version), "keys");
  return !bundles.empty() && std::ranges::all_of(bundles, [](const auto& bundle) { return !bundle.bad.empty(); });
}

}  // namespace kmtool::keys
