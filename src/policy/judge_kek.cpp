#include <fmt/format.h>

#include <algorithm>

#include "kmtool/core/text.hpp"
#include "kmtool/policy/policy.hpp"
#include "policy/judging.hpp"
#include "policy/tools.hpp"

/// Keks that leave their token, and that come in from elsewhere.
namespace kmtool::policy {
namespace {

void judge_leaving(const KeyFacts& kek, bool at_birth, std::vector<Violation>& found) {
  const std::string label = printable(kek.label);
  if (kek.role != Role::kek) {
    found.push_back(never("G-SEALED", fmt::format("{} has role {}: only a kek is exported", label, to_text(kek.role)),
                          fmt::format("put it into a bundle under a kek: kmtool wrap {} --kek KEK --out FILE", label), Severity::critical));
    return;
  }
  if (!kek.exportable && !at_birth) {
    found.push_back(never("G-SEALED", fmt::format("kek {} is not exportable: such a kek leaves its token only at birth", label),
                          fmt::format("make its successor with kmtool gen NAME --role kek --backup FILE (--kek PARENT | --to-public-key PEM "
                                      "--fingerprint HEX), and move to it what {} carries",
                                      label)));
  }
  if (kek.state == State::compromised || kek.state == State::destroyed || kek.state == State::suspended) {
    found.push_back(never("G-WORK", fmt::format("kek {} is {}: it is not exported", label, to_text(kek.state)),
                          kek.state == State::suspended ? fmt::format("kmtool state {} resume --reason TEXT", label)
                                                        : fmt::format("export its successor: kmtool rotate {}", name_of(kek))));
  }
}

/// `a kek of type aes-256, or a transport key of type ec-p521`
std::string what_carries(int strength) {
  const auto able = [strength](Role role) {
    std::vector<std::string> names;
    for (const KeyType type : types_of(role)) {
      if (strength_of(type) >= strength) names.emplace_back(to_text(type));
    }
    return join(names, " or ");
  };
  const std::string keks = able(Role::kek), transports = able(Role::transport);
  std::string text;
  if (!keks.empty()) text = "a parent kek of type " + keks;
  if (!transports.empty()) text += (text.empty() ? "" : ", or ") + std::string("a transport key of type ") + transports;
  return text;
}

void judge_carrier(const KeyFacts& to, const KeyFacts& kek, UnixTime now, std::vector<Violation>& found) {
  const std::string kind = to.role == Role::kek ? "kek " : "";
  judge_floor("G-KEK", kind + described(to), to.strength, now, found);
  if (carries(to.strength, kek.strength)) return;
  found.push_back({.rule = "G-KEK",
                   .severity = Severity::high,
                   .what = fmt::format("{}{} is weaker than kek {}", kind, described(to), described(kek)),
                   .hint = fmt::format("what can carry it: {}; or --waive G-KEK=REASON", what_carries(kek.strength)),
                   .waivable = true});
}

}  // namespace

std::vector<Violation> judge_export(const Policy& policy, const KeyFacts& to, const KeyFacts& kek, UnixTime now, bool at_birth) {
  static_cast<void>(policy);
  std::vector<Violation> found;
  judge_leaving(kek, at_birth, found);
  if (to.role != Role::kek && to.role != Role::transport) {
    found.push_back(never("G-SEALED", fmt::format("{} has role {}: a kek goes to a parent kek or to a transport key", printable(to.label), to_text(to.role)),
                          "kmtool list --role kek shows the keks", Severity::critical));
  } else if (to.role == Role::kek) {
    judge_kek_state(to, now, found);
  } else if (!may_protect(to.state)) {
    found.push_back(never("G-WORK", fmt::format("{} is {}: nothing new is wrapped to it", printable(to.label), to_text(to.state)),
                          "ask the receiving site for the request of an active transport key"));
  } else if (to.originator_end && now >= *to.originator_end) {
    found.push_back(never("G-WORK", fmt::format("the period of {} ended on {}: nothing new is wrapped to it", printable(to.label), rfc3339(*to.originator_end)),
                          "ask the receiving site for the request of a new transport key"));
  }
  judge_carrier(to, kek, now, found);
  judge_floor("G-GEN", "kek " + described(kek), kek.strength, now, found);
  return found;
}

std::vector<Violation> judge_import(const Policy& policy, const KeyFacts& opener, const KeyFacts& kek) {
  std::vector<Violation> found;
  const std::string label = printable(opener.label);
  if (opener.role != Role::kek && opener.role != Role::transport) {
    found.push_back(never("G-SEALED", fmt::format("{} has role {}: a kek is opened by a parent kek or a transport key", label, to_text(opener.role)),
                          "kmtool list --role transport", Severity::critical));
  }
  if (!may_process(opener.state)) {
    found.push_back(never("G-WORK", fmt::format("{} is {}: it does not unwrap", label, to_text(opener.state)),
                          opener.state == State::destroyed ? "have the kek exported to another key of this token"
                                                           : how_to_process(label, opener.state)));
  } else if (opener.state == State::compromised) {
    found.push_back(reported("G-WORK", fmt::format("{} is compromised: whoever has it may have this kek too", label), "rotate the kek: kmtool rotate NAME --rewrap-all"));
  }
  const int minimum = minimum_of(policy, Role::kek);
  if (kek.strength < minimum) {
    found.push_back({.rule = "G-GEN",
                     .severity = Severity::high,
                     .what = fmt::format("kek {} is weaker than policy's minimum of {} bits for role kek", described(kek), minimum),
                     .hint = "import a stronger one, or --waive G-GEN=REASON",
                     .waivable = true});
  }
  if (!carries(opener.strength, kek.strength)) {
    found.push_back(reported("G-KEK", fmt::format("{} is weaker than kek {}", described(opener), described(kek)),
                             "it arrives with the protection of the weaker key: rotate it"));
  }
  return found;
}

}  // namespace kmtool::policy
