#include <fmt/format.h>

#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/policy/use.hpp"
#include "policy/judging.hpp"
#include "policy/tools.hpp"

namespace kmtool::policy {
namespace {

/// What such a key still does once it protects nothing any more.
std::string_view remainder_of(Use use) {
  switch (use) {
    case Use::encrypt:
    case Use::decrypt:
      return "it only decrypts";
    case Use::mac:
    case Use::verify_mac:
      return "it only verifies";
    case Use::sign:
      break;
  }
  return "it signs nothing any more";
}

void judge_state(const KeyFacts& key, Use use, UnixTime now, std::vector<Violation>& found) {
  const std::string label = printable(key.label);
  const std::string name = name_in(label);
  const std::string rotate = fmt::format("use the active version ({}), or make a new one: kmtool rotate {}", name, name);
  if (key.state == State::pre_activation || key.state == State::suspended) {
    const bool suspended = key.state == State::suspended;
    found.push_back(never("G-WORK", fmt::format("{} is {}: it does nothing until it is {}", label, to_text(key.state), suspended ? "resumed" : "activated"),
                          protects(use) && suspended ? fmt::format("kmtool state {} resume --reason TEXT, or use the active version ({})", label, name) : how_to_process(label, key.state)));
  } else if (key.state == State::destroyed) {
    found.push_back(never("G-WORK", label + " is destroyed", protects(use) ? rotate : "restore it from a bundle: kmtool unwrap FILE --as NEWNAME"));
  } else if (!protects(use)) {
    if (key.state == State::compromised) {
      found.push_back(reported("G-WORK", label + " is compromised: whoever has it could have made this as well", "protect it anew under another key"));
    }
  } else if (!may_protect(key.state)) {
    found.push_back(never("G-WORK", fmt::format("{} is {}: {}", label, to_text(key.state), remainder_of(use)), rotate));
  } else if (key.originator_end && now >= *key.originator_end) {
    found.push_back(never("G-WORK", fmt::format("the originator period of {} ended on {}: {}", label, rfc3339(*key.originator_end), remainder_of(use)),
                          fmt::format("make a new version: kmtool rotate {}", name)));
  }
}

}  // namespace

std::string_view to_text(Use use) {
  switch (use) {
    case Use::encrypt:
      return "encrypt";
    case Use::decrypt:
      return "decrypt";
    case Use::mac:
      return "mac";
    case Use::verify_mac:
      return "verify";
    case Use::sign:
      break;
  }
  return "sign";
}

bool protects(Use use) { return use == Use::encrypt || use == Use::mac || use == Use::sign; }

Role role_for(Use use) {
  if (use == Use::sign) return Role::sign;
  return use == Use::encrypt || use == Use::decrypt ? Role::data : Role::mac;
}

std::vector<Violation> judge_use(const Policy& policy, const KeyFacts& key, Use use, UnixTime now) {
  std::vector<Violation> found;
  const Role wanted = role_for(use);
  if (key.role != wanted) {
    const auto does = use == Use::mac ? std::string("makes MACs") : use == Use::verify_mac ? std::string("verifies MACs") : std::string(to_text(use)) + "s";
    found.push_back(never("G-SEALED",
                          fmt::format("{} has role {}: only a {} key {}", printable(key.label), to_text(key.role), to_text(wanted), does),
                          fmt::format("one key, one use: kmtool list --role {} shows the others", to_text(wanted)), Severity::critical));
    return found;
  }
  judge_state(key, use, now, found);
  const auto recipient = period_of(policy, key.role).recipient;
  if (!protects(use) && key.originator_end && now >= *key.originator_end + recipient) {
    found.push_back(reported("G-WORK", fmt::format("the recipient period of {} is over as well", printable(key.label)), "protect it anew under a newer key"));
  }
  return found;
}

std::uint64_t gcm_invocations(Origin origin) { return std::uint64_t{1} << (origin == Origin::here ? 31 : 24); }

}  // namespace kmtool::policy
