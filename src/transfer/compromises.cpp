#include "transfer/compromises.hpp"

#include "kmtool/core/encoding.hpp"
#include "kmtool/domain/name.hpp"

namespace kmtool::transfer {

Compromises::Compromises(op::Context& context) : context_(context) {
  for (const auto& version : context.versions()) {
    if (version.state == State::compromised || version.state == State::destroyed) suspects_.insert_or_assign(hex(version.id), Known{version.label(), version.state});
  }
  for (const auto& row : context.journal().proven_all("copy")) {
    const auto of = row.json().value("of", "");
    copies_.emplace(row.id, of);
    copies_.emplace(of, row.id);
  }
}

std::set<std::string> Compromises::same_key(const Bytes& id) const {
  std::set<std::string> ids{hex(id)};
  std::vector<std::string> open{hex(id)};
  while (!open.empty()) {
    const auto next = std::move(open.back());
    open.pop_back();
    const auto [begin, end] = copies_.equal_range(next);
    for (auto it = begin; it != end; ++it) {
      if (ids.insert(it->second).second) open.push_back(it->second);
    }
  }
  return ids;
}

/// A destroyed version's state does not say any more what it was before.
bool Compromises::compromised(const Known& known) {
  if (known.state == State::compromised) return true;
  if (!called_so_) {
    auto& labels = called_so_.emplace();
    context_.journal().check_entries();
    context_.journal().each_entry(0, [&](const journal::Entry& entry) {
      if (entry.bytes.find("state compromise") == std::string::npos) return true;
      const Json json = entry.json();
      if (json.value("command", "") == "state compromise" && json.value("phase", "") == "note") labels.insert(json.value("target", ""));
      return true;
    });
  }
  return called_so_->contains(known.label);
}

std::string Compromises::of(const bundle::Record& record) {
  const auto label = label_of(record.name, record.version);
  for (const auto& id : same_key(record.id)) {
    const auto found = suspects_.find(id);
    if (found == suspects_.end() || !compromised(found->second)) continue;
    return (found->second.label == label ? "it" : found->second.label + ", the same key,") + std::string(" was called compromised");
  }
  return {};
}

std::string Compromises::of(const bundle::Header& header) {
  for (const auto& recipient : header.recipients) {
    const auto found = suspects_.find(hex(recipient.id));
    if (found == suspects_.end() || !compromised(found->second)) continue;
    return "the kek " + found->second.label + ", which the bundle is under, was called compromised: whoever has it may have the key too";
  }
  return {};
}

}  // namespace kmtool::transfer
