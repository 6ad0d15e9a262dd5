#include "kmtool/op/openers.hpp"

#include <algorithm>

#include "kmtool/crypto/public_key.hpp"

namespace kmtool::op {

Openers::Openers(const Context& context, const Bytes* without) {
  for (auto& version : context.versions()) {
    const bool opens = version.state != State::destroyed && (without == nullptr || version.id != *without);
    if (version.role == Role::transport && version.public_spki) {
      auto& known = transport_[crypto::PublicKey::from_spki(*version.public_spki).fingerprint()];
      known = known || opens;
    }
    if (version.role != Role::kek) continue;
    if (opens) here_.insert(version.id);
    keks_.emplace(version.label(), std::move(version.id));
  }
}

bool Openers::open(const BundleRecord& bundle) const {
  const auto elsewhere_or_here = [&](const auto& fingerprint) {
    const auto own = transport_.find(fingerprint);
    return own == transport_.end() || own->second;
  };
  return std::ranges::any_of(bundle.public_keys, elsewhere_or_here) || std::ranges::any_of(bundle.keks, [&](const auto& label) {
           const auto id = keks_.find(label);
           return id != keks_.end() && here_.contains(id->second);
         });
}

}  // namespace kmtool::op
