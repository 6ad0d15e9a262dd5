// Every kind of restriction, as an operator writes it and as a snapshot has it, and the requests that are held against them.
#include "kmtool/apikey/decision.hpp"
#include "target.hpp"

using namespace kmtool;
using namespace kmtool::apikey;

namespace {

/// What was accepted has one spelling, which says the same.
template <class T>
void spelled_once(std::string_view text) {
  fuzz::expect_refusal([&] {
    const auto parsed = T::parse(text);
    const auto again = T::parse(parsed.text());
    fuzz::require(again.text() == parsed.text());
  });
}

void addresses(std::string_view text) {
  const auto address = Address::parse(text);
  if (address) fuzz::require(Address::parse(address->text()) == address);
  spelled_once<Network>(text);
  fuzz::expect_refusal([&] {
    const auto network = Network::parse(text);
    fuzz::require(network.contains(network.base) && !cover_most({network}));
    if (address) fuzz::require(network.contains(*address));  // an address is also a network: itself
  });
}

void referrers(std::string_view text) {
  std::string why;
  const auto url = Url::parse(text, &why);
  fuzz::require(url.has_value() == Url::parse(text).has_value() && (url || !why.empty()));
  spelled_once<ReferrerPattern>(text);
  fuzz::expect_refusal([&] {
    const auto pattern = ReferrerPattern::parse(text);
    const auto subdomain = Url::parse("https://a.example.com/"), apex = Url::parse("https://example.com/");
    // A pattern with *. that covers a name below a domain does not cover the domain itself.
    if (text == "*.example.com") fuzz::require(pattern.matches(*subdomain) && !pattern.matches(*apex));
    if (url) (void)pattern.matches(*url);
  });
  if (const auto host = canonical_host(text)) fuzz::require(canonical_host(*host) == host);
}

void others(std::string_view text) {
  spelled_once<TimeWindow>(text);
  spelled_once<Rate>(text);
  if (const auto certificate = canonical_certificate(text)) fuzz::require(certificate->size() == 64 && canonical_certificate(*certificate) == certificate);
  fuzz::expect_refusal([&] {
    const auto app = AndroidApp::parse(text);
    fuzz::require(is_android_package(app.package) && app == AndroidApp::parse(app.package + "=" + app.certificate));
  });
  (void)is_ios_bundle(text);
  (void)is_scope(text);
}

/// JSON: the fast reader takes what the strict one takes, where it takes it at all.
void stored(std::string_view text) {
  const auto fast = Restrictions::from_canonical(text);
  fuzz::expect_refusal([&] {
    const JsonFail fail = [](const std::string& what) { throw Error::tampered(what); };
    const auto json = parse_json(text, fail);
    const auto strict = Restrictions::from_json(json, fail);
    if (fast) fuzz::require(*fast == strict);
    if (const auto again = Restrictions::from_canonical(dump_json(strict.to_json()))) fuzz::require(*again == strict);
    (void)strict.network();
    (void)strict.summary();
  });
  if (fast) fuzz::require(dump_json(fast->to_json()) == text);
}

/// A request made of hostile text: decided and explained alike.
void decided(std::string_view text) {
  static const auto key = [] {
    const auto made = make_key("kmt", "7f3k9q2x4b", SecretBytes{ByteView(Bytes(32, 7))});
    return to_text(made.reveal());
  }();
  static const KeyTable table = [] {
    Restrictions restrictions;
    restrictions.ip = {Network::parse("10.0.0.0/8"), Network::parse("2001:db8::/32")};
    restrictions.referrer = {ReferrerPattern::parse("*.example.com"), ReferrerPattern::parse("https://example.com/app/*")};
    restrictions.scopes = {"read"};
    restrictions.windows = {TimeWindow::parse("mon-fri 08:00-18:00")};
    KeyEntry entry;
    entry.id = "7f3k9q2x4b";
    entry.app = entry.environment = "shop";
    entry.digest = digest_of(key);
    entry.restrictions = std::move(restrictions);
    return KeyTable({entry});
  }();
  const auto line = text.find('\n');
  Request request;
  request.set_client(text.substr(0, line));
  request.referrer = line == std::string_view::npos ? text : text.substr(line + 1);
  request.android_package = request.ios_bundle = request.android_certificate = text;
  request.scopes = {"read"};
  request.time = 1800000000;
  const auto verdict = decide(table, key, request, nullptr);
  const auto explained = explain(table, key, request, nullptr);
  fuzz::require(verdict.rule == explained.verdict.rule && verdict.allowed == explained.verdict.allowed);
  for (const auto& rule : explained.rules) fuzz::require(fuzz::visible(rule.detail));
  fuzz::require(!decide(table, text, request, nullptr).allowed || text == key);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const auto text = fuzz::text_of(data, size);
  addresses(text);
  referrers(text);
  others(text);
  stored(text);
  decided(text);
  return 0;
}
