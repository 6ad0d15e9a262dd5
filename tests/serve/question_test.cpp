#include "serve/question.hpp"

#include <doctest/doctest.h>

#include "kmtool/core/error.hpp"

using namespace kmtool;
using namespace kmtool::serve;

namespace {

/// A head made of fields; its bytes live as long as it does.
struct Asked {
  std::string bytes;
  Head head;
  explicit Asked(const std::string& fields, const std::string& target = "/auth")
      : bytes("GET " + target + " HTTP/1.1\r\nHost: gate\r\n" + fields + "\r\n") {
    std::size_t seen = 0;
    REQUIRE(read_head(bytes, head, seen).state == HeadResult::State::complete);
  }
};

Peer peer(const char* address) { return {false, apikey::Address::parse(address)}; }

TrustedProxies trusted() {
  TrustedProxies out;
  out.add("10.0.0.0/8");
  out.add("2001:db8::/32");
  return out;
}

std::string client(const std::string& fields, const Peer& from) {
  const Asked asked(fields);
  const auto found = client_of(asked.head, from, trusted());
  return found.garbled ? "garbled" : found.address ? found.address->text() : "unknown";
}

struct Key {
  std::string text;
  bool two = false;
};
Key key(const std::string& fields, const std::string& target = "/auth", std::string_view name = "api_key") {
  const Asked asked(fields, target);
  Question question;
  read_question(asked.head, peer("198.51.100.1"), {}, name, question);
  return {std::string(question.key), question.two_keys};
}

}  // namespace

TEST_CASE("the client is the peer, or the rightmost hop that is no proxy") {
  struct Row {
    const char* hops;
    const char* from;
    const char* is;
  };
  const Row rows[] = {
      {"1.2.3.4", "198.51.100.1", "198.51.100.1"},
      {"garbage", "198.51.100.1", "198.51.100.1"},
      {"1.2.3.4", "10.0.0.1", "1.2.3.4"},
      {"1.2.3.4", "::ffff:10.0.0.1", "1.2.3.4"},
      {"1.2.3.4", "2001:db8::1", "1.2.3.4"},
      {"6.6.6.6, 1.2.3.4", "10.0.0.1", "1.2.3.4"},
      {"6.6.6.6, 1.2.3.4, 10.1.1.1,2001:db8::5", "10.0.0.1", "1.2.3.4"},
      {"6.6.6.6\r\nX-Forwarded-For: 1.2.3.4", "10.0.0.1", "1.2.3.4"},
      {"1.2.3.4\r\nX-Forwarded-For: 10.9.9.9", "10.0.0.1", "1.2.3.4"},
      {"10.0.0.7, 10.0.0.8", "10.0.0.1", "10.0.0.7"},
      {"::ffff:1.2.3.4", "10.0.0.1", "1.2.3.4"},
      {"2001:DB9::1", "10.0.0.1", "2001:db9::1"},
      {"junk, 1.2.3.4", "10.0.0.1", "1.2.3.4"},
      {"1.2.3.4, junk", "10.0.0.1", "garbled"},
      {"junk, 10.0.0.2", "10.0.0.1", "garbled"},
      {"", "10.0.0.1", "garbled"},
      {"1.2.3.4,", "10.0.0.1", "garbled"},
      {"1.2.3.4:80", "10.0.0.1", "garbled"},
      {"[2001:db9::1]", "10.0.0.1", "garbled"},
      {"fe80::1%eth0", "10.0.0.1", "garbled"},
      {"1.2.3.04", "10.0.0.1", "garbled"},
      {"0x1.2.3.4", "10.0.0.1", "garbled"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.hops);
    CAPTURE(row.from);
    CHECK(client(std::string("X-Forwarded-For: ") + row.hops + "\r\n", peer(row.from)) == row.is);
  }
  CHECK(client("", peer("198.51.100.1")) == "198.51.100.1");
  CHECK(client("", peer("10.0.0.1")) == "unknown");
  CHECK(client("Forwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\n", peer("10.0.0.1")) == "unknown");
}

TEST_CASE("a unix socket is trusted only when told so") {
  const Asked asked("X-Forwarded-For: 1.2.3.4\r\n");
  const Peer local{true, {}};
  TrustedProxies trust;
  CHECK_FALSE(client_of(asked.head, local, trust).address);
  trust.add("unix");
  CHECK(client_of(asked.head, local, trust).address->text() == "1.2.3.4");
  CHECK_THROWS_AS(trust.add("somewhere"), Error);
  CHECK_THROWS_AS(trust.add("10.0.0.1/8"), Error);
}

