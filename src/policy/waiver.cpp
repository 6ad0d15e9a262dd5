#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "kmtool/core/error.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/policy/policy.hpp"

namespace kmtool::policy {
namespace {

constexpr std::size_t max_reason = 500;

/// Rules that have an exception at all. The others say what the program cannot do: there is nothing to waive.
constexpr std::array<std::string_view, 6> waivable_rules = {"G-GEN", "G-HW", "G-KEK", "G-SEALED", "A-RESTRICT", "A-UNIQUE"};

std::vector<std::string> ids() {
  std::vector<std::string> all;
  for (const auto& rule : rules()) all.push_back(rule.id);
  return all;
}

bool is_blank(std::string_view text) { return text.find_first_not_of(' ') == std::string_view::npos; }

bool is_word_char(char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

/// `CMVP-45` is not named by a text about CMVP-4567.
bool names(std::string_view reason, std::string_view what) {
  for (auto at = reason.find(what); at != std::string_view::npos; at = reason.find(what, at + 1)) {
    const bool begins = at == 0 || !is_word_char(reason[at - 1]);
    const auto end = at + what.size();
    if (begins && (end == reason.size() || !is_word_char(reason[end]))) return true;
  }
  return false;
}

bool can_be_waived(const std::string& rule, const std::vector<Violation>& violations) {
  return std::find(waivable_rules.begin(), waivable_rules.end(), rule) != waivable_rules.end() ||
         std::any_of(violations.begin(), violations.end(),
                     [&](const Violation& violation) { return violation.rule == rule && violation.waivable; });
}

/// The waiver that lets this violation pass; refuses where there is none.
const Waiver& waiver_for(const Violation& violation, const std::vector<Waiver>& waivers) {
  const auto same_rule = [&](const Waiver& waiver) { return waiver.rule == violation.rule; };
  const auto given = std::find_if(waivers.begin(), waivers.end(), same_rule);
  if (given == waivers.end()) throw Error::refused(violation.rule, violation.what, violation.hint);
  if (!violation.waivable) {
    throw Error::refused(violation.rule, violation.what + ": this cannot be waived", violation.hint);
  }
  if (violation.waiver_names.empty()) return *given;
  const auto naming = std::find_if(given, waivers.end(), [&](const Waiver& waiver) {
    return same_rule(waiver) && names(waiver.reason, violation.waiver_names);
  });
  if (naming == waivers.end()) {
    throw Error::refused(
        violation.rule,
        fmt::format("{}: the waiver's reason does not name {}", violation.what, printable(violation.waiver_names)),
        violation.hint);
  }
  return *naming;
}

}  // namespace

Waiver Waiver::parse(const std::string& text) {
  const auto at = text.find('=');
  if (at == std::string::npos) throw Error::usage("a waiver without a reason", "expected --waive RULE=REASON");
  Waiver waiver{.rule = text.substr(0, at), .reason = text.substr(at + 1)};
  if (!is_rule(waiver.rule)) {
    const std::string near = nearest(waiver.rule, ids());
    throw Error::usage(fmt::format("unknown rule \"{}\"", printable(waiver.rule.substr(0, 64))),
                       near.empty() ? "kmtool audit guidance lists the rules" : fmt::format("did you mean {}", near));
  }
  if (is_blank(waiver.reason))
    throw Error::usage("a waiver without a reason", fmt::format("expected --waive {}=REASON", waiver.rule));
  if (waiver.reason.size() > max_reason) throw Error::usage("the reason of a waiver is longer than 500 bytes", "say it shorter");
  if (printable(waiver.reason) != waiver.reason) {
    throw Error::usage("the reason of a waiver has characters that cannot be shown", "write it as plain text");
  }
  return waiver;
}

std::vector<Waiver> enforce(const Policy& policy, const std::vector<Violation>& violations, const std::vector<Waiver>& waivers) {
  for (const auto& waiver : waivers) {
    if (policy.forbidden_waivers.contains(waiver.rule)) {
      throw Error::refused(waiver.rule, fmt::format("policy forbids waiving {}", waiver.rule),
                           "see forbidden_waivers in policy.json");
    }
    if (!can_be_waived(waiver.rule, violations)) {
      throw Error::refused(waiver.rule, fmt::format("{} cannot be waived", waiver.rule), "leave the waiver out");
    }
  }
  std::vector<Waiver> needed;
  for (const auto& violation : violations) {
    if (!violation.refuses) continue;
    const Waiver& waiver = waiver_for(violation, waivers);
    const bool known = std::any_of(needed.begin(), needed.end(), [&](const Waiver& other) {
      return other.rule == waiver.rule && other.reason == waiver.reason;
    });
    if (!known) needed.push_back(waiver);
  }
  return needed;
}

}  // namespace kmtool::policy
