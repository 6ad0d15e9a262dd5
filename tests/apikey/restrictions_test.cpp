// One row a case: what the key is restricted to, what the request has, and what comes of it. A restriction that must not be accepted at
// all stands in the second table with a piece of what is said.
#include <doctest/doctest.h>

#include <map>

#include "kmtool/apikey/decision.hpp"

using namespace kmtool;
using namespace kmtool::apikey;

namespace {

constexpr bool yes = true, no = false;

struct ReferrerRow {
  const char* pattern;
  const char* referrer;
  bool allowed;
};
// clang-format off
const ReferrerRow referrers[] = {
    // host alone: every path, the scheme's own port
    {"example.com",              "https://example.com/",                     yes},
    {"example.com",              "https://example.com",                      yes},
    {"example.com",              "http://example.com/",                      yes},
    {"example.com",              "https://example.com/a/b?c=d#e",            yes},
    {"example.com",              "https://www.example.com/",                 no},
    {"example.com",              "https://example.com.evil.test/",           no},
    {"example.com",              "https://evilexample.com/",                 no},
    {"example.com",              "https://example.org/?example.com",         no},
    {"example.com",              "https://evil.test/example.com",            no},
    {"example.com",              "https://evil.test/#example.com",           no},
    {"example.com/*",            "https://example.com/",                     yes},
    {"example.com/*",            "https://example.com/deep/er",              yes},
    // *. : any depth, never the apex
    {"*.example.com",            "https://www.example.com/",                 yes},
    {"*.example.com",            "https://a.b.c.example.com/x",              yes},
    {"*.example.com",            "https://example.com/",                     no},
    {"*.example.com",            "https://.example.com/",                    no},
    {"*.example.com",            "https://wwwexample.com/",                  no},
    {"*.example.com",            "https://www.example.com.evil.test/",       no},
    {"*.example.com",            "https://evil.test/www.example.com",        no},
    {"*.example.com",            "https://*.example.com/",                   no},
    // upper case, and the dot at the end
    {"Example.COM",              "https://example.com/",                     yes},
    {"example.com",              "HTTPS://EXAMPLE.COM/",                     yes},
    {"example.com.",             "https://example.com/",                     yes},
    {"example.com",              "https://example.com./",                    yes},
    {"example.com",              "https://example.com../",                   no},
    {"*.EXAMPLE.com",            "https://WwW.example.COM./",                yes},
    // scheme
    {"https://example.com",      "https://example.com/",                     yes},
    {"https://example.com",      "http://example.com/",                      no},
    {"http://example.com",       "https://example.com/",                     no},
    {"example.com",              "ftp://example.com/",                       no},
    {"example.com",              "android-app://example.com/",               no},
    {"example.com",              "file:///example.com",                      no},
    {"example.com",              "javascript:https://example.com/",          no},
    {"example.com",              "about:blank",                              no},
    {"example.com",              "null",                                     no},
    {"example.com",              "example.com",                              no},
    {"example.com",              "//example.com/",                           no},
    {"example.com",              "https:example.com",                        no},
    {"example.com",              "https:/example.com",                       no},
    {"example.com",              "https:///example.com",                     no},
    {"example.com",              "https://",                                 no},
    {"example.com",              "",                                         no},
    // ports
    {"example.com",              "https://example.com:443/",                 yes},
    {"example.com",              "http://example.com:80/",                   yes},
    {"example.com",              "https://example.com:80/",                  no},
    {"example.com",              "http://example.com:443/",                  no},
    {"example.com",              "https://example.com:8443/",                no},
    {"example.com",              "https://example.com:/",                    yes},
    {"example.com:8443",         "https://example.com:8443/",                yes},
    {"example.com:8443",         "http://example.com:8443/",                 yes},
    {"example.com:8443",         "https://example.com/",                     no},
    {"https://example.com:443",  "https://example.com/",                     yes},
    {"example.com:80",           "http://example.com/",                      yes},
    {"example.com",              "https://example.com:0443/",                no},
    {"example.com",              "https://example.com:99999/",               no},
    {"example.com",              "https://example.com:0/",                   no},
    {"example.com",              "https://example.com:443:443/",             no},
    {"example.com",              "https://example.com:44a/",                 no},
    {"example.com",              "https://example.com:+443/",                no},
    // userinfo and other tricks with @ and back slashes
    {"example.com",              "https://example.com@evil.test/",           no},
    {"example.com",              "https://example.com:443@evil.test/",       no},
    {"example.com",              "https://user@example.com/",                no},
    {"example.com",              "https://user:pw@example.com/",             no},
    {"example.com",              "https://@example.com/",                    no},
    {"example.com",              "https://evil.test/@example.com",           no},
    {"example.com",              "https://example.com/@evil.test",           yes},
    {"example.com",              "https://evil.test\\@example.com/",         no},
    {"example.com",              "https://evil.test\\.example.com/",         no},
    {"example.com",              "https:\\\\example.com/",                   no},
    {"example.com",              "https://example.com\\@evil.test/",         no},
    {"example.com",              "https://example.com%40evil.test/",         no},
    {"example.com",              "https://example.com%2eevil.test/",         no},
    {"example.com",              "https://evil.test%2f.example.com/",        no},
    {"example.com",              "https://evil.test?@example.com/",          no},
    {"example.com",              "https://evil.test#@example.com/",          no},
    {"example.com",              "https://example.com;evil.test/",           no},
    {"example.com",              "https://example.com,evil.test/",           no},
    // white space and control characters
    {"example.com",              " https://example.com/",                    no},
    {"example.com",              "https://example.com/ ",                    no},
    {"example.com",              "https://exam\tple.com/",                   no},
    {"example.com",              "https://example.com/\n",                   no},
    {"example.com",              "https://example.com\r\nX: y/",             no},
    {"example.com",              "https://example.com/\x7f",                 no},
    {"example.com",              "https://example.com/\xff",                 no},
    // internationalized names
    {"bücher.example",           "https://xn--bcher-kva.example/",           yes},
    {"xn--bcher-kva.example",    "https://bücher.example/",                  yes},
    {"BÜCHER.example",           "https://bücher.example/",                  yes},
    {"*.bücher.example",         "https://shop.xn--bcher-kva.example/",      yes},
    {"faß.example",              "https://xn--fa-hia.example/",              yes},
    {"faß.example",              "https://fass.example/",                    no},
    {"example.com",              "https://ex\xd0\xb0mple.com/",              no},   // a Cyrillic a
    {"example.com",              "https://example\xe3\x80\x82" "com/",       yes},  // an ideographic full stop
    {"example.com",              "https://xn--/",                            no},
    {"example.com",              "https://xn--a.example.com/",               no},
    {"example.com",              "https://-example.com/",                    no},
    {"my_host.example.com",      "https://my_host.example.com/",             yes},
    // addresses as hosts
    {"192.0.2.1",                "http://192.0.2.1/",                        yes},
    {"192.0.2.1",                "http://192.0.2.1./",                       yes},
    {"192.0.2.1",                "http://3221225985/",                       no},
    {"192.0.2.1",                "http://0xc0000201/",                       no},
    {"192.0.2.1",                "http://0300.0.2.1/",                       no},
    {"192.0.2.1",                "http://192.0.513/",                        no},
    {"[2001:db8::1]",            "https://[2001:db8::1]/",                   yes},
    {"[2001:db8:0::1]:8443",     "https://[2001:DB8::1]:8443/",              yes},
    {"[2001:db8::1]",            "https://[2001:db8::2]/",                   no},
    {"[2001:db8::1]",            "https://[2001:db8::1%25eth0]/",            no},
    {"[2001:db8::1]",            "https://2001:db8::1/",                     no},
    {"[2001:db8::1]",            "https://[2001:db8::1/",                    no},
    {"192.0.2.1",                "https://[::ffff:192.0.2.1]/",              yes},
    // exact paths
    {"example.com/",             "https://example.com",                      yes},
    {"example.com/",             "https://example.com/?q",                   yes},
    {"example.com/",             "https://example.com/a",                    no},
    {"example.com/app",          "https://example.com/app",                  yes},
    {"example.com/app",          "https://example.com/app?x=/y",             yes},
    {"example.com/app",          "https://example.com/app/",                 no},
    {"example.com/app/",         "https://example.com/app",                  no},
    {"example.com/app",          "https://example.com/App",                  no},
    {"example.com/app",          "https://example.com/application",          no},
    {"example.com/app",          "https://example.com/",                     no},
    {"example.com/a//b",         "https://example.com/a/b",                  no},
    // * as the last segment
    {"example.com/app/*",        "https://example.com/app/",                 yes},
    {"example.com/app/*",        "https://example.com/app/a/b",              yes},
    {"example.com/app/*",        "https://example.com/app",                  no},
    {"example.com/app/*",        "https://example.com/application/x",        no},
    {"example.com/app/*",        "https://example.com/app/../admin",         no},
    {"example.com/app/*",        "https://example.com/app/%2e%2e/admin",     no},
    {"example.com/app/*",        "https://example.com/app/./x",              yes},
    {"example.com/app/*",        "https://example.com/x/../app/y",           yes},
    {"example.com/app/*",        "https://example.com/app/..",               no},
    {"example.com/app/*",        "https://example.com/",                     no},
    // percent-escapes: unreserved ones are what they stand for, an encoded slash is ambiguous
    {"example.com/app/*",        "https://example.com/%61pp/x",              yes},
    {"example.com/%61pp/*",      "https://example.com/app/x",                yes},
    {"example.com/app/*",        "https://example.com/app%2Fx",              no},
    {"example.com/app/*",        "https://example.com/app/%2F",              no},
    {"example.com/app/*",        "https://example.com/app/..%2fadmin",       no},
    {"example.com/app/*",        "https://example.com/app/x%5c",             no},
    {"example.com/app/*",        "https://example.com/app/x%00",             no},
    {"example.com",              "https://example.com/a%2Fb",                yes},
    {"example.com",              "https://example.com/%zz",                  no},
    {"example.com",              "https://example.com/%2",                   no},
    {"example.com/caf%c3%a9",    "https://example.com/caf%C3%A9",            yes},
    {"example.com/café",         "https://example.com/caf%C3%A9",            yes},
    {"*.example.com/app/*",      "https://x.example.com/app/y",              yes},
    {"*.example.com/app/*",      "https://x.example.com/",                   no},
    // what stands elsewhere in the URL counts for nothing
    {"https://example.com:8443/app/*", "https://example.com:8443/app/x?y#z", yes},
    {"https://example.com:8443/app/*", "https://example.com:8443/?/app/x",   no},
    {"https://example.com:8443/app/*", "https://example.com:8443#/app/x",    no},
    {"https://example.com:8443/app/*", "http://example.com:8443/app/x",      no},
    {"https://example.com:8443/app/*", "https://example.com/app/x",          no},
    {"example.com",              "https://example.com?",                     yes},
    {"example.com",              "https://example.com#",                     yes},
    {"example.com",              "https://a:b@c@example.com/",               no},
    {"example.com",              "https://[example.com]/",                   no},
    {"example.com",              "https://example.com:443@evil.test:443/",   no},
};

struct AddressRow {
  const char* network;
  const char* address;
  bool allowed;
};
const AddressRow addresses[] = {
    {"203.0.113.7",           "203.0.113.7",               yes},
    {"203.0.113.7",           "203.0.113.8",               no},
    {"203.0.113.7/32",        "203.0.113.7",               yes},
    {"203.0.113.0/24",        "203.0.113.0",               yes},
    {"203.0.113.0/24",        "203.0.113.255",             yes},
    {"203.0.113.0/24",        "203.0.112.255",             no},
    {"203.0.113.0/24",        "203.0.114.0",               no},
    {"203.0.113.128/25",      "203.0.113.127",             no},
    {"203.0.113.128/25",      "203.0.113.128",             yes},
    {"203.0.113.6/31",        "203.0.113.7",               yes},
    {"203.0.113.6/31",        "203.0.113.5",               no},
    {"10.0.0.0/8",            "10.255.255.255",            yes},
    {"10.0.0.0/8",            "11.0.0.0",                  no},
    {"128.0.0.0/1",           "128.0.0.0",                 yes},
    {"128.0.0.0/1",           "127.255.255.255",           no},
    {"2001:db8::/32",         "2001:db8::1",               yes},
    {"2001:db8::/32",         "2001:DB8:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF", yes},
    {"2001:db8::/32",         "2001:db9::",                no},
    {"2001:db8::/32",         "2001:db7:ffff::",           no},
    {"2001:db8::1",           "2001:db8:0:0:0:0:0:1",      yes},
    {"2001:db8::1/128",       "2001:db8::2",               no},
    {"2001:db8::/33",         "2001:db8:8000::",           no},
    {"2001:db8::/127",        "2001:db8::1",               yes},
    // v4-mapped: the IPv4 address that it maps
    {"203.0.113.0/24",        "::ffff:203.0.113.9",        yes},
    {"203.0.113.0/24",        "::FFFF:cb00:7109",          yes},
    {"203.0.113.0/24",        "::ffff:203.0.114.9",        no},
    {"::ffff:203.0.113.0/120", "203.0.113.9",              yes},
    {"::ffff:203.0.113.0/120", "::ffff:203.0.113.9",       yes},
    {"::ffff:203.0.113.7",    "203.0.113.7",               yes},
    {"203.0.113.0/24",        "::203.0.113.9",             no},   // v4-compatible is another address
    {"203.0.113.0/24",        "64:ff9b::203.0.113.9",      no},   // and NAT64's too
    {"2001:db8::/32",         "203.0.113.7",               no},
    {"fe80::/10",             "fe80::1",                   yes},
    {"fe80::/10",             "fe80::1%eth0",              no},
    // what is no address is no match
    {"203.0.113.0/24",        "",                          no},
    {"203.0.113.0/24",        " 203.0.113.7",              no},
    {"203.0.113.0/24",        "203.0.113.7 ",              no},
    {"203.0.113.0/24",        "203.0.113.7:443",           no},
    {"203.0.113.0/24",        "203.0.113.007",             no},
    {"203.0.113.0/24",        "203.0.113",                 no},
    {"203.0.113.0/24",        "203.0.113.7.1",             no},
    {"203.0.113.0/24",        "0xcb.0.113.7",              no},
    {"203.0.113.0/24",        "3405803783",                no},
    {"203.0.113.0/24",        "203.0.113.256",             no},
    {"203.0.113.0/24",        "203.0.113.-1",              no},
    {"203.0.113.0/24",        "203.0.113.7, 10.0.0.1",     no},
    {"203.0.113.0/24",        "localhost",                 no},
    {"2001:db8::/32",         "[2001:db8::1]",             no},
    {"2001:db8::/32",         "2001:db8:::1",              no},
    {"2001:db8::/32",         "2001:db8::1::",             no},
    {"2001:db8::/32",         "2001:db8::12345",           no},
};
// clang-format on

/// A key with these restrictions, and the rule that a request is denied by.
struct OneKey {
  std::string text;
  KeyTable table;
};
OneKey key_with(Restrictions restrictions) {
  const SecretBytes noise{ByteView(Bytes(32, 7))};
  const auto secret = make_key("kmt", "7f3k9q2x4b", noise);
  KeyEntry entry;
  entry.id = "7f3k9q2x4b";
  entry.app = "shop";
  entry.environment = "default";
  entry.digest = crypto::sha256(secret.reveal());
  entry.restrictions = std::move(restrictions);
  return {to_text(secret.reveal()), KeyTable({entry})};
}
Rule denied_by(const OneKey& key, Request request) { return decide(key.table, key.text, request, nullptr).rule; }

}  // namespace

TEST_CASE("referrers: every row of the table") {
  for (const auto& row : referrers) {
    CAPTURE(row.pattern);
    CAPTURE(row.referrer);
    Restrictions restrictions;
    restrictions.referrer = {ReferrerPattern::parse(row.pattern)};
    Request request;
    request.referrer = row.referrer;
    CHECK(denied_by(key_with(restrictions), request) == (row.allowed ? Rule::none : Rule::referrer));
    // The one spelling says the same.
    CHECK(ReferrerPattern::parse(restrictions.referrer[0].text()) == restrictions.referrer[0]);
  }
}

TEST_CASE("addresses: every row of the table") {
  for (const auto& row : addresses) {
    CAPTURE(row.network);
    CAPTURE(row.address);
    Restrictions restrictions;
    restrictions.ip = {Network::parse(row.network)};
    Request request;
    if (*row.address != '\0') request.set_client(row.address);
    CHECK(denied_by(key_with(restrictions), request) == (row.allowed ? Rule::none : Rule::ip));
    CHECK(Network::parse(restrictions.ip[0].text()) == restrictions.ip[0]);
  }
}

TEST_CASE("the tables have at least 200 rows") { CHECK(std::size(referrers) + std::size(addresses) >= 200); }
