#include "kmtool/apikey/findings.hpp"

#include "kmtool/apikey/registry.hpp"
#include "kmtool/policy/judge_api_key.hpp"

namespace kmtool::apikey {

namespace {

policy::Finding finding_of(const char* check, const ApiKeyRecord& record, const policy::Violation& violation) {
  const auto& what = policy::check_of(check);
  const auto& entry = record.entry;
  policy::Finding found;
  found.rule = what.rule;
  found.check = what.id;
  found.severity = violation.severity;
  found.object = {"api key " + entry.id, entry.id, "api-key"};
  found.evidence = violation.what + " (" + entry.environment + ")";
  found.why = what.why;
  found.fix = what.fix;
  if (const auto at = found.fix.find("{id}"); at != std::string::npos) found.fix.replace(at, 4, entry.id);
  for (const auto& waiver : record.waivers) {
    if (waiver.rule == found.rule) found.waived = waiver.reason;
  }
  return found;
}

}  // namespace

std::vector<policy::Finding> findings(op::Context& context) {
  std::vector<policy::Finding> found;
  for (const auto& record : api_keys(context)) {
    if (!record.alive(context.now())) continue;
    const auto& entry = record.entry;
    const policy::ApiKeyFacts facts{entry.id, entry.app, entry.environment, entry.restrictions->network(), entry.restrictions->unrestricted, entry.created, entry.expires};
    bool open = !facts.network;  // that one comes first
    for (const auto& violation : policy::judge_api_key(context.home.policy, facts)) {
      found.push_back(finding_of(open ? "api-key-unrestricted" : "api-key-long-lived", record, violation));
      open = false;
    }
  }
  return found;
}

}  // namespace kmtool::apikey
