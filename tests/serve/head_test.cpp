#include "serve/head.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

using namespace kmtool::serve;
using State = HeadResult::State;

namespace {

struct Read {
  Head head;
  HeadResult result;
};

Read read(const std::string& bytes) {
  Read out;
  std::size_t seen = 0;
  out.result = read_head(bytes, out.head, seen);
  return out;
}

std::string request(const std::string& fields, const std::string& line = "GET /auth HTTP/1.1") {
  return line + "\r\nHost: gate\r\n" + fields + "\r\n";
}

std::string why(const std::string& bytes) {
  const auto got = read(bytes);
  return got.result.state == State::refused ? got.result.why : got.result.state == State::complete ? "complete" : "incomplete";
}

}  // namespace

TEST_CASE("a head and its fields") {
  const std::string bytes = request(
                                "x-api-KEY:  abc \r\nX-Forwarded-For: 1.2.3.4\r\nx-forwarded-for: 5.6.7.8\r\nAccept: "
                                "*/*\r\nX-Forwarded-Proto: https\r\n") +
                            "GET /next";
  const auto got = read(bytes);
  const Head& head = got.head;
  REQUIRE(got.result.state == State::complete);
  CHECK(got.result.size == bytes.size() - 9);
  CHECK(head.method == "GET");
  CHECK(head.target == "/auth");
  CHECK(head.keep_alive);
  CHECK_FALSE(head.has_body);
  CHECK(head.field(Name::api_key) == "abc");
  CHECK(head.field(Name::forwarded_for) == "1.2.3.4");
  REQUIRE(head.fields.size() == 4);
  CHECK(head.fields[2].value == "5.6.7.8");
  CHECK(head.has(Name::proxied));
  CHECK_FALSE(head.has(Name::referrer));
}

TEST_CASE("bodies and keeping alive") {
  CHECK_FALSE(read(request("Content-Length: 0\r\n")).head.has_body);
  CHECK_FALSE(read(request("Content-Length: 000\r\n")).head.has_body);
  CHECK(read(request("Content-Length: 10\r\n")).head.has_body);
  CHECK(read(request("Transfer-Encoding: Chunked\r\n")).head.has_body);
  CHECK_FALSE(read(request("Connection: close\r\n")).head.keep_alive);
  CHECK_FALSE(read(request("Connection: x, CLOSE\r\n")).head.keep_alive);
  CHECK(read(request("Connection: keep-alive\r\n")).head.keep_alive);
  CHECK_FALSE(read(request("Connection: keep-alive\r\n", "GET / HTTP/1.0")).head.keep_alive);
}

TEST_CASE("whatever two parsers might read differently is refused") {
  struct Row {
    const char* fields;
    const char* why;
  };
  const Row rows[] = {
      {"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "length-and-encoding"},
      {"Content-Length: 1\r\nContent-Length: 1\r\n", "two-lengths"},
      {"Content-Length: 1, 1\r\n", "bad-length"},
      {"Content-Length: \r\n", "bad-length"},
      {"Content-Length: 1a\r\n", "bad-length"},
      {"Content-Length: 9999999999999999999\r\n", "bad-length"},
      {"Transfer-Encoding: identity\r\n", "bad-encoding"},
      {"Transfer-Encoding: \r\n", "bad-encoding"},
      {"Transfer-Encoding: chunked;q=1\r\n", "bad-encoding"},
      {"Host: again\r\n", "two-hosts"},
      {"X: a\r\n b\r\n", "folded-line"},
      {"X: a\rb\r\n", "bare-cr"},
      {"X: a\nb\r\n", "bare-lf"},
      {"X: a\n\r\n", "bare-lf"},
      {"X : a\r\n", "bad-field"},
      {"X\r\n", "bad-field"},
      {"X\t: a\r\n", "bad-field"},
      {"X: \x01\r\n", "control-character"},
      {"Referer: a\r\nreferer: b\r\n", "repeated-field"},
      {"X-Kmtool-Scope: a\r\nX-Kmtool-Scope: b\r\n", "complete"},
      {"X: \xc3\xa4\r\n", "complete"},
      {"X:\r\n", "complete"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.fields);
    CHECK(why(request(row.fields)) == row.why);
  }
  CHECK(why(request("Transfer-Encoding: chunked\r\n", "POST / HTTP/1.0")) == "encoding-in-1.0");
  CHECK(why("GET / HTTP/1.1\r\n\r\n") == "no-host");
  CHECK(why("GET / HTTP/1.0\r\n\r\n") == "complete");
  CHECK(why(request("Content-Length: 2\r\n") + " x") == "complete");  // a body may begin with a blank
  CHECK(why(std::string("GET /\0 HTTP/1.1\r\n", 18)) == "control-character");
}

TEST_CASE("every refusal is a word that the metrics know") {
  const auto& all = head_refusals();
  for (const auto* bytes :
       {"\n", "GET / HTTP/3.0\r\n\r\n", "GET x HTTP/1.1\r\n\r\n", "G@T / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "\r\r"}) {
    CAPTURE(bytes);
    CHECK(std::find(all.begin(), all.end(), why(bytes)) != all.end());
  }
}

TEST_CASE("limits") {
  const std::size_t room = max_head - request("X: \r\n").size();
  CHECK(why(request("X: " + std::string(room, 'a') + "\r\n")) == "complete");
  CHECK(why(request("X: " + std::string(room + 1, 'a') + "\r\n")) == "head-too-large");
  CHECK(why(std::string(max_head, 'a')) == "head-too-large");
  CHECK(why(std::string(max_head - 1, 'a')) == "incomplete");
  std::string many;
  for (std::size_t i = 0; i < max_fields; ++i) many += "X: 1\r\n";
  CHECK(why(request(many)) == "too-many-fields");  // Host is one of them
  CHECK(why(request(many.substr(6))) == "complete");
}

TEST_CASE("byte by byte is the same as at once") {
  for (const std::string& bytes : {request("X-Api-Key: k\r\nX-Forwarded-For: 1.2.3.4\r\n"), request("X: a\r\n b\r\n"),
                                   request("X: a\nb\r\n"), request("X: a\rb\r\n")}) {
    const auto whole = read(bytes);
    Head head;
    HeadResult result;
    std::size_t seen = 0, size = 0;
    while (result.state == State::incomplete && size < bytes.size())
      result = read_head(std::string_view(bytes).substr(0, ++size), head, seen);
    CHECK(result.state == whole.result.state);
    CHECK(std::string(result.why) == whole.result.why);
    CHECK(result.size == whole.result.size);
    CHECK(head.fields.size() == whole.head.fields.size());
  }
}

TEST_CASE("noise is refused, incomplete or a head that ends where it should") {
  std::mt19937 random(4711);
  const std::string good = request("X-Api-Key: abc\r\nContent-Length: 5\r\nX-Forwarded-For: 1.2.3.4, 5.6.7.8\r\n");
  int complete = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = good;
    for (unsigned changes = random() % 4 + 1; changes > 0; --changes) {
      const std::size_t place = random() % bytes.size();
      if (random() % 3 == 0) {
        bytes.erase(place, random() % 3);
      } else {
        bytes.insert(place, 1, "\r\n\t \0:,=x\xff"[random() % 10]);
      }
      if (bytes.empty()) bytes = "x";
    }
    const auto got = read(bytes);
    if (got.result.state != State::complete) continue;
    ++complete;
    REQUIRE(bytes.find("\r\n\r\n") == got.result.size - 4);
    for (const auto& field : got.head.fields) REQUIRE(field.value.find_first_of("\r\n") == std::string_view::npos);
  }
  CHECK(complete > 1000);
}
