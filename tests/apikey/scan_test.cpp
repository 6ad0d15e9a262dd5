#include <doctest/doctest.h>

#include <random>

#include "kmtool/apikey/scan.hpp"
#include "kmtool/core/encoding.hpp"

using namespace kmtool;
using namespace kmtool::apikey;

namespace {

const std::string stripe = "sk_live_51Habcdefghij-KLMNOP.qrstuv";

struct Fixture {
  Needles needles;
  std::string issued;
  Fixture() {
    ApiKeyRecord record;
    record.entry.id = "7f3k9q2x4b";
    record.entry.app = "shop";
    const auto key = make_key("kmt", record.entry.id, SecretBytes{ByteView(Bytes(32, 0x5a))});
    record.entry.digest = crypto::sha256(key.reveal());
    issued = to_text(key.reveal());
    needles.add_issued(record, 0);
    StoredRecord stored;
    stored.app = "shop";
    stored.name = "stripe";
    CHECK(needles.add_stored(stored, {static_cast<std::uint32_t>(stripe.size()), rolling_hash(view(stripe)), digest_of(stripe)}));
  }
  std::vector<Hit> scan(const std::string& text, std::size_t step = 1 << 16) const {
    Scanner scanner(needles);
    for (std::size_t at = 0; at < text.size(); at += step) scanner.feed(view(std::string_view(text).substr(at, step)));
    return scanner.finish();
  }
};

std::string wrapped(const std::string& text, std::size_t width, const char* end) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += width) out += text.substr(at, width) + end;
  return out;
}

}  // namespace

TEST_CASE_FIXTURE(Fixture, "keys are found wherever they stand, with line and column") {
  for (const auto& key : {issued, stripe}) {
    for (const std::string before : {"", "x", "KEY=", "a_", "kmt_", "kmt_kmt", "_", "9", "\n\n  \"", "https://h/?k="}) {
      for (const std::string after : {"", "x", "\"", "\n", "_", "0000"}) {
        CAPTURE(before);
        CAPTURE(after);
        const auto hits = scan("first line\n" + before + key + after);
        REQUIRE(hits.size() == 1);
        CHECK(hits[0].offset == 11 + before.size());
        CHECK(hits[0].encoding == "plain");
      }
    }
  }
  const auto hits = scan("a\nbb\n  " + issued + "\n" + stripe);
  REQUIRE(hits.size() == 2);
  CHECK(hits[0].line == 3);
  CHECK(hits[0].column == 3);
  CHECK(hits[1].line == 4);
  CHECK(hits[1].column == 1);
}

TEST_CASE_FIXTURE(Fixture, "base64 of them: every alignment, both alphabets, broken into lines") {
  for (const auto& key : {issued, stripe}) {
    for (std::size_t lead = 0; lead < 7; ++lead) {
      const auto encoded = base64(view(std::string(lead, 'u') + ":" + key + ":rest"));
      auto url = encoded;
      for (char& c : url) c = c == '+' ? '-' : c == '/' ? '_' : c;
      while (url.back() == '=') url.pop_back();
      for (const auto& text : {encoded, url, "data:" + encoded, "x" + encoded, "xy" + encoded, "xyz" + encoded, wrapped(encoded, 64, "\n"), wrapped(encoded, 76, "\r\n")}) {
        CAPTURE(text);
        const auto hits = scan("{\"k\":\"" + text + "\"}");
        REQUIRE(hits.size() >= 1);
        CHECK(hits[0].encoding == "base64");
      }
    }
  }
}

TEST_CASE_FIXTURE(Fixture, "UTF-16, as some editors and shells write it: both byte orders, at any place") {
  const auto wide = [](const std::string& text, bool little) {
    std::string out;
    for (const char c : text) out += little ? std::string{c, '\0'} : std::string{'\0', c};
    return out;
  };
  for (const auto& key : {issued, stripe}) {
    for (const bool little : {false, true}) {
      for (const std::string before : {"", "x", "KEY=", "line\r\nKEY=\""}) {
        const auto text = wide(before + key + "\"\r\n", little);
        const auto hits = scan(text);
        REQUIRE(hits.size() == 1);
        CHECK(hits[0].encoding == "utf-16");
        CHECK(hits[0].offset == 2 * before.size() + (little ? 0 : 1));
        CHECK(scan((little ? "\xff\xfe" : "\xfe\xff") + text).size() == 1);
        CHECK(scan("abc" + text + "def").size() == 1);
      }
      CHECK(scan(wide(std::string((1 << 19) - 10, '.') + key, little), 4099).size() == 1);
      CHECK(scan(wide(key.substr(0, key.size() - 1), little)).empty());
    }
  }
}

TEST_CASE_FIXTURE(Fixture, "pieces of any size, and borders in the middle of a key") {
  const std::string text = std::string(3 << 20, 'a') + issued + std::string(1 << 20, ' ') + stripe + base64(view(" " + issued)) + "\n";
  for (const std::size_t step : {std::size_t{1} << 20, (std::size_t{1} << 20) + 7, std::size_t{99991}}) CHECK(scan(text, step).size() == 3);
  for (std::size_t shift = 0; shift < 400; shift += 3) {
    CAPTURE(shift);
    const auto hits = scan(std::string((1 << 20) + 150 + shift, '.') + issued, 1 << 20);
    CHECK(hits.size() == 1);
  }
}

TEST_CASE_FIXTURE(Fixture, "nothing else is found: noise, other keys of the same form, keys with one character changed") {
  std::mt19937 random(1);
  std::string noise(4 << 20, ' ');
  for (char& c : noise) c = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_\n \"=+/"[random() % 69];
  CHECK(scan(noise).empty());
  CHECK(scan(to_text(make_key("kmt", "7f3k9q2x4b", SecretBytes{ByteView(Bytes(32, 0x5b))}).reveal())).empty());
  for (const auto& key : {issued, stripe}) {
    for (std::size_t i = 4; i < key.size(); ++i) {
      auto other = key;
      other[i] = other[i] == 'Q' ? 'R' : 'Q';
      CHECK(scan(other).empty());
    }
    CHECK(scan(key.substr(0, key.size() - 1)).empty());
  }
}

TEST_CASE_FIXTURE(Fixture, "reports carry no key") {
  ScanReport report;
  for (auto& hit : scan(issued + "\n" + stripe)) report.findings.push_back({"src/app.py", "", "", "", "", std::move(hit)});
  for (const auto& text : {dump_json(to_json(report)), dump_json(to_sarif(report))}) {
    CHECK(text.find("7f3k9q2x4b") != std::string::npos);
    CHECK(text.find(issued.substr(15)) == std::string::npos);
    CHECK(text.find("51Habc") == std::string::npos);
  }
  CHECK(dump_json(to_sarif(report)).find("\"version\":\"2.1.0\"") != std::string::npos);
  CHECK(gitleaks_rule("kmt").find("kmt_[0-9a-hjkmnp-tv-z]{10}_[0-9A-Za-z]{49}") != std::string::npos);
}
