#include "kmtool/share/share.hpp"

#include <doctest/doctest.h>

#include <numeric>
#include <utility>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/error.hpp"

namespace kmtool::share {

namespace {

constexpr const char* bundle = "e5506cfc-d9ae-4ffe-a779-6ce00ccfadb0";

SecretBytes octets(std::size_t size, std::uint8_t first, std::uint8_t step = 37) {
  SecretBytes bytes(size);
  for (auto& octet : bytes.reveal_mutable()) octet = std::exchange(first, static_cast<std::uint8_t>(first * 5 + step));
  return bytes;
}

std::vector<Share> shares_of(const Quorum& quorum, std::uint8_t seed = 3) {
  install_secret_heap();
  auto shares = split(octets(32, seed), quorum, bundle, octets(random_needed(quorum), 11));
  for (auto& share : shares) share.custodian = "custodian-" + std::to_string(share.index);
  return shares;
}

Share copy_of(const Share& share) {
  Share copy;
  copy.bundle = share.bundle;
  copy.index = share.index;
  copy.quorum = share.quorum;
  copy.custodian = share.custodian;
  copy.value = SecretBytes(share.value.reveal());
  return copy;
}

std::string text_of(const Share& share) { return to_text(dump(share).reveal()); }

std::string why(const std::string& text) {
  try {
    parse(SecretBytes(view(text)), "x.share");
  } catch (const Error& error) {
    CHECK((error.exit() == ExitCode::damaged || error.exit() == ExitCode::refused));
    return error.message();
  }
  return "read";
}

/// Multiplication in GF(2^8) with libgfshare's polynomial, 0x11d.
unsigned times(unsigned a, unsigned b) {
  unsigned product = 0;
  for (; b != 0; b >>= 1, a = (a << 1) ^ ((a & 0x80) != 0 ? 0x11d : 0)) product ^= (b & 1) != 0 ? a : 0;
  return product;
}

}  // namespace

TEST_CASE("every subset that is large enough gives the secret") {
  for (const auto& [needed, count] : {std::pair{2U, 2U}, {2U, 3U}, {3U, 5U}, {5U, 5U}, {4U, 6U}}) {
    const auto shares = shares_of({needed, count});
    REQUIRE(shares.size() == count);
    const auto secret = octets(32, 3);
    for (unsigned subset = 0; subset < 1U << count; ++subset) {
      std::vector<Share> chosen;
      for (unsigned i = 0; i < count; ++i) {
        if ((subset >> i & 1U) != 0) chosen.insert(chosen.begin(), copy_of(shares[i]));
      }
      if (chosen.size() < needed) {
        CHECK_THROWS_AS(combine(chosen, octets(32, 9)), Error);
      } else {
        CHECK(combine(chosen, octets(32, 9)).equals(secret));
      }
    }
  }
}

TEST_CASE("shares lie on a polynomial whose coefficients are the random octets that were handed in") {
  const Quorum quorum{3, 5};
  const auto secret = octets(32, 3);
  const auto random = octets(random_needed(quorum), 11);
  for (const auto& share : shares_of(quorum)) {
    for (std::size_t i = 0; i < 32; ++i) {
      // The two rows of coefficients, in one order or the other.
      const unsigned x = share.index, a = random.reveal()[32 + i], b = random.reveal()[64 + i], s = secret.reveal()[i];
      const unsigned value = share.value.reveal()[i];
      const bool one = value == (s ^ times(a, x) ^ times(b, times(x, x)));
      const bool other = value == (s ^ times(b, x) ^ times(a, times(x, x)));
      CHECK((one || other));
    }
  }
}

TEST_CASE("the mask does not show in the result") {
  const auto shares = shares_of({2, 3});
  CHECK(combine(shares, octets(32, 1)).equals(combine(shares, octets(32, 200))));
}

TEST_CASE("a share's text is read back, however it was typed") {
  for (const auto& share : shares_of({3, 5})) {
    const auto text = text_of(share);
    CHECK(text.starts_with("kmtool share 1\n"));
    for (const char c : text) CHECK((c == '\n' || (c >= ' ' && c <= '~')));
    const auto same = [&](const std::string& typed) {
      const auto back = parse(SecretBytes(view(typed)), "x");
      CHECK(back.bundle == share.bundle);
      CHECK(back.index == share.index);
      CHECK(back.quorum.needed == 3);
      CHECK(back.quorum.shares == 5);
      CHECK(back.custodian == share.custodian);
      CHECK(back.value.equals(share.value));
      CHECK(commitment(back) == commitment(share));
    };
    same(text);
    std::string typed;
    bool secret = false;
    for (const char c : text) {
      if (c == '\n') typed += "  \r\n\n";
      if (typed.ends_with("\n\n") && c >= '1' && c <= '4') secret = true;
      typed += secret && c != 'c' ? static_cast<char>(std::tolower(c)) : c;
    }
    same(typed);
    std::string letters = text;  // O for 0, l for 1, nothing between the groups
    const auto first = letters.find("\n1 ") + 3;
    for (auto i = first; i < letters.size(); ++i) {
      const bool row_number = letters[i - 1] == '\n';
      if (letters[i] == '0') letters[i] = 'o';
      if (letters[i] == '1' && !row_number) letters[i] = 'l';
      if (letters[i] == '-') letters[i] = ' ';
    }
    same(letters);
  }
}

TEST_CASE("a mistyped character is found, and its line named") {
  const auto share = std::move(shares_of({2, 3})[1]);
  const auto text = text_of(share);
  std::size_t line = 1, found = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n') {
      ++line;
      continue;
    }
    if (line < 7 || line > 10 || i - text.rfind('\n', i) < 11 || text[i] == '-') continue;
    std::string typed = text;
    typed[i] = typed[i] == '7' ? '8' : '7';
    CHECK(why(typed).find("line " + std::to_string(line) + ": row") != std::string::npos);
    ++found;
  }
  CHECK(found == 64);
  // Two rows exchanged, and a share whose head was changed.
  std::string other = text;
  other.replace(other.find("2 of 3"), 6, "3 of 3");
  CHECK(why(other).find("does not match its check: something above") != std::string::npos);
  other = text;
  other.replace(other.find("custodian-2"), 11, "custodian-3");
  CHECK(why(other).find("does not match its check") != std::string::npos);
  CHECK(why(text + "more\n").find("something follows") != std::string::npos);
  CHECK(why(text.substr(0, text.find("check"))).find("expected \"check\"") != std::string::npos);
  CHECK(why("").find("not a share") != std::string::npos);
  CHECK(why("kmtool share 2\n").find("version") != std::string::npos);
  CHECK(why("-----BEGIN CMS-----\n").find("still encrypted") != std::string::npos);
}

TEST_CASE("what is not a share at all is refused and not read") {
  const auto text = text_of(shares_of({2, 3})[0]);
  for (std::size_t size = 0; size + 1 < text.size(); ++size) CHECK(why(text.substr(0, size)) != "read");
  for (const char* numbers : {"0 of 3", "4 of 3", "1 of 999", "1 in 3", "x of y", "1 of"}) {
    std::string other = text;
    other.replace(other.find("1 of 3"), 6, numbers);
    CHECK(why(other) != "read");
  }
}

TEST_CASE("quorums are two of two at least") {
  CHECK(Quorum::parse("3/5").needed == 3);
  CHECK(Quorum::parse("255/255").shares == 255);
  for (const char* text : {"", "3", "3/", "/5", "1/5", "0/5", "6/5", "3/256", "3/5/7", "03/5", "-3/5", "3 /5", "3/5x"}) {
    CHECK_THROWS_AS(Quorum::parse(text), Error);
  }
}

}  // namespace kmtool::share
