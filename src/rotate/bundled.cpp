#include "rotate/bundled.hpp"

#include <algorithm>

#include "kmtool/core/encoding.hpp"

namespace kmtool::rotate {

Bundled::Bundled(op::Context& context) : copies_(context) {
  std::set<std::string> labels;
  for (const auto& bundle : context.bundles()) {
    if (bundle.kind != "keys") continue;
    for (auto& label : context.bundle_keys(bundle.id)) labels.insert(std::move(label));
  }
  const auto versions = context.versions();
  for (const auto& version : versions) {
    if (labels.contains(version.label())) ids_.merge(copies_.same_key(version.id));
  }
  for (const auto& version : versions) {
    if (holds(version)) in_bundles_[version.name].emplace(version.version, version);
  }
}

bool Bundled::holds(const op::VersionRecord& version) const { return ids_.contains(hex(version.id)); }

std::optional<op::VersionRecord> Bundled::left_behind(const op::VersionRecord& version) const {
  const auto found = in_bundles_.find(version.name);
  if (found == in_bundles_.end() || holds(version)) return std::nullopt;
  const auto newer = found->second.lower_bound(version.version);
  if (newer == found->second.begin()) return std::nullopt;
  return std::prev(newer)->second;
}

}  // namespace kmtool::rotate
