#include "kmtool/apikey/decision.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "kmtool/core/text.hpp"

namespace kmtool::apikey {

namespace {

struct RuleWords {
  std::string_view word, reason;
};
constexpr std::array<RuleWords, rule_count> words{{
    {"none", "allowed"},
    {"missing", "no key was given"},
    {"format", "this does not have the form of a key"},
    {"checksum", "the check at the key's end is wrong: it was mistyped or cut"},
    {"unknown", "no key has this id"},
    {"secret", "this is not the key of this id"},
    {"revoked", "the key was revoked"},
    {"replaced", "the key was rotated, and the overlap is over"},
    {"not-before", "the key is not valid yet"},
    {"expired", "the key has expired"},
    {"ip", "the client's address is not one the key is for"},
    {"referrer", "the referrer is not one the key is for"},
    {"android", "the Android app is not one the key is for"},
    {"ios", "the iOS app is not one the key is for"},
    {"scope", "the key does not have the scope"},
    {"window", "it is outside the key's hours"},
    {"rate", "the key's rate limit is reached"},
}};

using Says = RuleVerdict::Says;

/// One rule over an authenticated key. The text for people is only made where somebody wants it.
class Judge {
 public:
  Judge(const KeyEntry& key, const Request& request, std::string* detail) : key_(key), is_(*key.restrictions), request_(request), detail_(detail) {}

  Says revoked() const { return says(!key_.revoked, [&] { return key_.revoked ? "it was revoked" : "it is in use"; }); }
  Says replaced() const {
    if (!key_.until) return Says::not_restricted;
    return says(request_.ends_by() < *key_.until, [&] { return "it was rotated; the overlap ends at " + rfc3339(*key_.until) + behind(); });
  }
  Says not_before() const {
    if (!key_.not_before) return Says::not_restricted;
    return says(request_.time >= *key_.not_before, [&] { return "valid from " + rfc3339(*key_.not_before); });
  }
  Says expired() const {
    if (!key_.expires) return Says::not_restricted;
    return says(request_.ends_by() < *key_.expires, [&] { return "valid until " + rfc3339(*key_.expires) + behind(); });
  }

  Says ip() const {
    if (is_.ip.empty()) return Says::not_restricted;
    const auto& client = request_.client;
    const auto in = [&](const Network& network) { return network.contains(*client); };
    return says(client && std::any_of(is_.ip.begin(), is_.ip.end(), in), [&] {
      return "wanted " + list(is_.ip) + "; " + (client ? "given " + client->text() : given(request_.client_text, "no address"));
    });
  }

  Says referrer() const {
    if (is_.referrer.empty()) return Says::not_restricted;
    std::string why;
    const auto url = Url::parse(request_.referrer, detail_ == nullptr ? nullptr : &why);
    const auto fits = [&](const ReferrerPattern& pattern) { return pattern.matches(*url); };
    return says(url && std::any_of(is_.referrer.begin(), is_.referrer.end(), fits), [&] {
      return "wanted " + list(is_.referrer) + "; " + given(request_.referrer, "no referrer") + (url || request_.referrer.empty() ? "" : ", and " + why);
    });
  }

  Says android() const {
    if (is_.android.empty()) return Says::not_restricted;
    const auto certificate = canonical_certificate(request_.android_certificate);
    const auto fits = [&](const AndroidApp& app) { return app.package == request_.android_package && certificate && app.certificate == *certificate; };
    return says(std::any_of(is_.android.begin(), is_.android.end(), fits), [&] {
      std::vector<std::string> wanted;
      for (const auto& app : is_.android) wanted.push_back(app.package + " signed by " + app.certificate.substr(0, 16) + "…");
      return "wanted " + join(wanted, " or ") + "; " + given(request_.android_package, "no package") + ", " +
             (certificate ? "signed by " + certificate->substr(0, 16) + "…" : request_.android_certificate.empty() ? "no certificate" : "and a certificate digest that is no SHA-256");
    });
  }

  Says ios() const {
    if (is_.ios.empty()) return Says::not_restricted;
    const bool fits = std::find(is_.ios.begin(), is_.ios.end(), request_.ios_bundle) != is_.ios.end();
    return says(fits, [&] { return "wanted " + join(is_.ios, " or ") + "; " + given(request_.ios_bundle, "no bundle id"); });
  }

