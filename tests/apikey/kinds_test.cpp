// Restrictions besides referrers and addresses, row by row; and every text that must not be accepted as a restriction.
#include <doctest/doctest.h>

#include <functional>
#include <map>

#include "kmtool/apikey/decision.hpp"
#include "kmtool/core/error.hpp"

using namespace kmtool;
using namespace kmtool::apikey;

namespace {

constexpr bool yes = true, no = false;
#define HEX_A "a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0"
#define COLONS_A "A1:A2:A3:A4:A5:A6:A7:A8:A9:AA:AB:AC:AD:AE:AF:B0:B1:B2:B3:B4:B5:B6:B7:B8:B9:BA:BB:BC:BD:BE:BF:C0"
#define BASE64_A "oaKjpKWmp6ipqqusra6vsLGys7S1tre4ubq7vL2+v8A="
#define BASE64URL_A "oaKjpKWmp6ipqqusra6vsLGys7S1tre4ubq7vL2-v8A"
#define HEX_B "00a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0"

struct AppRow {
  const char *restriction, *package, *certificate;
  bool allowed;
};
// clang-format off
const AppRow apps[] = {
    {"com.example.app=" HEX_A,       "com.example.app",  HEX_A,       yes},
    {"com.example.app=" HEX_A,       "com.example.app",  COLONS_A,    yes},
    {"com.example.app=" HEX_A,       "com.example.app",  BASE64_A,    yes},
    {"com.example.app=" HEX_A,       "com.example.app",  BASE64URL_A, yes},
    {"com.example.app=" COLONS_A,    "com.example.app",  HEX_A,       yes},
    {"com.example.app=" BASE64_A,    "com.example.app",  HEX_A,       yes},
    {"com.example.app=" BASE64URL_A, "com.example.app",  COLONS_A,    yes},
    {"com.example.app=" HEX_A,       "com.example.app",  HEX_B,       no},
    {"com.example.app=" HEX_A,       "com.example.App",  HEX_A,       no},
    {"com.example.app=" HEX_A,       "com.example.app2", HEX_A,       no},
    {"com.example.app=" HEX_A,       "com.example",      HEX_A,       no},
    {"com.example.app=" HEX_A,       "com.example.app ", HEX_A,       no},
    {"com.example.app=" HEX_A,       "",                 HEX_A,       no},
    {"com.example.app=" HEX_A,       "com.example.app",  "",          no},
    {"com.example.app=" HEX_A,       "",                 "",          no},
    {"com.example.app=" HEX_A,       "com.example.app",  "a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4", no},
    {"com.example.app=" HEX_A,       "com.example.app",  HEX_A "00",  no},
    {"com.example.app=" HEX_A,       "com.example.app",  " " HEX_A,   no},
};

struct ValueRow {
  const char *restriction, *value;
  bool allowed;
};
const ValueRow bundles[] = {
    {"com.example.App", "com.example.App",  yes},
    {"com.example.App", "com.example.app",  no},
    {"com.example.App", "com.example.App2", no},
    {"com.example.App", "com.example",      no},
    {"com.example.App", "",                 no},
    {"com.example.App", "com.example.App,com.example.Other", no},
};

struct WindowRow {
  const char *window, *time;
  bool open;
};
const WindowRow windows[] = {   // 2026-11-23 is a Monday
    {"mon-fri 08:00-18:00",       "2026-11-23T08:00:00Z", yes},
    {"mon-fri 08:00-18:00",       "2026-11-23T07:59:59Z", no},
    {"mon-fri 08:00-18:00",       "2026-11-27T17:59:59Z", yes},
    {"mon-fri 08:00-18:00",       "2026-11-27T18:00:00Z", no},
    {"mon-fri 08:00-18:00",       "2026-11-28T12:00:00Z", no},
    {"sat,sun 00:00-24:00",       "2026-11-29T23:59:59Z", yes},
    {"sat,sun 00:00-24:00",       "2026-11-30T00:00:00Z", no},
    {"08:00-18:00",               "2026-11-29T12:00:00Z", yes},
    {"mon 08:00-18:00+02:00",     "2026-11-23T06:00:00Z", yes},
    {"mon 08:00-18:00+02:00",     "2026-11-23T16:00:00Z", no},
    {"mon 00:00-01:00+02:00",     "2026-11-22T22:30:00Z", yes},   // already Monday there
    {"sun 23:00-24:00-05:00",     "2026-11-23T04:30:00Z", yes},   // still Sunday there
    {"mon 08:00-09:00Z",          "2026-11-23T08:30:00Z", yes},
    {"thu 00:00-24:00",           "1970-01-01T00:00:00Z", yes},
    {"wed 00:00-24:00",           "1969-12-31T23:59:59Z", yes},
    {"mon,wed,fri 10:00-11:00",   "2026-11-25T10:30:00Z", yes},
    {"mon,wed,fri 10:00-11:00",   "2026-11-24T10:30:00Z", no},
};

struct RefusedRow {
  const char *kind, *text, *says;
};
const RefusedRow refused[] = {
    {"ip", "",                        "not an address"},
    {"ip", "10.0.0.1/8",              "bits set behind its prefix"},
    {"ip", "2001:db8::1/64",          "bits set behind its prefix"},
    {"ip", "10.0.0.0/33",             "at most 32"},
    {"ip", "2001:db8::/129",          "at most 128"},
    {"ip", "10.0.0.0/",               "not a plain number"},
    {"ip", "10.0.0.0/08",             "not a plain number"},
    {"ip", "10.0.0.0/-1",             "not a plain number"},
    {"ip", "10.0.0.0/8/8",            "not a plain number"},
    {"ip", "10.0.0.0/255.0.0.0",      "not a plain number"},
    {"ip", "0.0.0.0/0",               "no restriction"},
    {"ip", "::/0",                    "IPv4 addresses as well"},
    {"ip", "::ffff:0:0/95",           "IPv4 addresses as well"},
    {"ip", "::/80",                   "IPv4 addresses as well"},
    {"ip", "::ffff:0:0/96",           "no restriction"},
    {"ip", "fe80::1%eth0",            "zone id"},
    {"ip", "fe80::%1/64",             "zone id"},
    {"ip", "010.0.0.0/8",             "not an address"},
    {"ip", "10.0.0/8",                "not an address"},
    {"ip", "10/8",                    "not an address"},
    {"ip", "[2001:db8::1]",           "not an address"},
    {"ip", "10.0.0.1:80",             "not an address"},
    {"ip", "*",                       "not an address"},
    {"ip", "10.0.0.*",                "not an address"},
    {"ip", "example.com",             "not an address"},
    {"ip", "10.0.0.1 ",               "not an address"},
    {"ip", "10.0.0.1-10.0.0.9",       "not an address"},
    {"referrer", "",                          "empty"},
    {"referrer", "*",                         "no restriction"},
    {"referrer", "*/*",                       "no restriction"},
    {"referrer", "https://*",                 "no restriction"},
    {"referrer", "*.com",                     "two labels"},
    {"referrer", "*.",                        "not a host name"},
    {"referrer", "*.localhost",               "two labels"},
    {"referrer", "*example.com",              "whole first label"},
    {"referrer", "www*.example.com",          "whole first label"},
    {"referrer", "www.*.com",                 "whole first label"},
    {"referrer", "*.*.example.com",           "whole first label"},
    {"referrer", "example.*",                 "whole first label"},
    {"referrer", "example.com:*",             "whole first label"},
    {"referrer", "*.192.0.2.1",               "two labels"},
    {"referrer", "example.com/*/x",           "last segment"},
    {"referrer", "example.com/a*",            "last segment"},
    {"referrer", "example.com/*.html",        "last segment"},
    {"referrer", "example.com/a/**",          "last segment"},
    {"referrer", "*://example.com",           "neither http nor https"},
    {"referrer", "ftp://example.com",         "neither http nor https"},
    {"referrer", "user@example.com",          "user name"},
    {"referrer", "https://example.com@evil.test", "user name"},
    {"referrer", "example.com?x",             "query and fragment"},
    {"referrer", "example.com/#x",            "query and fragment"},
    {"referrer", "example.com/a/../b",        ". or .."},
    {"referrer", "example.com/./*",           ". or .."},
    {"referrer", "example.com/%2e%2e/*",      ". or .."},
    {"referrer", "example.com/a%2Fb",         "read differently"},
    {"referrer", "example.com/a%5Cb",         "read differently"},
    {"referrer", "example.com/%",             "begins no escape"},
    {"referrer", "example.com\\x",            "back slash"},
    {"referrer", "example .com",              "spaces"},
    {"referrer", "example.com:",              "port is missing"},
    {"referrer", "example.com:0",             "port"},
    {"referrer", "example.com:080",           "port"},
    {"referrer", "example.com:65536",         "port"},
    {"referrer", "example..com",              "not a host name"},
    {"referrer", "-example.com",              "not a host name"},
    {"referrer", "/path",                     "not a host name"},
    {"referrer", "https:///x",                "not a host name"},
    {"referrer", "3221225985",                "not an address as four plain numbers"},
    {"referrer", "0x7f.1",                    "not an address as four plain numbers"},
    {"referrer", "[fe80::1%25eth0]",          "zone id"},
    {"referrer", "2001:db8::1",               "port"},
    {"android", "com.example.app",            "no certificate"},
    {"android", "=" HEX_A,                    "not a package name"},
    {"android", "app=" HEX_A,                 "not a package name"},
    {"android", "com.1example=" HEX_A,        "not a package name"},
    {"android", "com.exa-mple=" HEX_A,        "not a package name"},
    {"android", "com.*=" HEX_A,               "not a package name"},
    {"android", "com.example.app=",           "not a SHA-256"},
    {"android", "com.example.app=xyz",        "not a SHA-256"},
    {"android", "com.example.app=a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4", "SHA-1"},
    {"android", "com.example.app=A1:A2:A3:A4:A5:A6:A7:A8:A9:AA:AB:AC:AD:AE:AF:B0:B1:B2:B3:B4", "SHA-1"},
    {"android", "com.example.app=A1A2:" HEX_A, "not a SHA-256"},
    {"window", "",                            "times are missing"},
    {"window", "22:00-06:00",                 "over midnight"},
    {"window", "08:00-08:00",                 "empty"},
    {"window", "00:00-24:00",                 "no restriction"},
    {"window", "8:00-18:00",                  "times are missing"},
    {"window", "08:00-25:00",                 "between 00:00 and 24:00"},
    {"window", "24:00-24:00",                 "between 00:00 and 24:00"},
    {"window", "08:60-18:00",                 "between 00:00 and 24:00"},
    {"window", "Mon 08:00-18:00",             "small letters"},
    {"window", "fri-mon 08:00-18:00",         "backwards"},
    {"window", "mon,mon 08:00-18:00",         "twice"},
    {"window", "mon 08:00-18:00 Europe/Berlin", "offset"},
    {"window", "mon 08:00-18:00+15:00",       "offset"},
    {"rate", "",                              "not a rate"},
    {"rate", "60",                            "not a rate"},
    {"rate", "0/min",                         "not a rate"},
    {"rate", "-1/min",                        "not a rate"},
    {"rate", "60/week",                       "not a rate"},
    {"rate", "60/min:0",                      "not a rate"},
    {"rate", "60/min:",                       "not a rate"},
    {"rate", "1000001/sec",                   "not a rate"},
    {"rate", "1.5/sec",                       "not a rate"},
    {"rate", "060/min",                       "not a rate"},
};
// clang-format on

Rule denied_by(const Restrictions& restrictions, const Request& request) {
  const auto secret = make_key("kmt", "7f3k9q2x4b", SecretBytes{ByteView(Bytes(32, 7))});
  KeyEntry entry;
  entry.id = "7f3k9q2x4b";
  entry.app = entry.environment = "shop";
  entry.digest = crypto::sha256(secret.reveal());
  entry.restrictions = restrictions;
  return decide(KeyTable({entry}), to_text(secret.reveal()), request, nullptr).rule;
}

}  // namespace

