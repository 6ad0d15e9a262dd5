#include "kmtool/policy/judge_api_key.hpp"

namespace kmtool::policy {

std::vector<Violation> judge_api_key(const Policy& policy, const ApiKeyFacts& key) {
  std::vector<Violation> found;
  const std::string name = key.id.empty() ? "an api key for " + key.app : "api key " + key.id + " of " + key.app;
  if (!key.network) {
    Violation open;
    open.rule = "A-RESTRICT";
    open.severity = key.unrestricted ? Severity::low : Severity::medium;
    open.what = name + " can be used from every address";
    open.refuses = !key.unrestricted || !policy.api_keys.allow_unrestricted;
    open.waivable = key.unrestricted;
    open.hint = key.unrestricted ? "name networks with --ip; policy.json forbids keys that are for every address" : "name its networks with --ip, or say --unrestricted";
    if (!key.id.empty()) {
      open.hint = "a key's restrictions stay as they are: kmtool apikey create --app " + key.app + " --ip CIDR, with an --environment of its own where both shall live for a while, and kmtool apikey revoke " + key.id;
    }
    found.push_back(std::move(open));
  }
  const auto most = policy.api_keys.longest_life;
  if (most > 0 && (!key.expires || *key.expires - key.created > most)) {
    Violation old;
    old.rule = "A-RESTRICT";
    old.severity = Severity::medium;
    old.what = name + (key.expires ? " lives longer than policy allows" : " never expires");
    old.waivable = true;
    old.hint = "say --expires with at most what policy.json has as longest_life";
    found.push_back(std::move(old));
  }
  return found;
}

}  // namespace kmtool::policy
