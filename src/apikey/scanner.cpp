#include <algorithm>
#include <array>
#include <tuple>

#include "kmtool/apikey/scan.hpp"

namespace kmtool::apikey {

namespace {

constexpr std::size_t piece = std::size_t{1} << 20;
constexpr std::uint8_t none = 0xff;
/// A log may have a key in each of its lines: further ones are counted.
constexpr std::size_t most_of_one = 1000;

/// Of both alphabets (RFC 4648, 4 and 5).
constexpr std::array<std::uint8_t, 256> make_digits() {
  std::array<std::uint8_t, 256> digits{};
  digits.fill(none);
  constexpr std::string_view standard = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < standard.size(); ++i) digits[static_cast<unsigned char>(standard[i])] = static_cast<std::uint8_t>(i);
  digits['-'] = 62;
  digits['_'] = 63;
  return digits;
}
constexpr auto digits = make_digits();

bool is_break(std::uint8_t c) { return c == '\n' || c == '\r'; }

/// From the character `skip` on; a rest of two or three characters gives one or two bytes.
void decode(const std::vector<std::uint32_t>& places, ByteView text, std::size_t skip, Bytes& out) {
  out.clear();
  std::uint32_t group = 0;
  std::size_t bits = 0;
  for (std::size_t i = skip; i < places.size(); ++i) {
    group = (group << 6 | digits[text[places[i]]]) & 0xffffff;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    out.push_back(static_cast<std::uint8_t>(group >> bits));
  }
}

}  // namespace

/// Encoded, and broken into lines, a key is at most half as long again; as much again in front of it and behind it.
Scanner::Scanner(const Needles& needles) : needles_(needles), overlap_(2 * needles.longest() + 256) {}

void Scanner::feed(ByteView bytes) {
  while (!bytes.empty()) {
    const auto part = bytes.subspan(0, std::min(bytes.size(), overlap_ + piece - std::min(buffer_.size(), overlap_ + piece)));
    append(buffer_, part);
    bytes = bytes.subspan(part.size());
    if (buffer_.size() >= overlap_ + piece) look(false);
  }
}

std::vector<Hit> Scanner::finish() {
  look(true);
  std::sort(hits_.begin(), hits_.end(), [](const Hit& a, const Hit& b) { return std::tie(a.offset, a.needle.id) < std::tie(b.offset, b.needle.id); });
  return std::move(hits_);
}

void Scanner::look(bool last) {
  seen_.clear();
  needles_.find_in(buffer_, [&](std::size_t at, std::size_t, const Needles::Needle& needle) { seen_.push_back({at, "plain", &needle}); });
  look_at_base64(buffer_);
  look_at_utf16(buffer_);
  std::sort(seen_.begin(), seen_.end(), [](const Seen& a, const Seen& b) { return a.at < b.at; });
  // What begins behind `done` is seen again in the next piece, and whole.
  const std::size_t done = last ? buffer_.size() : buffer_.size() - overlap_;
  auto next = seen_.begin();
  for (std::size_t i = 0; i < done; ++i) {
    for (; next != seen_.end() && next->at == i; ++next) hit(*next);
    ++column_before_;
    if (buffer_[i] != '\n') continue;
    ++lines_before_;
    column_before_ = 0;
  }
  buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(done));
  base_ += done;
}

void Scanner::hit(const Seen& seen) {
  auto& of = of_needle_[seen.needle];
  if (++of.count <= most_of_one) {
    if (of.count == 1) of.first = hits_.size();
    hits_.push_back({seen.encoding, base_ + seen.at, lines_before_ + 1, column_before_ + 1, 0, *seen.needle});
  } else {
    ++hits_[of.first].more;
  }
}

void Scanner::look_at_base64(ByteView text) {
  const std::size_t shortest = (needles_.shortest() * 4 + 2) / 3;
  std::vector<std::uint32_t> places;
  for (std::size_t at = 0; at < text.size();) {
    places.clear();
    while (at < text.size()) {
      if (digits[text[at]] != none) {
        places.push_back(static_cast<std::uint32_t>(at++));
        continue;
      }
      std::size_t next = at;
      while (next < text.size() && next < at + 2 && is_break(text[next])) ++next;
      if (places.empty() || next == at || next >= text.size() || digits[text[next]] == none) break;
      at = next;
    }
    if (places.size() >= shortest) look_at_run(places, text);
    ++at;
  }
}

/// Of either byte order: every second byte is 0.
void Scanner::look_at_utf16(ByteView text) {
  if (std::find(text.begin(), text.end(), 0) == text.end()) return;
  Bytes narrow;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    narrow.clear();
    while (at < text.size() && text[at] != 0) {
      narrow.push_back(text[at++]);
      if (at == text.size() || text[at] != 0) break;
      ++at;
    }
    if (narrow.size() >= needles_.shortest()) {
      needles_.find_in(narrow, [&](std::size_t found, std::size_t, const Needles::Needle& needle) { seen_.push_back({begin + 2 * found, "utf-16", &needle}); });
    }
    if (narrow.empty()) ++at;
  }
}

/// Nobody knows where in the run the encoding began: one of four places.
void Scanner::look_at_run(const std::vector<std::uint32_t>& places, ByteView text) {
  Bytes decoded;
  for (std::size_t skip = 0; skip < 4; ++skip) {
    decode(places, text, skip, decoded);
    needles_.find_in(decoded, [&](std::size_t at, std::size_t, const Needles::Needle& needle) {
      seen_.push_back({places[skip + at * 4 / 3], "base64", &needle});
    });
  }
}

}  // namespace kmtool::apikey