TEST_CASE("Android apps: several spellings of a certificate, one is stored") {
  for (const auto& row : apps) {
    CAPTURE(row.restriction);
    CAPTURE(row.package);
    CAPTURE(row.certificate);
    Restrictions restrictions;
    restrictions.android = {AndroidApp::parse(row.restriction)};
    CHECK(restrictions.android[0].certificate == HEX_A);
    Request request;
    request.android_package = row.package;
    request.android_certificate = row.certificate;
    CHECK(denied_by(restrictions, request) == (row.allowed ? Rule::none : Rule::android));
  }
}

TEST_CASE("iOS bundles") {
  for (const auto& row : bundles) {
    CAPTURE(row.value);
    Restrictions restrictions;
    restrictions.ios = {row.restriction};
    Request request;
    request.ios_bundle = row.value;
    CHECK(denied_by(restrictions, request) == (row.allowed ? Rule::none : Rule::ios));
  }
  for (const char* wrong : {"", "App", "com.*", "com.exa_mple", "com..example", ".com", "com.example."}) CHECK_FALSE(is_ios_bundle(wrong));
}

TEST_CASE("time windows") {
  for (const auto& row : windows) {
    CAPTURE(row.window);
    CAPTURE(row.time);
    Restrictions restrictions;
    restrictions.windows = {TimeWindow::parse(row.window)};
    Request request;
    request.time = parse_rfc3339(row.time).value();
    CHECK(denied_by(restrictions, request) == (row.open ? Rule::none : Rule::window));
    CHECK(TimeWindow::parse(restrictions.windows[0].text()) == restrictions.windows[0]);
  }
}