TEST_CASE("where a key is looked for") {
  CHECK(key("Authorization: Bearer a\r\n").text == "a");
  CHECK(key("Authorization: bearer \t a \r\n").text == "a");
  CHECK(key("Authorization: Basic a\r\n").text.empty());
  CHECK(key("Authorization: Bearer\r\n").text.empty());
  CHECK(key("Authorization: Bearera b\r\n").text.empty());
  CHECK(key("X-Api-Key: a\r\n").text == "a");
  CHECK(key("X-Original-URI: /x?a=b&api_key=k\r\n").text == "k");
  CHECK(key("X-Forwarded-Uri: /x?api_key=k%5F1%2\r\n").text == "k_1%2");
  CHECK(key("X-Forwarded-Uri: /x?api_key=\r\n").text.empty());
  CHECK(key("X-Forwarded-Uri: /x?xapi_key=k&api_key2=l&api_key\r\n").text.empty());
  CHECK(key("X-Forwarded-Uri: /x?a#api_key=k&api_key=k\r\n").text.empty());
  CHECK(key("X-Forwarded-Uri: /x?api_key=k\r\n", "/auth", "").text.empty());
  CHECK(key("", "/auth?api_key=k").text.empty());
  CHECK(key("", "/auth/envoy/x?api_key=k").text == "k");
  CHECK(key("", "/auth/envoyage?api_key=k").text.empty());
}

TEST_CASE("two keys are told from one") {
  CHECK_FALSE(key("X-Api-Key: a\r\nAuthorization: Bearer a\r\nX-Original-URI: /?api_key=a&api_key=%61\r\n").two);
  CHECK(key("X-Api-Key: a\r\nAuthorization: Bearer b\r\n").two);
  CHECK(key("X-Api-Key: a\r\nX-Api-Key: b\r\n").two);
  CHECK(key("X-Api-Key: a\r\nX-Original-URI: /?api_key=b\r\n").two);
  CHECK(key("X-Original-URI: /?api_key=a&api_key=b\r\n").two);
  CHECK(key("X-Original-URI: /?api_key=a\r\nX-Forwarded-Uri: /?api_key=b\r\n").two);
  CHECK(key("X-Api-Key: x\r\nAuthorization: Bearer y\r\n").text == "y");
}

TEST_CASE("scopes are taken from proxies only") {
  const Asked asked("X-Kmtool-Scope: a b,c\r\nX-Kmtool-Scope: d\r\n");
  Question from_proxy, from_client;
  read_question(asked.head, peer("10.0.0.1"), trusted(), "k", from_proxy);
  read_question(asked.head, peer("1.2.3.4"), trusted(), "k", from_client);
  CHECK(from_proxy.attributes.scopes == std::vector<std::string_view>{"a", "b", "c", "d"});
  CHECK(from_client.attributes.scopes.empty());
}

TEST_CASE("profiles, and what came through a proxy") {
  const auto profile = [](const std::string& target) {
    const Asked asked("", target);
    Question question;
    read_question(asked.head, {}, {}, "k", question);
    return question.profile;
  };
  CHECK(profile("/auth/nginx") == Profile::nginx);
  CHECK(profile("/auth/nginx?x") == Profile::nginx);
  CHECK(profile("/auth/nginx/x") == Profile::plain);
  CHECK(profile("/auth/envoy") == Profile::envoy);
  CHECK(profile("/auth/envoy/auth/nginx") == Profile::envoy);
  CHECK(profile("/auth/envoyx") == Profile::plain);
  CHECK(profile("/") == Profile::plain);
  for (const auto* fields :
       {"Via: 1.1 x\r\n", "Forwarded: for=x\r\n", "X-Forwarded-Host: x\r\n", "X-ENVOY-Internal: true\r\n", "X-Real-IP: x\r\n",
        "X-Original-URI: /\r\n", "X-Original-Method: GET\r\n", "X-Forwarded-For: x\r\n"}) {
    CAPTURE(fields);
    CHECK(came_through_proxy(Asked(fields).head));
  }
  CHECK_FALSE(came_through_proxy(Asked("Accept: x\r\nX-Api-Key: y\r\n").head));
}
