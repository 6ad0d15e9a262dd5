#include <fmt/format.h>

#include <algorithm>

#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/policy/policy.hpp"
#include "policy/judging.hpp"
#include "policy/tools.hpp"

namespace kmtool::policy {
namespace {

/// SP 800-57 part 1 r5 and SP 800-131A: nothing under 112 bits; 112 until the end of 2030.
constexpr int least_strength = 112, lasting_strength = 128;
constexpr UnixTime end_of_2030 = 1924992000;  // 2031-01-01T00:00:00Z

void require_kek(const KeyFacts& kek, const char* does, std::vector<Violation>& found) {
  if (kek.role == Role::kek) return;
  found.push_back(never("G-SEALED",
                        fmt::format("{} has role {}: only a kek {} keys", printable(kek.label), to_text(kek.role), does),
                        "name a kek: kmtool list --role kek", Severity::critical));
}

void judge_carried(const KeyFacts& key, UnixTime now, std::vector<Violation>& found) {
  if (key.role == Role::kek) {
    found.push_back(never("G-SEALED", fmt::format("{} is a kek: keks are not wrapped among other keys", printable(key.label)),
                          fmt::format("kmtool export-kek {}", printable(key.label))));
  }
  if (key.state == State::compromised || key.state == State::destroyed) {
    found.push_back(never("G-WORK", fmt::format("{} is {}: it is not wrapped", printable(key.label), to_text(key.state)),
                          fmt::format("wrap its successor: kmtool rotate {}", name_of(key))));
  }
  if (key.strength < lasting_strength) judge_floor("G-GEN", described(key), key.strength, now, found);
}

/// The types of KEK that can carry `strength`; empty when none can.
std::string carriers(int strength) {
  std::vector<std::string> names;
  for (const KeyType type : types_of(Role::kek)) {
    if (strength_of(type) >= strength) names.emplace_back(to_text(type));
  }
  return join(names, " or ");
}

void judge_strengths(const KeyFacts& kek, const KeyFacts& key, UnixTime now, std::vector<Violation>& found) {
  if (kek.strength < lasting_strength) judge_floor("G-KEK", "kek " + described(kek), kek.strength, now, found);
  if (carries(kek.strength, key.strength)) return;
  const std::string able = carriers(key.strength);
  found.push_back(
      {.rule = "G-KEK",
       .severity = Severity::high,
       .what = fmt::format("kek {} is weaker than {}", described(kek), described(key)),
       .hint = (able.empty() ? std::string("no type of kek is as strong: ") : fmt::format("use a kek of type {}, or ", able)) +
               "--waive G-KEK=REASON",
       .waivable = true});
}

}  // namespace

std::string described(const KeyFacts& key) {
  return fmt::format("{} ({}, {} bits)", printable(key.label), to_text(key.type), key.strength);
}

std::string name_of(const KeyFacts& key) { return printable(name_in(key.label)); }

Violation never(const char* rule, std::string what, std::string hint, Severity severity) {
  return {.rule = rule, .severity = severity, .what = std::move(what), .hint = std::move(hint)};
}

Violation reported(const char* rule, std::string what, std::string hint) {
  return {.rule = rule, .severity = Severity::medium, .what = std::move(what), .hint = std::move(hint), .refuses = false};
}

void judge_floor(const char* rule, const std::string& what, int strength, UnixTime now, std::vector<Violation>& found) {
  if (strength >= lasting_strength) return;
  if (strength < least_strength) {
    found.push_back(never(rule, what + ": nothing under 112 bits is accepted", "replace it with a key of at least 128 bits",
                          Severity::critical));
  } else if (now < end_of_2030) {
    found.push_back(
        reported(rule, what + ": under 128 bits are accepted until the end of 2030 only", "rotate it to at least 128 bits"));
  } else {
    Violation ended = never(rule, what + ": under 128 bits were accepted until the end of 2030 only",
                            fmt::format("rotate it to at least 128 bits, or --waive {}=REASON", rule));
    ended.waivable = true;
    found.push_back(ended);
  }
}

void judge_kek_state(const KeyFacts& kek, UnixTime now, std::vector<Violation>& found) {
  const std::string label = printable(kek.label);
  const std::string rotate = fmt::format("use another kek, or kmtool rotate {}", name_of(kek));
  if (kek.state == State::pre_activation || kek.state == State::suspended) {
    found.push_back(
        never("G-WORK", fmt::format("kek {} is {}: it neither wraps nor unwraps", label, to_text(kek.state)),
              fmt::format("kmtool state {} {} --reason TEXT", label, kek.state == State::suspended ? "resume" : "activate")));
  } else if (kek.state == State::destroyed) {
    found.push_back(never("G-WORK", fmt::format("kek {} is destroyed", label), "use another kek"));
  } else if (!may_protect(kek.state)) {
    found.push_back(never(
        "G-WORK", fmt::format("kek {} is {}: a {} kek only unwraps", label, to_text(kek.state), to_text(kek.state)), rotate));
  } else if (kek.originator_end && now >= *kek.originator_end) {
    found.push_back(
        never("G-WORK",
              fmt::format("the originator period of kek {} ended on {}: it only unwraps", label, rfc3339(*kek.originator_end)),
              rotate));
  }
}

std::vector<Violation> judge_strength_floor(const char* rule, const std::string& what, int strength, UnixTime now) {
  std::vector<Violation> found;
  judge_floor(rule, what, strength, now, found);
  return found;
}

bool carries(int kek_strength, int key_strength) { return kek_strength >= key_strength; }

int minimum_of(const Policy& policy, Role role) {
  const auto found = policy.minimum_strength.find(role);
  return std::max(least_strength, found != policy.minimum_strength.end() ? found->second : lasting_strength);
}

std::vector<Violation> judge_key(const Policy& policy, Role role, KeyType type, bool exportable, bool backup) {
  std::vector<Violation> found;
  const auto& types = types_of(role);
  if (std::find(types.begin(), types.end(), type) == types.end()) {
    found.push_back(never("G-SEALED", fmt::format("type {} is not one of role {}", to_text(type), to_text(role)),
                          "one key, one use: see the roles and types in kmtool gen --help"));
  }
  const int strength = strength_of(type), minimum = minimum_of(policy, role);
  if (strength < least_strength) {
    found.push_back(never("G-GEN", fmt::format("{} has {} bits: nothing under 112 bits is accepted", to_text(type), strength),
                          "choose a stronger type", Severity::critical));
  } else if (strength < minimum) {
    found.push_back({.rule = "G-GEN",
                     .severity = Severity::high,
                     .what = fmt::format("{} ({} bits) is weaker than policy's minimum of {} bits for role {}", to_text(type),
                                         strength, minimum, to_text(role)),
                     .hint = "choose a stronger type, or --waive G-GEN=REASON",
                     .waivable = true});
  }
  if (role == Role::sign && (exportable || backup)) {
    found.push_back(
        {.rule = "G-SEALED",
         .severity = Severity::high,
         .what = fmt::format("a private signature key is not {}: SP 800-57 part 1 discourages its backup and disallows "
                             "its archiving",
                             backup ? "backed up" : "made exportable"),
         .hint = "make a new one when this one is lost, or --waive G-SEALED=REASON",
         .waivable = true});
  }
  return found;
}

std::vector<Violation> judge_backup(const Policy& policy, const KeyFacts& kek, const KeyFacts& key, UnixTime now) {
  static_cast<void>(policy);  // what policy says about a key is judge_key's; here nothing is a matter of policy
  std::vector<Violation> found;
  require_kek(kek, "wraps", found);
  judge_carried(key, now, found);
  judge_kek_state(kek, now, found);
  judge_strengths(kek, key, now, found);
  return found;
}

std::vector<Violation> judge_wrap(const Policy& policy, const KeyFacts& kek, const KeyFacts& key, UnixTime now) {
  std::vector<Violation> found = judge_backup(policy, kek, key, now);
  if (!key.exportable && key.role != Role::kek) {
    found.insert(
        found.begin(),
        never("G-SEALED", fmt::format("{} is not exportable: it never leaves the token", printable(key.label)),
              "a key that needs a backup is made with gen --exportable, or backed up at birth with gen --backup FILE --kek KEK"));
  }
  return found;
}

std::vector<Violation> judge_unwrap(const Policy& policy, const KeyFacts& kek, const KeyFacts& key, UnixTime now) {
  std::vector<Violation> found;
  const std::string label = printable(kek.label);
  require_kek(kek, "unwraps", found);
  if (kek.state == State::destroyed) {
    found.push_back(never("G-WORK", fmt::format("kek {} is destroyed", label), "restore it with kmtool import-kek"));
  } else if (!may_process(kek.state)) {
    found.push_back(
        never("G-WORK", fmt::format("kek {} is {}: it neither wraps nor unwraps", label, to_text(kek.state)),
              how_to_process(label, kek.state)));
  } else if (kek.originator_end && now >= *kek.originator_end + period_of(policy, Role::kek).recipient) {
    found.push_back(reported("G-WORK", fmt::format("the recipient period of kek {} is over as well", label),
                             fmt::format("move what it carries to a new kek: kmtool rotate {} --rewrap-all", name_of(kek))));
  }
  if (key.strength < least_strength) judge_floor("G-GEN", described(key), key.strength, now, found);
  if (!carries(kek.strength, key.strength)) {
    found.push_back(reported("G-KEK", fmt::format("kek {} is weaker than {}", described(kek), described(key)),
                             "it arrives with the protection of the weaker key: rotate it"));
  }
  return found;
}

}  // namespace kmtool::policy