TEST_CASE("scopes: every one that is asked for, and one must be") {
  Restrictions restrictions;
  restrictions.scopes = {"read", "orders:write"};
  const auto rule = [&](std::vector<std::string_view> asked) {
    Request request;
    request.scopes = std::move(asked);
    return denied_by(restrictions, request);
  };
  CHECK(rule({"read"}) == Rule::none);
  CHECK(rule({"read", "orders:write"}) == Rule::none);
  CHECK(rule({}) == Rule::scope);
  CHECK(rule({""}) == Rule::scope);
  CHECK(rule({"write"}) == Rule::scope);
  CHECK(rule({"Read"}) == Rule::scope);
  CHECK(rule({"read", "admin"}) == Rule::scope);
  CHECK(rule({"read "}) == Rule::scope);
}

TEST_CASE("what is ambiguous, or restricts nothing, is refused with the reason") {
  const std::map<std::string, std::function<void(const char*)>> parsers{{"ip", [](const char* text) { (void)Network::parse(text); }},
                                                                        {"referrer", [](const char* text) { (void)ReferrerPattern::parse(text); }},
                                                                        {"android", [](const char* text) { (void)AndroidApp::parse(text); }},
                                                                        {"window", [](const char* text) { (void)TimeWindow::parse(text); }},
                                                                        {"rate", [](const char* text) { (void)Rate::parse(text); }}};
  for (const auto& row : refused) {
    CAPTURE(row.kind);
    CAPTURE(row.text);
    std::string said;
    try {
      parsers.at(row.kind)(row.text);
    } catch (const Error& error) {
      CHECK(error.exit() == ExitCode::usage);
      said = error.message();
    }
    CAPTURE(said);
    CHECK(said.find(row.says) != std::string::npos);
  }
}

