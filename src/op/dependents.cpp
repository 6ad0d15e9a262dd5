#include "kmtool/op/dependents.hpp"

#include <algorithm>
#include <map>

#include "kmtool/op/copies.hpp"
#include "op/state.hpp"

namespace kmtool::op {

std::vector<std::string> stored_under(Context& context, const std::set<std::string>& labels) {
  const auto& state = context.state();
  std::vector<std::string> found;
  for (const auto& row : state.proven ? state.journal->proven_all("apikey-store") : state.journal->items("apikey-store")) {
    if (labels.contains(row.json().value("key", ""))) found.push_back(row.id);
  }
  return found;
}

void OpenedKeks::read_journal() {
  if (opened_) return;
  auto& found = opened_.emplace();
  if (context_.state().proven) context_.journal().check_entries();
  std::map<std::uint64_t, Opened> begun;
  context_.journal().each_entry(0, [&](const journal::Entry& entry) {
    if (entry.bytes.find("\"import-kek") == std::string::npos) return true;
    const Json json = entry.json();
    const auto phase = json.value("phase", "");
    if (phase == "outcome") {
      const auto intent = begun.find(json.value("intent", std::uint64_t{0}));
      if (intent != begun.end() && json.value("result", "") == "done") found.push_back(intent->second);
      return true;
    }
    const auto details = json.value("details", Json::object());
    if (!details.contains("opened_by")) return true;
    Opened opened{json.value("target", ""), details.value("opened_by", ""), details.value("creator_token", "")};
    if (phase == "intent") begun.emplace(entry.seq, std::move(opened));
    else if (phase == "note") found.push_back(std::move(opened));
    return true;
  });
}

std::set<std::string> OpenedKeks::with(const VersionRecord& opener) {
  std::set<std::string> keks;
  const bool transport = opener.role == Role::transport;
  if (!transport && opener.role != Role::kek) return keks;
  read_journal();
  const auto labels = labels_of_key(context_, opener);
  for (const auto& opened : *opened_) {
    if (labels.contains(opened.opened_by) && (transport || opened.creator_token != opener.token_serial)) keks.insert(opened.kek);
  }
  if (!transport || !opener.public_spki) return keks;
  const auto fingerprint = crypto::PublicKey::from_spki(*opener.public_spki).fingerprint();
  for (const auto& bundle : context_.bundles()) {
    if (std::ranges::find(bundle.public_keys, fingerprint) == bundle.public_keys.end()) continue;
    for (auto& label : context_.bundle_keys(bundle.id)) keks.insert(std::move(label));
  }
  return keks;
}

}  // namespace kmtool::op
