#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/core/json.hpp"
#include "kmtool/op/context.hpp"
#include "kmtool/pkcs11/survey.hpp"
#include "kmtool/policy/objects.hpp"

namespace kmtool::audit {

/// What `audit keys` found on a token.
struct KeysReport {
  pkcs11::TokenInfo token;
  std::string home;  ///< empty: asked without one
  std::optional<policy::Validation> validation;
  UnixTime time = 0;
  std::vector<policy::ObjectFacts> objects;
  std::vector<policy::Finding> findings;  ///< sorted
  std::optional<pkcs11::Trials> probe;

  [[nodiscard]] std::size_t keys() const;  ///< key objects: secret keys, private and public halves
  /// Unwaived findings of this severity.
  [[nodiscard]] std::size_t count(policy::Severity severity) const;
  /// Is there one of at least this severity that is not waived?
  [[nodiscard]] bool fails(policy::Severity least) const;
};

/// Every object of the home's token, held against catalog and policy. `probe`: the token is tried as well.
KeysReport audit_keys(op::Context& context, bool probe);
/// Any token, without a home: the default policy, and nothing is known of who made what.
KeysReport audit_token(pkcs11::Token& token, bool probe, UnixTime now, const Progress& progress = {});

/// Waivers of the command line hold for this report alone: findings of their rules fail nothing. Throws refused (77) where policy forbids one.
void waive(KeysReport& report, const policy::Policy& policy, const std::vector<policy::Waiver>& waivers);

/// CLI.md's document.
Json keys_json(const KeysReport& report);
/// SARIF 2.1.0: every check is a rule, every finding a result; the path of an attack is its code flow.
Json keys_sarif(const KeysReport& report);
/// One self-contained page: summary, findings, keys, charts of strength and expiry. Everything foreign is escaped.
std::string keys_html(const KeysReport& report);

}  // namespace kmtool::audit
