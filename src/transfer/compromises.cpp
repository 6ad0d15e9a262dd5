#include "transfer/compromises.hpp"

#include "kmtool/core/encoding.hpp"
#include "kmtool/domain/name.hpp"

namespace kmtool::transfer {

Compromises::Compromises(op::Context& context) : context_(context), copies_(context), exposed_(context) {
  for (const auto& version : context.versions()) {
    const bool retired = version.state == State::deactivated && version.activated;  // not one that came back for processing only
    const bool suspect = version.state == State::compromised || version.state == State::suspended || version.state == State::destroyed;
    if (suspect || retired) suspects_.emplace(hex(version.id), Known{version.label(), version.state});
  }
}

/// A destroyed version's state does not say any more what it was before.
void Compromises::read_journal() {
  if (called_so_) return;
  auto& labels = called_so_.emplace();
  context_.journal().check_entries();
  context_.journal().each_entry(0, [&](const journal::Entry& entry) {
    if (entry.bytes.find("\"version\"") == std::string::npos && entry.bytes.find("state compromise") == std::string::npos) return true;
    const Json json = entry.json();
    for (const auto& change : json.value("changes", Json::array())) {
      const Json value = change.value("value", Json());
      if (change.value("kind", "") != "version" || !value.is_object()) continue;
      const auto state = state_from(value.value("state", ""));
      if (!state || *state == State::destroyed) continue;
      // One that came back for processing only was never active here.
      const bool active_once = *state != State::deactivated || (value.contains("activated") && !value["activated"].is_null());
      before_[change.value("id", "")] = active_once ? *state : State::active;
    }
    if (json.value("command", "") != "state compromise" || json.value("phase", "") != "note") return true;
    labels.insert(json.value("target", ""));
    for (const auto& label : json.value("details", Json::object()).value("same_key", Json::array())) labels.insert(label.get<std::string>());
    return true;
  });
}

bool Compromises::was(const Known& known, State state) {
  if (known.state != State::destroyed) return known.state == state;
  read_journal();
  const auto found = before_.find(known.label);
  return found != before_.end() && found->second == state;
}

bool Compromises::compromised(const Known& known) {
  if (was(known, State::compromised)) return true;
  return known.state == State::destroyed && called_so_->contains(known.label);
}

std::string Compromises::of(const bundle::Record& record) {
  const auto label = label_of(record.name, record.version);
  std::string found;
  for (const auto& id : copies_.same_key(record.id)) {
    const auto [begin, end] = suspects_.equal_range(id);
    for (auto suspect = begin; suspect != end; ++suspect) {
      if (!compromised(suspect->second)) continue;
      if (suspect->second.label == label) return "it was called compromised";
      found = suspect->second.label + ", the same key, was called compromised";
    }
  }
  return found.empty() ? why_exposed(record) : found;
}

std::string Compromises::why_exposed(const bundle::Record& record) const {
  if (exposed_.empty()) return {};
  const auto kek = exposed_.by(label_of(record.name, record.version), copies_.same_key(record.id));
  return kek.empty() ? "" : kek + ", which it was under, was called compromised: whoever has that may have the key too";
}

std::string Compromises::of(const bundle::Header& header) {
  const auto kek = compromised_kek(header);
  return kek.empty() ? "" : "the kek " + kek + ", which the bundle is under, was called compromised: whoever has it may have the key too";
}

std::string Compromises::compromised_kek(const bundle::Header& header) {
  for (const auto& recipient : header.recipients) {
    const auto [begin, end] = suspects_.equal_range(hex(recipient.id));
    for (auto found = begin; found != end; ++found) {
      if (compromised(found->second)) return found->second.label;
    }
  }
  return {};
}

std::string Compromises::same_key_in(const bundle::Record& record, bool retired) {
  for (const auto& id : copies_.same_key(record.id)) {
    const auto [begin, end] = suspects_.equal_range(id);
    for (auto found = begin; found != end; ++found) {
      const auto& known = found->second;
      const bool gone_suspended = known.state == State::destroyed && was(known, State::suspended);
      if (retired ? was(known, State::deactivated) || gone_suspended : known.state == State::suspended) return known.label;
    }
  }
  return {};
}

}  // namespace kmtool::transfer
