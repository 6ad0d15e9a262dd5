#include <doctest/doctest.h>

#include <set>

#include "kmtool/apikey/decision.hpp"
#include "kmtool/core/error.hpp"

using namespace kmtool;
using namespace kmtool::apikey;

namespace {

struct Made {
  KeyEntry entry;
  std::string text;
};
Made made(std::uint64_t number, std::uint8_t filling = 1) {
  const auto id = id_text(number);
  const auto key = make_key("kmt", id, SecretBytes{ByteView(Bytes(32, filling))});
  Made result;
  result.entry.id = id;
  result.entry.app = "shop";
  result.entry.environment = "default";
  result.entry.digest = crypto::sha256(key.reveal());
  result.text = to_text(key.reveal());
  return result;
}
Rule rule_of(const KeyTable& table, std::string_view key, const Request& request = {}) { return decide(table, key, request, nullptr).rule; }

class Limited : public RateGate {
 public:
  Answer ask(const KeyEntry& key, std::uint32_t, std::int64_t microseconds, bool only_look) override {
    const auto& rate = key.restrictions->rate.value();
    if (only_look ? bucket.peek(rate, microseconds) : bucket.take(rate, microseconds)) return {};
    return {false, bucket.retry_after(rate, microseconds)};
  }
  TokenBucket bucket;
};

}  // namespace

TEST_CASE("a key's form: fixed lengths, base 62, CRC-32 of what stands before it") {
  const auto key = made(1).text;
  CHECK(key.size() == 3 + 1 + 10 + 1 + 43 + 6);
  CHECK(key.starts_with("kmt_0000000001_"));
  CHECK(parse_key(key).form == KeyParts::Form::ok);
  // Python: zlib.crc32(b"123456789") == 0xcbf43926; base 62 of it
  CHECK(crc32_of("123456789") == 0xcbf43926U);
  CHECK(base62_check(0) == "000000");
  CHECK(base62_check(0xffffffffU) == "4gfFC3");
  const auto largest = make_key("kmt", "0000000001", SecretBytes{ByteView(Bytes(32, 0xff))});
  CHECK(to_text(largest.reveal()) == "kmt_0000000001_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp14Bn5ia");  // reckoned with Python
}

TEST_CASE("every single character of a key counts") {
  const auto key = made(77).text;
  for (std::size_t i = 0; i < key.size(); ++i) {
    for (const char c : {'a', 'Z', '0', '_', ' '}) {
      auto other = key;
      if (other[i] == c) continue;
      other[i] = c;
      CAPTURE(other);
      CHECK(parse_key(other).form != KeyParts::Form::ok);
    }
  }
  for (const std::string& wrong : {key + "x", "x" + key, key.substr(1), key.substr(0, key.size() - 1), key + "\n", std::string(), std::string("kmt__"), std::string(500, '_')}) {
    CHECK(parse_key(wrong).form != KeyParts::Form::ok);
  }
}

TEST_CASE("ids: 50 bits, every number has one text") {
  for (const std::uint64_t number : {std::uint64_t{0}, std::uint64_t{31}, std::uint64_t{1} << 49, (std::uint64_t{1} << 50) - 1}) {
    CHECK(id_number(id_text(number)) == number);
  }
  CHECK(make_id(Bytes(7, 0xff)) == "zzzzzzzzzz");
  for (const char* wrong : {"", "short", "000000000i", "000000000l", "000000000o", "000000000u", "000000000A", "00000000001"}) CHECK_FALSE(is_id(wrong));
}

