#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "kmtool/core/error.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/policy/policy.hpp"

namespace kmtool::policy {
namespace {

constexpr std::array<std::string_view, 2> standards = {"FIPS 140-2", "FIPS 140-3"};

/// 1, 2…; 0 for what is none.
int rank_of(std::string_view standard) {
  for (std::size_t i = 0; i < standards.size(); ++i) {
    if (standards[i] == standard) return static_cast<int>(i) + 1;
  }
  return 0;
}

bool is_certificate(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
           c == '#';
  });
}

void judge_hardware(const Policy& policy, const TokenFacts& token, std::vector<Violation>& found) {
  if (token.hardware) return;
  if (policy.require_hardware) {
    found.push_back({.rule = "G-HW",
                     .severity = Severity::high,
                     .what = "policy requires a hardware module, and this token is software",
                     .hint = "use a hardware token, or --waive G-HW=REASON",
                     .waivable = true});
  } else {
    found.push_back({.rule = "G-HW",
                     .severity = Severity::low,
                     .what = "this token is software",
                     .hint = "prefer a hardware token; policy's require_hardware refuses software",
                     .refuses = false});
  }
}

/// What policy demands, in words; empty when nothing.
std::string demand_of(const Policy& policy) {
  if (policy.min_validation.empty() && policy.min_validation_level <= 0) return {};
  std::string text = policy.min_validation.empty() ? "a FIPS 140 validation" : policy.min_validation;
  if (policy.min_validation_level > 0) text += fmt::format(" at level {} or higher", policy.min_validation_level);
  return text;
}

void judge_no_validation(const std::string& demand, std::vector<Violation>& found) {
  if (demand.empty()) {
    found.push_back({.rule = "G-GEN",
                     .severity = Severity::medium,
                     .what = "no FIPS 140 validation of this token is recorded",
                     .hint = "record it with init --validation 'FIPS 140-3:LEVEL:CERTIFICATE', or in a home that is there already as validation in its config.json",
                     .refuses = false});
    return;
  }
  found.push_back({.rule = "G-GEN",
                   .severity = Severity::high,
                   .what = fmt::format("policy demands {}, and no validation of this token is recorded", demand),
                   .hint = "record it with init --validation 'FIPS 140-3:LEVEL:CERTIFICATE', in a home that is there already as validation in its config.json, or --waive G-GEN=REASON",
                   .waivable = true});
}

void judge_validation(const Policy& policy, const Validation& validation, std::vector<Violation>& found) {
  const std::string text = printable(validation.text()), certificate = printable(validation.certificate);
  const bool old = rank_of(validation.standard) < rank_of(policy.min_validation);
  if (old) {
    found.push_back({.rule = "G-GEN",
                     .severity = Severity::high,
                     .what = fmt::format("policy demands {}, and this token's validation is {}", demand_of(policy), text),
                     .hint = fmt::format("--waive 'G-GEN=REASON', where the reason names the certificate {}", certificate),
                     .waivable = true,
                     .waiver_names = validation.certificate});
  } else if (validation.standard == standards[0]) {
    found.push_back({.rule = "G-GEN",
                     .severity = Severity::low,
                     .what = fmt::format("{}: FIPS 140-2 certificates are historical since 2026-09-21", text),
                     .hint = "plan for a module with a FIPS 140-3 certificate",
                     .refuses = false});
  }
  if (validation.level < policy.min_validation_level) {
    found.push_back(
        {.rule = "G-GEN",
         .severity = Severity::high,
         .what = fmt::format("policy demands {}, and this token's validation is {} at level {}", demand_of(policy),
                             printable(validation.standard), validation.level),
         .hint = fmt::format("use a module validated at level {}, or --waive G-GEN=REASON", policy.min_validation_level),
         .waivable = true});
  }
}

}  // namespace

std::string Validation::text() const { return fmt::format("{}:{}:{}", standard, level, certificate); }

Validation Validation::parse(const std::string& text) {
  const auto parts = split(text, ':');
  Validation validation;
  const bool good = parts.size() == 3 && rank_of(parts[0]) != 0 && parts[1].size() == 1 && parts[1][0] >= '1' &&
                    parts[1][0] <= '4' && is_certificate(parts[2]);
  if (!good) {
    throw Error::usage(
        fmt::format("not a validation: \"{}\"", printable(text.substr(0, 200))),
        "expected STANDARD:LEVEL:CERTIFICATE such as 'FIPS 140-3:3:CMVP-4567': FIPS 140-2 or FIPS 140-3, level 1 to 4");
  }
  return {.standard = parts[0], .level = parts[1][0] - '0', .certificate = parts[2]};
}

std::vector<Violation> judge_token(const Policy& policy, const TokenFacts& token) {
  std::vector<Violation> found;
  judge_hardware(policy, token, found);
  if (token.validation) {
    judge_validation(policy, *token.validation, found);
  } else {
    judge_no_validation(demand_of(policy), found);
  }
  return found;
}

}  // namespace kmtool::policy