  Says scope() const {
    if (is_.scopes.empty()) return Says::not_restricted;
    const auto has = [&](std::string_view scope) { return std::find(is_.scopes.begin(), is_.scopes.end(), scope) != is_.scopes.end(); };
    const bool all = !request_.scopes.empty() && std::all_of(request_.scopes.begin(), request_.scopes.end(), has);
    return says(all, [&] {
      std::vector<std::string> asked;
      for (const auto& scope : request_.scopes) asked.push_back(printable(scope));
      return "the key has " + join(is_.scopes, ", ") + "; " + (asked.empty() ? "no scope was asked for" : "asked for " + join(asked, ", "));
    });
  }

  Says window() const {
    if (is_.windows.empty()) return Says::not_restricted;
    const auto in = [&](const TimeWindow& window) { return window.contains(request_.time); };
    return says(std::any_of(is_.windows.begin(), is_.windows.end(), in), [&] { return "open " + list(is_.windows) + "; it is " + rfc3339(request_.time); });
  }

 private:
  [[nodiscard]] std::string behind() const {
    return request_.clock_behind() == 0 ? "" : "; the clock says " + rfc3339(request_.time) + ", but it has been " + rfc3339(request_.latest);
  }
  template <class F>
  Says says(bool holds, F&& text) const {
    if (detail_ != nullptr) *detail_ = text();
    return holds ? Says::holds : Says::fails;
  }
  static std::string given(std::string_view text, const char* none) { return text.empty() ? std::string(none) + " was given" : "given " + printable(text); }
  template <class T>
  static std::string list(const std::vector<T>& entries) {
    std::vector<std::string> texts;
    texts.reserve(entries.size());
    for (const auto& entry : entries) texts.push_back(entry.text());
    return join(texts, " or ");
  }

  const KeyEntry& key_;
  const Restrictions& is_;
  const Request& request_;
  std::string* detail_;
};

struct Step {
  Rule rule;
  Says (Judge::*judge)() const;
};
constexpr std::array<Step, 11> steps{{{Rule::revoked, &Judge::revoked},
                                      {Rule::replaced, &Judge::replaced},
                                      {Rule::not_before, &Judge::not_before},
                                      {Rule::expired, &Judge::expired},
                                      {Rule::ip, &Judge::ip},
                                      {Rule::referrer, &Judge::referrer},
                                      {Rule::android, &Judge::android},
                                      {Rule::ios, &Judge::ios},
                                      {Rule::scope, &Judge::scope},
                                      {Rule::window, &Judge::window},
                                      {Rule::rate, nullptr}}};

/// Whose key is it? The verdict's rule is none where that is proven.
Verdict authenticate(const KeyTable& table, std::string_view key) {
  Verdict verdict;
  if (key.empty()) return verdict;
  const auto parts = parse_form(key);
  verdict.rule = Rule::format;
  if (parts.form != KeyParts::Form::ok) return verdict;
  const auto found = table.find(parts.number);
  const bool same = same_digest(found.entry->digest, digest_of(key));
  // One look at both: as two branches they would tell the one case from the other.
  const volatile unsigned proven = static_cast<unsigned>(found.known) & static_cast<unsigned>(same);
  if (proven != 0) {
    verdict.rule = Rule::none;
    verdict.key = found.entry;
    verdict.index = found.index;
    return verdict;
  }
  // A key that was issued has its check; of the others only those are told to be unknown or wrong that have theirs.
  verdict.rule = Rule::checksum;
  if (!check_holds(key)) return verdict;
  // Whatever is read of the entry is read for both, and no branch depends on which it is.
  const auto known = static_cast<unsigned>(found.known);
  static_assert(static_cast<int>(Rule::secret) == static_cast<int>(Rule::unknown) + 1);
  verdict.rule = static_cast<Rule>(static_cast<unsigned>(Rule::unknown) + known);
  verdict.named_id = std::string_view(found.entry->id.data(), id_length * known);
  return verdict;
}

RateGate::Answer ask(const Verdict& verdict, const Request& request, RateGate* gate, bool only_look) {
  if (!verdict.key->restrictions->rate || gate == nullptr) return {};
  return gate->ask(*verdict.key, verdict.index, request.microseconds, only_look);
}

void deny(Verdict& verdict, Rule rule) {
  if (verdict.rule == Rule::none) verdict.rule = rule;
}

/// format, checksum, unknown and secret, up to the one that failed.
void explain_authentication(Explanation& out) {
  static constexpr std::array<std::pair<Rule, const char*>, 5> proofs{{{Rule::missing, "a key was given"},
                                                                       {Rule::format, "it has the form of a key"},
                                                                       {Rule::checksum, "its check is right"},
                                                                       {Rule::unknown, "its id is known"},
                                                                       {Rule::secret, "it is the key of this id"}}};
  for (const auto& [rule, good] : proofs) {
    const Rule failed = out.verdict.rule;
    const Says says = failed == Rule::none || rule < failed ? Says::holds : rule == failed ? Says::fails : Says::not_reached;
    out.rules.push_back({says, rule, false, says == Says::holds ? good : says == Says::fails ? std::string(words[static_cast<std::size_t>(rule)].reason) : ""});
  }
}

}  // namespace

std::string_view to_text(Rule rule) { return words[static_cast<std::size_t>(rule)].word; }

std::optional<Rule> rule_from(std::string_view text) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i].word == text) return static_cast<Rule>(i);
  }
  return std::nullopt;
}

