#include <doctest/doctest.h>

#include <algorithm>

#include "fixture.hpp"
#include "kmtool/core/encoding.hpp"

using namespace kmtool;
using namespace kmtool::bundle;
using namespace kmtool::bundle::test;

namespace {

bool names_a_line(const std::string& message) { return message.find(": line ") != std::string::npos; }

}  // namespace

TEST_CASE("an unchanged bundle is accepted") {
  const Sample sample;
  CHECK(refusal_with_proofs(sample.path, sample.signer.public_key()) == "");
}

TEST_CASE("a change of any one byte is refused with the number of a line") {
  const Sample sample;
  const auto key = sample.signer.public_key();
  const auto path = sample.folder.file("changed");
  std::size_t accepted = 0, unnumbered = 0;
  for (const unsigned mask : {0x01U, 0x20U, 0xffU}) {
    for (std::size_t i = 0; i < sample.text.size(); ++i) {
      std::string text = sample.text;
      text[i] = static_cast<char>(static_cast<unsigned char>(text[i]) ^ mask);
      put(path, text);
      const std::string message = refusal_with_proofs(path, key);
      if (message.empty()) ++accepted;
      if (!names_a_line(message)) ++unnumbered;
    }
  }
  CHECK(accepted == 0);
  CHECK(unnumbered == 0);
}

TEST_CASE("what the format still accepts after a change is refused by each proof alone") {
  const Sample sample;
  const auto lines = lines_of(sample.text);
  const std::size_t above_seals = lines[0].size() + lines[1].size() + lines[2].size() + 3;
  const auto key = sample.signer.public_key();
  std::size_t well_formed = 0;
  for (std::size_t i = 0; i < above_seals; ++i) {
    std::string text = sample.text;
    text[i] = static_cast<char>(text[i] ^ 0x01);
    put(sample.folder.file("changed"), text);
    LineReader input(sample.folder.file("changed"), max_line);
    Summary summary;
    try {
      summary = read(input, {});
    } catch (const Error&) {
      continue;
    }
    ++well_formed;
    CHECK_THROWS_AS(signature_by(summary, key, input.name()), Error);
    for (std::size_t r = 0; r < 2; ++r) {
      CHECK_THROWS_AS(require_seal(summary, r, seal(r, summary.seal_message), input.name()), Error);
    }
  }
  CHECK(well_formed > 100);
}

TEST_CASE("a seal that is another one is refused by the signature") {
  const Sample sample;
  auto lines = lines_of(sample.text);
  lines[3] = dump(std::vector<Seal>{{.recipient = 0, .value = Bytes(32, 1)}, {.recipient = 1, .value = Bytes(32, 2)}});
  put(sample.path, joined(lines));
  CHECK(refusal_of(sample.path) == "");
  CHECK(refusal_with_proofs(sample.path, sample.signer.public_key()).find(": line 4: the seal of root@1 is wrong") !=
        std::string::npos);
  LineReader input(sample.path, max_line);
  const Summary summary = read(input, {});
  CHECK_THROWS_AS(signature_by(summary, sample.signer.public_key(), input.name()), Error);
}

TEST_CASE("every truncation is refused with the number of a line") {
  const Sample sample;
  const auto path = sample.folder.file("short");
  for (std::size_t size = 0; size < sample.text.size(); ++size) {
    put(path, sample.text.substr(0, size));
    const std::string message = refusal_of(path);
    INFO(size << ": " << message);
    REQUIRE(names_a_line(message));
  }
}

TEST_CASE("every inserted byte is refused") {
  const Sample sample;
  const auto path = sample.folder.file("long");
  const auto key = sample.signer.public_key();
  for (const char c : {'\n', '0'}) {
    for (std::size_t i = 0; i <= sample.text.size(); ++i) {
      std::string text = sample.text;
      text.insert(i, 1, c);
      put(path, text);
      const std::string message = refusal_with_proofs(path, key);
      if (!names_a_line(message)) FAIL("byte " << static_cast<int>(c) << " at " << i << ": " << message);
    }
  }
}

TEST_CASE("lines that are left out, doubled or swapped are refused") {
  const Sample sample;
  const auto whole = lines_of(sample.text);
  const auto path = sample.folder.file("moved");
  const auto refused = [&](const std::vector<std::string>& lines) {
    put(path, joined(lines));
    const std::string message = refusal_with_proofs(path, sample.signer.public_key());
    INFO(joined(lines));
    CHECK(names_a_line(message));
  };
  for (std::size_t i = 0; i < whole.size(); ++i) {
    auto lines = whole;
    lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(i));
    refused(lines);
    for (std::size_t j = 0; j <= whole.size(); ++j) {
      lines = whole;
      lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(j), whole[i]);
      refused(lines);
    }
    for (std::size_t j = i + 1; j < whole.size(); ++j) {
      lines = whole;
      std::swap(lines[i], lines[j]);
      refused(lines);
    }
  }
  auto twice = whole;
  twice.insert(twice.end(), whole.begin(), whole.end());
  refused(twice);
}

TEST_CASE("the messages of lines in the wrong place say what is there") {
  const Sample sample;
  const auto whole = lines_of(sample.text);
  const auto message_of = [&](const std::string& text) {
    put(sample.path, text);
    return refusal_of(sample.path);
  };
  const auto ends_with = [&](const std::string& text, const std::string& end) {
    const std::string message = message_of(text);
    INFO(message);
    CHECK(message == sample.path.string() + ": " + end);
  };
  ends_with("", "line 1: the file ends where the header is expected");
  ends_with(joined({whole[0]}), "line 2: the file ends where a record is expected");
  ends_with(joined({whole[0], whole[1], whole[2]}), "line 4: the file ends where the seals are expected");
  ends_with(joined({whole[0], whole[1], whole[2], whole[3]}), "line 5: the file ends where the signature is expected");
  ends_with(joined({whole[1]}), "line 1: expected the header, found a record");
  ends_with(joined({whole[0], whole[1], whole[3], whole[4]}), "line 3: expected a record, found the seals");
  ends_with(joined({whole[0], whole[1], whole[2], whole[2], whole[3], whole[4]}), "line 4: expected the seals, found a record");
  ends_with(joined({whole[0], whole[1], whole[1], whole[3], whole[4]}),
            "line 3: the same key name and version, or the same id, as line 2");
  ends_with(sample.text + whole[4] + "\n", "line 6: something follows the signature");
  ends_with(sample.text + "\n", "line 6: something follows the signature");
  ends_with(sample.text.substr(0, sample.text.size() - 1), "line 5: no line end: the file is cut short");
}
