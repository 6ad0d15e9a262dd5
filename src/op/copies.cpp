#include "kmtool/op/copies.hpp"

#include <algorithm>

#include "kmtool/core/encoding.hpp"
#include "op/state.hpp"

namespace kmtool::op {

Copies::Copies(Context& context) {
  const auto& state = context.state();
  for (const auto& row : state.proven ? state.journal->proven_all("copy") : state.journal->items("copy")) {
    const auto of = row.json().value("of", "");
    pairs_.emplace(row.id, of);
    pairs_.emplace(of, row.id);
  }
}

std::set<std::string> Copies::same_key(const Bytes& id) const {
  std::set<std::string> ids{hex(id)};
  std::vector<std::string> open{hex(id)};
  while (!open.empty()) {
    const auto next = std::move(open.back());
    open.pop_back();
    const auto [begin, end] = pairs_.equal_range(next);
    for (auto it = begin; it != end; ++it) {
      if (ids.insert(it->second).second) open.push_back(it->second);
    }
  }
  return ids;
}

std::vector<VersionRecord> same_key(Context& context, const VersionRecord& version) {
  const auto ids = Copies(context).same_key(version.id);
  std::vector<VersionRecord> found;
  if (ids.size() == 1) return found;
  for (auto& other : context.versions()) {
    if (other.state == State::destroyed || other.label() == version.label() || !ids.contains(hex(other.id))) continue;
    found.push_back(std::move(other));
  }
  return found;
}

std::set<std::string> labels_of_key(Context& context, const VersionRecord& version) {
  const auto ids = Copies(context).same_key(version.id);
  std::set<std::string> labels{version.label()};
  for (const auto& other : context.versions()) {
    if (ids.contains(hex(other.id))) labels.insert(other.label());
  }
  return labels;
}

std::vector<BundleRecord> bundles_under(const Context& context, const std::set<std::string>& keks) {
  auto bundles = context.bundles();
  std::erase_if(bundles, [&](const auto& bundle) { return std::ranges::none_of(bundle.keks, [&](const auto& kek) { return keks.contains(kek); }); });
  return bundles;
}

std::vector<BundleRecord> bundles_with(const Context& context, const std::set<std::string>& keys, const std::string& kind) {
  auto bundles = context.bundles();
  std::erase_if(bundles, [&](const auto& bundle) {
    return bundle.kind != kind || std::ranges::none_of(context.bundle_keys(bundle.id), [&](const auto& key) { return keys.contains(key); });
  });
  return bundles;
}

}  // namespace kmtool::op