TEST_CASE("who it is: distinct reasons") {
  const auto a = made(5), b = made(6, 2);
  const KeyTable table({a.entry, b.entry});
  CHECK(rule_of(table, a.text) == Rule::none);
  CHECK(rule_of(table, b.text) == Rule::none);
  CHECK(rule_of(table, "") == Rule::missing);
  CHECK(rule_of(table, "sk_live_1234") == Rule::format);
  auto mistyped = a.text;
  mistyped.back() = mistyped.back() == 'a' ? 'b' : 'a';
  CHECK(rule_of(table, mistyped) == Rule::checksum);
  CHECK(rule_of(table, made(7).text) == Rule::unknown);
  CHECK(rule_of(table, made(5, 9).text) == Rule::secret);
  const auto named = decide(table, made(5, 9).text, {}, nullptr);
  CHECK(named.key == nullptr);
  CHECK(named.named_id == a.entry.id);
  CHECK(decide(table, made(7).text, {}, nullptr).named_id.empty());
  CHECK(rule_of(KeyTable(), a.text) == Rule::unknown);
  CHECK(rule_of(KeyTable(), made(0, 0).text) == Rule::unknown);
}

TEST_CASE("times: the first second in, the first second out") {
  auto key = made(5);
  Request at;
  key.entry.not_before = 1000;
  key.entry.expires = 2000;
  const auto rule = [&](UnixTime time) {
    at.time = time;
    return rule_of(KeyTable({key.entry}), key.text, at);
  };
  CHECK(rule(999) == Rule::not_before);
  CHECK(rule(1000) == Rule::none);
  CHECK(rule(1999) == Rule::none);
  CHECK(rule(2000) == Rule::expired);
  key.entry.until = 1500;
  CHECK(rule(1499) == Rule::none);
  CHECK(rule(1500) == Rule::replaced);
  key.entry.revoked = true;
  CHECK(rule(1200) == Rule::revoked);
  CHECK(rule_of(KeyTable({key.entry}), made(5, 9).text, at) == Rule::secret);  // nobody without the key learns its state
}

TEST_CASE("a clock that was set back revives no key, and makes none valid that is not yet") {
  auto ends = made(5), begins = made(6), rotated = made(7);
  ends.entry.expires = 2000;
  begins.entry.not_before = 2000;
  rotated.entry.until = 2000;
  const KeyTable table({ends.entry, begins.entry, rotated.entry});
  Request request;
  request.time = 1000;
  for (const UnixTime latest : {UnixTime{0}, UnixTime{1000}, UnixTime{1999}}) {
    request.latest = latest;
    CHECK(rule_of(table, ends.text, request) == Rule::none);
    CHECK(rule_of(table, rotated.text, request) == Rule::none);
  }
  request.latest = 2000;
  CHECK(rule_of(table, ends.text, request) == Rule::expired);
  CHECK(rule_of(table, rotated.text, request) == Rule::replaced);
  CHECK(rule_of(table, begins.text, request) == Rule::not_before);
  CHECK(request.clock_behind() == 1000);
  for (const auto& rule : explain(table, ends.text, request, nullptr).rules) {
    if (rule.rule == Rule::expired) CHECK(rule.detail.ends_with("the clock says 1970-01-01T00:16:40Z, but it has been 1970-01-01T00:33:20Z"));
  }
  request.time = 1999;  // clocks differ by that every day: no word of it, and the key has ended all the same
  CHECK(request.clock_behind() == 0);
  CHECK(rule_of(table, ends.text, request) == Rule::expired);
}

TEST_CASE("the rate comes last: who is denied otherwise takes nothing from it") {
  auto key = made(5);
  Restrictions restrictions;
  restrictions.ip = {Network::parse("10.0.0.0/8")};
  restrictions.rate = Rate::parse("2/min");
  key.entry.restrictions = restrictions;
  const KeyTable table({key.entry});
  Limited gate;
  Request inside, outside;
  inside.set_client("10.1.2.3");
  outside.set_client("192.0.2.1");
  for (int i = 0; i < 5; ++i) CHECK(decide(table, key.text, outside, &gate).rule == Rule::ip);
  CHECK(explain(table, key.text, inside, &gate).verdict.allowed);
  CHECK(decide(table, key.text, inside, &gate).allowed);
  CHECK(decide(table, key.text, inside, &gate).allowed);
  const auto denied = decide(table, key.text, inside, &gate);
  CHECK(denied.rule == Rule::rate);
  CHECK(denied.retry_after == 30);
  inside.microseconds = 30000000;
  CHECK(decide(table, key.text, inside, &gate).allowed);
}