TEST_CASE("all kinds must hold; of one kind any entry may") {
  Restrictions restrictions;
  restrictions.ip = {Network::parse("10.0.0.0/8"), Network::parse("192.0.2.0/24")};
  restrictions.referrer = {ReferrerPattern::parse("example.com")};
  Request request;
  request.set_client("192.0.2.9");
  request.referrer = "https://example.com/";
  CHECK(denied_by(restrictions, request) == Rule::none);
  request.referrer = {};
  CHECK(denied_by(restrictions, request) == Rule::referrer);
  request.referrer = "https://example.com/";
  request.client.reset();
  CHECK(denied_by(restrictions, request) == Rule::ip);
}

TEST_CASE("what no client can be, and what is said twice, is refused") {
  Restrictions both;
  both.android = {AndroidApp::parse("com.example.app=" HEX_A)};
  both.ios = {"com.example.App"};
  CHECK_THROWS_AS(both.require_sensible(), Error);
  Restrictions twice;
  twice.ip = {Network::parse("10.0.0.1"), Network::parse("::ffff:10.0.0.1")};
  CHECK_THROWS_AS(twice.require_sensible(), Error);
}

TEST_CASE("networks that together are most addresses") {
  const auto all = [](std::initializer_list<const char*> texts) {
    std::vector<Network> networks;
    for (const auto* text : texts) networks.push_back(Network::parse(text));
    return cover_most(networks);
  };
  CHECK_FALSE(all({}));
  CHECK(all({"0.0.0.0/1", "128.0.0.0/1"}));
  CHECK(all({"128.0.0.0/1", "10.0.0.0/8", "64.0.0.0/2", "0.0.0.0/2"}));
  CHECK(all({"0.0.0.0/1", "0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/2"}));
  CHECK_FALSE(all({"0.0.0.0/1", "0.0.0.0/2", "64.0.0.0/2"}));
  CHECK(all({"0.0.0.0/1", "128.0.0.0/2"}));
  CHECK(all({"0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3"}));  // all that is unicast
  CHECK(all({"0.0.0.0/1", "203.0.113.7"}));
  CHECK_FALSE(all({"0.0.0.0/1"}));
  CHECK(all({"2000::/3"}));
  CHECK(all({"2000::/4", "3000::/5"}));
  CHECK_FALSE(all({"2000::/4", "2400::/12", "fe80::/10", "fc00::/7"}));
  CHECK_FALSE(all({"0.0.0.0/1", "8000::/1"}));
  CHECK_FALSE(all({"8000::/1", "4000::/2"}));
  // Everything but one address, in 32 networks.
  std::vector<Network> most;
  for (int bits = 1; bits <= 32; ++bits) {
    const std::uint32_t base = std::uint32_t{1} << (32 - bits);
    const std::uint8_t bytes[4] = {static_cast<std::uint8_t>(base >> 24), static_cast<std::uint8_t>(base >> 16), static_cast<std::uint8_t>(base >> 8), static_cast<std::uint8_t>(base)};
    most.push_back(Network{Address::from_v4(bytes), bits});
  }
  CHECK(cover_most(most));
  most.push_back(Network::parse("0.0.0.0"));
  CHECK(cover_most(most));
  Restrictions restrictions;
  restrictions.ip = most;
  CHECK_FALSE(restrictions.network());
}