bool is_advisory(Rule rule) { return rule == Rule::referrer || rule == Rule::android || rule == Rule::ios; }
bool is_unauthenticated(Rule rule) { return rule != Rule::none && rule <= Rule::secret; }

std::string_view to_text(RuleVerdict::Says says) {
  switch (says) {
    case Says::holds:
      return "holds";
    case Says::fails:
      return "fails";
    case Says::not_restricted:
      return "not restricted";
    case Says::not_checked:
      return "not checked";
    case Says::not_reached:
      break;
  }
  return "not reached";
}

std::string Verdict::reason() const { return std::string(words[static_cast<std::size_t>(rule)].reason); }

Verdict decide(const KeyTable& table, std::string_view key, const Request& request, RateGate* gate) {
  Verdict verdict = authenticate(table, key);
  if (verdict.key == nullptr) return verdict;
  const Judge judge(*verdict.key, request, nullptr);
  for (const auto& step : steps) {
    if (step.judge == nullptr || (judge.*step.judge)() != Says::fails) continue;
    verdict.rule = step.rule;
    return verdict;
  }
  const auto answer = ask(verdict, request, gate, false);
  verdict.allowed = answer.allowed;
  verdict.retry_after = answer.retry_after;
  if (!answer.allowed) verdict.rule = Rule::rate;
  return verdict;
}

Explanation explain(const KeyTable& table, std::string_view key, const Request& request, RateGate* gate) {
  Explanation out;
  out.verdict = authenticate(table, key);
  explain_authentication(out);
  auto& verdict = out.verdict;
  for (const auto& step : steps) {
    RuleVerdict says{Says::not_reached, step.rule, is_advisory(step.rule), {}};
    if (verdict.key != nullptr && step.judge != nullptr) {
      says.says = (Judge(*verdict.key, request, &says.detail).*step.judge)();
    } else if (verdict.key != nullptr) {
      const auto& rate = verdict.key->restrictions->rate;
      const auto answer = ask(verdict, request, gate, true);
      says.says = !rate ? Says::not_restricted : gate == nullptr ? Says::not_checked : answer.allowed ? Says::holds : Says::fails;
      const std::string more = gate == nullptr ? "; nothing here counts requests" : answer.allowed ? "" : fmt::format("; the next in {} s", answer.retry_after);
      if (rate) says.detail = "at most " + rate->text() + more;
      if (!answer.allowed) verdict.retry_after = answer.retry_after;
    }
    if (says.says == Says::fails) deny(verdict, step.rule);
    out.rules.push_back(std::move(says));
  }
  verdict.allowed = verdict.key != nullptr && verdict.rule == Rule::none;
  return out;
}

}  // namespace kmtool::apikey