TEST_CASE("token bucket: bursts, refill, a clock that runs backwards") {
  const auto rate = Rate::parse("10/sec:3");
  TokenBucket bucket;
  CHECK(bucket.take(rate, 0));
  CHECK(bucket.take(rate, 0));
  CHECK(bucket.take(rate, 0));
  CHECK_FALSE(bucket.take(rate, 0));
  CHECK_FALSE(bucket.take(rate, 99999));
  CHECK(bucket.take(rate, 100000));
  CHECK_FALSE(bucket.take(rate, 50000));
  CHECK_FALSE(bucket.take(rate, 100000));
  std::size_t allowed = 0;
  for (std::int64_t now = 1000000; now < 11000000; now += 1000) allowed += bucket.take(rate, now) ? 1 : 0;
  CHECK(allowed >= 100);  // ten seconds' worth,
  CHECK(allowed <= 103);  // and what was in it
  TokenBucket daily;
  CHECK(daily.take(Rate::parse("1000000/day"), std::int64_t{1} << 60));
}

TEST_CASE("explain says every rule, and decides as decide does") {
  auto key = made(5);
  Restrictions restrictions;
  restrictions.ip = {Network::parse("10.0.0.0/8")};
  restrictions.referrer = {ReferrerPattern::parse("example.com")};
  key.entry.restrictions = restrictions;
  const KeyTable table({key.entry});
  Request request;
  request.set_client("192.0.2.1");
  request.referrer = "https://evil.test/\x1b[2J";
  const auto explanation = explain(table, key.text, request, nullptr);
  CHECK(explanation.verdict.rule == Rule::ip);
  CHECK(explanation.rules.size() == 16);
  std::set<Rule> fails, advisory;
  for (const auto& rule : explanation.rules) {
    if (rule.says == RuleVerdict::Says::fails) fails.insert(rule.rule);
    if (rule.advisory) advisory.insert(rule.rule);
    CHECK(rule.detail.find('\x1b') == std::string::npos);
  }
  CHECK(fails == std::set{Rule::ip, Rule::referrer});
  CHECK(advisory == std::set{Rule::referrer, Rule::android, Rule::ios});
  const auto stranger = explain(table, made(6).text, request, nullptr);
  CHECK(stranger.verdict.rule == Rule::unknown);
  for (const auto& rule : stranger.rules) {
    if (rule.rule > Rule::unknown) CHECK(rule.says == RuleVerdict::Says::not_reached);
  }
}

TEST_CASE("a table of 100,000 keys finds each, and no other") {
  std::vector<KeyEntry> entries;
  for (std::uint64_t i = 0; i < 100000; ++i) {
    KeyEntry entry;
    entry.id = id_text(i * 7919 + 3);
    entry.app = std::to_string(i);
    entries.push_back(std::move(entry));
  }
  const KeyTable table(std::move(entries));
  std::size_t wrong = 0;
  for (std::uint64_t number = 0; number < 791900; ++number) {
    const auto found = table.find(number);
    const bool expected = number % 7919 == 3;
    if (found.known != expected || found.entry == nullptr || (expected && found.entry->id != id_text(number))) ++wrong;
  }
  CHECK(wrong == 0);
  auto twice = made(1).entry;
  CHECK_THROWS_AS(KeyTable({twice, twice}), Error);
}

TEST_CASE("rule words are one another's inverse") {
  for (std::size_t i = 0; i < rule_count; ++i) CHECK(rule_from(to_text(static_cast<Rule>(i))) == static_cast<Rule>(i));
  CHECK_FALSE(rule_from("other").has_value());
}
