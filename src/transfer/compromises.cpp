#include "transfer/compromises.hpp"

#include "kmtool/core/encoding.hpp"
#include "kmtool/domain/name.hpp"

namespace kmtool::transfer {

Compromises::Compromises(op::Context& context) : context_(context), copies_(context) {
  for (const auto& version : context.versions()) {
    const bool retired = version.state == State::deactivated && version.activated;  // not one that came back for processing only
    const bool suspect = version.state == State::compromised || version.state == State::suspended || version.state == State::destroyed;
    if (suspect || retired) suspects_.insert_or_assign(hex(version.id), Known{version.label(), version.state});
  }
}

/// A destroyed version's state does not say any more what it was before.
bool Compromises::compromised(const Known& known) {
  if (known.state != State::destroyed) return known.state == State::compromised;
  if (!called_so_) {
    auto& labels = called_so_.emplace();
    context_.journal().check_entries();
    context_.journal().each_entry(0, [&](const journal::Entry& entry) {
      if (entry.bytes.find("state compromise") == std::string::npos) return true;
      const Json json = entry.json();
      if (json.value("command", "") != "state compromise" || json.value("phase", "") != "note") return true;
      labels.insert(json.value("target", ""));
      for (const auto& label : json.value("details", Json::object()).value("same_key", Json::array())) labels.insert(label.get<std::string>());
      return true;
    });
  }
  return called_so_->contains(known.label);
}

std::string Compromises::of(const bundle::Record& record) {
  const auto label = label_of(record.name, record.version);
  std::string found;
  for (const auto& id : copies_.same_key(record.id)) {
    const auto suspect = suspects_.find(id);
    if (suspect == suspects_.end() || !compromised(suspect->second)) continue;
    if (suspect->second.label == label) return "it was called compromised";
    found = suspect->second.label + ", the same key, was called compromised";
  }
  return found;
}

std::string Compromises::of(const bundle::Header& header) {
  for (const auto& recipient : header.recipients) {
    const auto found = suspects_.find(hex(recipient.id));
    if (found == suspects_.end() || !compromised(found->second)) continue;
    return "the kek " + found->second.label + ", which the bundle is under, was called compromised: whoever has it may have the key too";
  }
  return {};
}

std::string Compromises::same_key_in(const bundle::Record& record, State state) const {
  for (const auto& id : copies_.same_key(record.id)) {
    const auto found = suspects_.find(id);
    if (found != suspects_.end() && found->second.state == state) return found->second.label;
  }
  return {};
}

}  // namespace kmtool::transfer
