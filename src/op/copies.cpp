#include "kmtool/op/copies.hpp"

#include <algorithm>

#include "kmtool/core/encoding.hpp"
#include "op/state.hpp"

namespace kmtool::op {

namespace {

/// The CKA_ID of the key that this one is a copy of, or a copy of such a copy; itself where it is none.
std::string original_of(const Context::State& state, std::string id) {
  std::set<std::string> seen;
  while (seen.insert(id).second) {
    const auto row = state.proven ? state.journal->proven("copy", id) : state.journal->item("copy", id);
    if (!row) break;
    id = row->json().value("of", "");
  }
  return id;
}

/// `payments@1` of `payments@1#0a1b...`
std::string label_in_name(const std::string& name) { return name.substr(0, name.find('#')); }

}  // namespace

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

std::string bundle_label(Context& context, const std::string& label, const Bytes& id) { return name_now(context, label + "#" + hex(id)); }

std::string name_now(Context& context, const std::string& name) { return name_now(context, context.state(), name); }

std::string name_now(const Context& context, const Context::State& state, const std::string& name) {
  const auto id = id_in_name(name);
  if (id.empty()) return name;
  const auto label = label_in_name(name);
  const auto version = version_named(context, label);
  if (!version) return name;
  const auto own = hex(version->id);
  return own == id || original_of(state, own) == original_of(state, id) ? label : name;
}

std::set<std::string> with_bare_labels(const Context& context, const std::vector<std::string>& names) {
  std::set<std::string> found(names.begin(), names.end());
  for (const auto& name : names) {
    if (const auto label = label_in_name(name); !version_named(context, label)) found.insert(label);
  }
  return found;
}

std::optional<VersionRecord> version_named(const Context& context, const std::string& name) {
  if (!id_in_name(name).empty()) return std::nullopt;
  return context.find_version(name);
}

std::string id_in_name(const std::string& name) {
  const auto mark = name.find('#');
  return mark == std::string::npos ? "" : name.substr(mark + 1);
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
