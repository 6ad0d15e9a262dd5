#pragma once
#include <initializer_list>
#include <string_view>
#include <vector>

#include "kmtool/audit/guidance.hpp"

namespace kmtool::audit {

struct ApiKeyFacts {
  std::string app, environment;
  bool restricted = false, overlapping = false;
};

/// What the lines of the guideline are judged by.
struct GuidanceFacts {
  GuidanceFacts(op::Context& context_in, const KeysReport& report_in);

  op::Context& context;
  const KeysReport& report;
  const pkcs11::Profile& profile;
  std::vector<op::VersionRecord> alive;  ///< versions that are not destroyed
  std::vector<op::BundleRecord> bundles;
  std::vector<ApiKeyFacts> api_keys;  ///< those that work now
  std::size_t stored_keys = 0;

  template <class Test>
  [[nodiscard]] std::size_t count(Test&& test) const {
    std::size_t n = 0;
    for (const auto& object : report.objects) n += object.owner != policy::ObjectFacts::Owner::anchor && test(object) ? 1 : 0;
    return n;
  }
  [[nodiscard]] std::size_t origin(std::string_view origin) const;
  [[nodiscard]] std::size_t role(Role role) const;
  [[nodiscard]] std::size_t extractable() const;
  [[nodiscard]] std::size_t attacks() const;  ///< on keys, high or worse
  [[nodiscard]] std::string token_name() const;
  /// The rule's findings of at least this severity as evidence, and what they make of the verdict: one that is high or critical means
  /// `not met`, another `partly`. Checks that are told in other words already are left out.
  void add_findings(GuidanceLine& line, policy::Severity least, std::initializer_list<std::string_view> said = {}) const;
};

}  // namespace kmtool::audit