TEST_CASE("JSON: one spelling, both ways") {
  Restrictions all;
  all.ip = {Network::parse("10.0.0.0/8")};
  all.referrer = {ReferrerPattern::parse("HTTPS://Bücher.example:8443/app/*")};
  all.android = {AndroidApp::parse("com.example.app=" COLONS_A)};
  all.scopes = {"read"};
  all.windows = {TimeWindow::parse("mon-fri 08:00-18:00Z")};
  all.rate = Rate::parse("60/min:10");
  all.unrestricted = true;
  const JsonFail fail = [](const std::string& what) { throw Error::tampered(what); };
  CHECK(Restrictions::from_json(all.to_json(), fail) == all);
  const auto text = dump_json(all.to_json());
  CHECK(Restrictions::from_canonical(text) == all);
  CHECK(Restrictions::from_canonical("{}") == Restrictions{});
  for (std::size_t i = 0; i < text.size(); ++i) {  // whatever is changed is refused, or says something else and is spelled so
    auto changed = text;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    const auto read = Restrictions::from_canonical(changed);
    if (read) CHECK(dump_json(read->to_json()) == changed);
    CHECK_FALSE(Restrictions::from_canonical(text.substr(0, i)).has_value());
  }
  CHECK(dump_json(all.to_json()["referrer"]) == R"(["https://xn--bcher-kva.example:8443/app/*"])");
  auto other = all.to_json();
  other["ip"][0] = "10.0.0.0/08";
  CHECK_THROWS_AS(Restrictions::from_json(other, fail), Error);
  other = all.to_json();
  other["referrer"][0] = "https://BÜCHER.example:8443/app/*";
  CHECK_THROWS_AS(Restrictions::from_json(other, fail), Error);
  other = all.to_json();
  other["colour"] = "red";
  CHECK_THROWS_AS(Restrictions::from_json(other, fail), Error);
}
