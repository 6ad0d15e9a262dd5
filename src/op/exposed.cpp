#include "kmtool/op/exposed.hpp"

#include <algorithm>
#include <vector>

#include "kmtool/core/encoding.hpp"
#include "kmtool/crypto/public_key.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/op/copies.hpp"
#include "op/state.hpp"

namespace kmtool::op {

namespace {

/// What was protected by what, from the first entry on: the catalog has only the bundles as they are now.
class History {
 public:
  explicit History(Context& context) {
    context.journal().check_entries();
    context.journal().each_entry(0, [&](const journal::Entry& entry) {
      const auto says = [&](const char* text) { return entry.bytes.find(text) != std::string::npos; };
      if (!says("\"kind\":\"bundle") && !says("\"command\":\"unwrap\"") && !says("\"command\":\"import-kek\"")) return true;
      const Json json = entry.json();
      bundles(json);
      if (json.value("command", "") == "unwrap") restored(entry.seq, json);
      if (json.value("command", "") == "import-kek") imported(context, entry.seq, json);
      return true;
    });
  }

  [[nodiscard]] std::set<std::string> directly_under(const std::set<std::string>& keks) const {
    std::set<std::string> keys;
    for (const auto& [id, group] : groups_) {
      if (std::ranges::any_of(group.keks, [&](const auto& kek) { return keks.contains(kek); })) keys.insert(group.keys.begin(), group.keys.end());
    }
    return keys;
  }

 private:
  /// Of one bundle, or of what one command restored: a bundle's id never changes its KEKs. Public keys stand among them by their fingerprint.
  struct Group {
    std::set<std::string> keks, keys;
  };

  void bundles(const Json& entry) {
    for (const auto& change : entry.value("changes", Json::array())) {
      const auto kind = change.value("kind", ""), id = change.value("id", "");
      const auto value = change.value("value", Json());
      if (kind == "bundle" && value.is_object() && value.value("quorum", "").empty()) {
        for (const auto* who : {"keks", "public_keys"}) {
          for (const auto& name : value.value(who, Json::array())) groups_[id].keks.insert(name.get<std::string>());
        }
      }
      if (kind != "bundle-part" || !value.is_array()) continue;
      for (const auto& key : value) groups_[id.substr(0, id.find('/'))].keys.insert(key.get<std::string>());
    }
  }

  void restored(std::uint64_t seq, const Json& entry) {
    if (entry.value("phase", "") == "intent") {
      auto& group = groups_["unwrap " + std::to_string(seq)];
      const auto details = entry.value("details", Json::object());
      group.keks.insert(details.value("kek", ""));
      add_recipients(details, group);
    }
    if (!entry.contains("intent")) return;
    auto& group = groups_["unwrap " + std::to_string(entry.value("intent", std::uint64_t{0}))];
    for (const auto& change : entry.value("changes", Json::array())) {
      const auto value = change.value("value", Json());
      if (change.value("kind", "") == "copy" && value.is_object()) group.keys.insert(value.value("key", ""));
    }
  }

  void imported(const Context& context, std::uint64_t seq, const Json& entry) {
    const auto label = entry.value("target", "");
    const auto version = entry.value("phase", "") == "intent" ? version_named(context, label) : std::nullopt;
    if (!version) return;
    const auto details = entry.value("details", Json::object());
    const auto quorum = details.value("quorum", version->quorum);  // entries of an earlier kmtool do not say
    if (!quorum.empty()) return;
    Group group{{details.value("opened_by", "")}, {label}};
    add_recipients(details, group);
    groups_["import-kek " + std::to_string(seq)] = std::move(group);
  }

  /// All that the bundle is for: each opens it, whichever did so here. Entries of an earlier kmtool name that one alone.
  static void add_recipients(const Json& details, Group& group) {
    for (const auto* who : {"keks", "kek_ids", "public_keys"}) {
      for (const auto& name : details.value(who, Json::array())) group.keks.insert(name.get<std::string>());
    }
  }

  std::map<std::string, Group> groups_;
};

}  // namespace

Exposed::Exposed(Context& context) {
  const auto& state = context.state();
  for (const auto& row : state.proven ? state.journal->proven_all("exposed") : state.journal->items("exposed")) {
    auto kek = row.json().value("kek", "");
    if (const auto id = id_in_name(row.id); !id.empty()) {
      by_id_.emplace(id, kek);
    } else if (const auto version = version_named(context, row.id)) {
      by_id_.emplace(hex(version->id), kek);
    } else {
      unknown_.insert(row.id);
    }
    rows_.emplace(row.id, std::move(kek));
  }
}

std::string Exposed::by(const std::string& label, const std::set<std::string>& ids) const {
  for (const auto& id : ids) {
    if (const auto found = by_id_.find(id); found != by_id_.end()) return found->second;
  }
  return unknown_.contains(label) ? rows_.at(label) : "";
}

journal::Change Exposed::row(const std::string& label, const std::string& kek) { return {"exposed", label, Json{{"kek", kek}}}; }

std::set<std::string> ever_under(Context& context, const VersionRecord& kek) {
  const History history(context);
  const Copies copies(context);
  const auto names_of = [&](const VersionRecord& version) {
    auto names = labels_of_key(context, version);
    names.merge(copies.same_key(version.id));
    return names;
  };
  auto own = names_of(kek);
  if (kek.role == Role::transport && kek.public_spki) own.insert(crypto::PublicKey::from_spki(*kek.public_spki).fingerprint());
  std::set<std::string> found;
  std::vector<std::set<std::string>> open{own};
  while (!open.empty()) {
    const auto labels = std::move(open.back());
    open.pop_back();
    for (const auto& name : history.directly_under(labels)) {
      const auto label = name_now(context, name);
      if (own.contains(label) || !found.insert(label).second) continue;
      const auto version = version_named(context, label);
      if (version && version->role == Role::kek) open.push_back(names_of(*version));
    }
  }
  return found;
}

}  // namespace kmtool::op
