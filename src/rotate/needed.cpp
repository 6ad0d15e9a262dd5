#include "rotate/needed.hpp"

#include <algorithm>

#include "kmtool/core/count.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/domain/name.hpp"

namespace kmtool::rotate {

Needed::Catalog::Catalog(op::Context& context) : copies(context) {
  for (const auto& version : context.versions()) labels.emplace(hex(version.id), version.label());
  for (const auto& bundle : context.bundles()) {
    for (const auto& kek : bundle.keks) bundles.emplace(kek, bundle);
  }
  context.journal().each_proven("apikey-store", [&](const journal::Item& row) { ++stored[row.json().value("key", "")]; });
}

const Needed::Catalog& Needed::catalog() {
  if (!catalog_) catalog_.emplace(context_);
  return *catalog_;
}

std::set<std::string> Needed::labels_of(const op::VersionRecord& version) {
  std::set<std::string> found{version.label()};
  for (const auto& id : catalog().copies.same_key(version.id)) {
    const auto [begin, end] = catalog().labels.equal_range(id);
    for (auto it = begin; it != end; ++it) found.insert(it->second);
  }
  return found;
}

/// A bundle opens with this KEK alone; what a dry run would have re-wrapped by now does not count.
bool Needed::by_bundle(const op::VersionRecord& kek) {
  const auto moved = [&](const op::BundleRecord& bundle) {
    return std::any_of(report_.rewrapped.begin(), report_.rewrapped.end(), [&](const auto& done) { return done.file == bundle.path && done.kept.empty(); });
  };
  for (const auto& label : labels_of(kek)) {
    const auto [begin, end] = catalog().bundles.equal_range(label);
    if (std::any_of(begin, end, [&](const auto& bundle) { return !moved(bundle.second); })) return true;
  }
  return false;
}

/// As it is now: the other copy may have been destroyed a moment ago.
bool Needed::stands_elsewhere(const op::VersionRecord& version) {
  if (catalog().copies.same_key(version.id).size() == 1) return false;
  for (const auto& label : labels_of(version)) {
    if (label == version.label()) continue;
    const auto other = context_.find_version(label);
    if (other && other->state != State::destroyed) return true;
  }
  return false;
}

bool Needed::is(const op::VersionRecord& version) {
  if (version.role == Role::kek && by_bundle(version)) return true;
  if (version.role == Role::kek || version.role == Role::transport) return !opened_keks_.with(version).empty();
  if (catalog().stored.empty() || stands_elsewhere(version)) return false;  // they open with that one then
  std::size_t stored = 0;
  for (const auto& label : labels_of(version)) {
    const auto found = catalog().stored.find(label);
    if (found != catalog().stored.end()) stored += found->second;
  }
  if (stored == 0) return false;
  report_.notes.push_back(version.label() + " is due to be destroyed, and stays: " + counted(stored, "stored key is", "stored keys are") +
                          " sealed under it (kmtool apikey store --reseal)");
  return true;
}

}  // namespace kmtool::rotate
