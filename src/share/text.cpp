#include <fmt/format.h>

#include <array>
#include <charconv>
#include <optional>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/locked_heap.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/crypto/digest.hpp"
#include "kmtool/crypto/gate.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/share/share.hpp"

namespace kmtool::share {

namespace {

constexpr std::string_view first_line = "kmtool share 1";
constexpr std::string_view digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";  // D. Crockford's base 32: no I, L, O, U
constexpr std::size_t line_octets = 8, lines = crypto::gate_secret_size / line_octets;
constexpr std::size_t group = 10, group_digits = 16;  // 80 bits: 8 octets and 2 of check, or 10 of check
constexpr std::size_t max_text = 4096;

using Group = std::array<std::uint8_t, group>;

/// 16 bits over one line, so that the line that was mistyped can be named.
void line_check(std::size_t number, ByteView octets, std::uint8_t* to) {
  SecretBytes message(22 + line_octets);
  const std::string_view domain = "kmtool-share-line-v1\n";
  auto room = message.reveal_mutable();
  std::copy(domain.begin(), domain.end(), room.begin());
  room[domain.size()] = static_cast<std::uint8_t>(number);
  std::copy(octets.begin(), octets.end(), room.begin() + static_cast<std::ptrdiff_t>(domain.size()) + 1);
  auto digest = crypto::sha256(message.reveal());
  std::copy(digest.begin(), digest.begin() + 2, to);
  cleanse(digest.data(), digest.size());
}

/// 80 bits over everything.
Group whole_check(const Share& share) {
  const std::string head = fmt::format("kmtool-share-v1\n{}\n{} {} {}\n{}\n", share.bundle, share.index, share.quorum.shares,
                                       share.quorum.needed, share.custodian);
  SecretBytes message(head.size() + share.value.size());
  auto room = message.reveal_mutable();
  std::copy(head.begin(), head.end(), room.begin());
  const auto value = share.value.reveal();
  std::copy(value.begin(), value.end(), room.begin() + static_cast<std::ptrdiff_t>(head.size()));
  auto digest = crypto::sha256(message.reveal());
  Group check{};
  std::copy(digest.begin(), digest.begin() + group, check.begin());
  cleanse(digest.data(), digest.size());
  return check;
}

/// Appends into locked memory of a fixed size.
class Text {
 public:
  void add(std::string_view text) {
    const auto room = bytes_.reveal_mutable().subspan(used_);
    if (text.size() > room.size()) throw Error::internal("a share does not fit its text");
    std::copy(text.begin(), text.end(), room.begin());
    used_ += text.size();
  }
  /// XXXX-XXXX-XXXX-XXXX
  void add(const Group& octets) {
    for (std::size_t digit = 0; digit < group_digits; ++digit) {
      unsigned value = 0;
      for (std::size_t bit = digit * 5; bit < digit * 5 + 5; ++bit) value = value << 1 | (octets[bit / 8] >> (7 - bit % 8) & 1U);
      if (digit > 0 && digit % 4 == 0) add("-");
      add(digits.substr(value, 1));
    }
  }
  SecretBytes take() {
    bytes_.truncate(used_);
    return std::move(bytes_);
  }

 private:
  SecretBytes bytes_{max_text};
  std::size_t used_ = 0;
};

std::optional<unsigned> digit_of(char c) {
  if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  if (c == 'O') c = '0';
  if (c == 'I' || c == 'L') c = '1';
  const auto place = digits.find(c);
  if (place == std::string_view::npos) return std::nullopt;
  return static_cast<unsigned>(place);
}

/// Walks through the lines that matter, in their order.
class Lines {
 public:
  Lines(std::string_view text, std::string name) : rest_(text), name_(std::move(name)) {}

  [[noreturn]] void fail(const std::string& what, const std::string& hint = {}) const {
    throw Error::tampered(fmt::format("{}: line {}: {}", printable(name_), number_, what),
                          hint.empty() ? "compare the file with the paper or the medium that it was taken from" : hint);
  }
  /// The next line that is neither empty nor a comment, without blanks around it.
  std::string_view next() {
    while (!rest_.empty()) {
      ++number_;
      const auto end = rest_.find('\n');
      auto line = rest_.substr(0, end);
      rest_ = end == std::string_view::npos ? std::string_view{} : rest_.substr(end + 1);
      while (!line.empty() && (line.back() == ' ' || line.back() == '\r' || line.back() == '\t')) line.remove_suffix(1);
      while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
      if (!line.empty() && line.front() != '#') return line;
    }
    ++number_;
    return {};
  }
  /// `WORD value`; the value.
  std::string_view field(std::string_view word) {
    auto line = next();
    if (!line.starts_with(word) || line.size() <= word.size() || line[word.size()] != ' ')
      fail(fmt::format("expected \"{}\"", word));
    line.remove_prefix(word.size());
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    return line;
  }
  unsigned number(std::string_view text) const {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value == 0 || value > 255)
      fail("expected a number from 1 to 255");
    return value;
  }
  Group octets(std::string_view word) {
    Group out{};
    std::size_t count = 0;
    for (const char c : field(word)) {
      if (c == '-' || c == ' ') continue;
      const auto value = digit_of(c);
      if (!value) fail(fmt::format("a character that no share has; expected {} of {}", group_digits, digits));
      if (count == group_digits) fail(fmt::format("more than {} characters", group_digits));
      for (unsigned bit = 0; bit < 5; ++bit) {
        const std::size_t at = count * 5 + bit;
        if ((*value >> (4 - bit) & 1U) != 0) out[at / 8] = static_cast<std::uint8_t>(out[at / 8] | (1U << (7 - at % 8)));
      }
      ++count;
    }
    if (count < group_digits) fail(fmt::format("{} of {} characters are missing", group_digits - count, group_digits));
    return out;
  }

 private:
  std::string_view rest_;
  std::string name_;
  std::size_t number_ = 0;
};

}  // namespace

Quorum Quorum::parse(const std::string& text) {
  const auto fail = [&text]() {
    throw Error::usage(printable(text) + " is not a quorum", "write M/N, such as 3/5: any 3 of 5 shares; 2 to 255");
  };
  const auto parts = kmtool::split(text, '/');
  Quorum quorum;
  if (parts.size() != 2) fail();
  for (std::size_t i = 0; i < 2; ++i) {
    unsigned& value = i == 0 ? quorum.needed : quorum.shares;
    const auto [end, error] = std::from_chars(parts[i].data(), parts[i].data() + parts[i].size(), value);
    if (error != std::errc{} || end != parts[i].data() + parts[i].size() || parts[i].size() > 3 || parts[i][0] == '0') fail();
  }
  if (quorum.needed < 2)
    throw Error::usage("a quorum of one is none: each custodian alone could open the bundle", "write 2/3 or more");
  if (quorum.needed > quorum.shares || quorum.shares > 255) fail();
  return quorum;
}

SecretBytes dump(const Share& share) {
  if (share.value.size() != crypto::gate_secret_size) throw Error::internal("a share of the wrong length");
  Text text;
  text.add(fmt::format(
      "{}\n# Secret. Any {} of the {} shares together open the bundle. Check yours: kmtool share verify FILE --bundle BUNDLE\n",
      first_line, share.quorum.needed, share.quorum.shares));
  text.add(fmt::format("bundle    {}\nshare     {} of {}\nneeded    {}\ncustodian {}\n", share.bundle, share.index,
                       share.quorum.shares, share.quorum.needed, share.custodian));
  for (std::size_t i = 0; i < lines; ++i) {
    const auto octets = share.value.reveal().subspan(i * line_octets, line_octets);
    Group line{};
    std::copy(octets.begin(), octets.end(), line.begin());
    line_check(i + 1, octets, line.data() + line_octets);
    text.add(fmt::format("{}         ", i + 1));
    text.add(line);
    text.add("\n");
    cleanse(line.data(), line.size());
  }
  text.add("check     ");
  text.add(whole_check(share));
  text.add("\n");
  return text.take();
}

Share parse(const SecretBytes& text, const std::string& name) {
  const std::string_view all(reinterpret_cast<const char*>(text.reveal().data()), text.size());
  if (all.find("-----BEGIN CMS") != std::string_view::npos) {
    throw Error::refused("quorum", printable(name) + " is still encrypted to its custodian",
                         "the custodian opens it: openssl cms -decrypt -inform PEM -in FILE -inkey KEY -out SHARE");
  }
  Lines lines_of(all, name);
  const auto first = lines_of.next();
  if (first != first_line) {
    if (first.starts_with("kmtool share ")) lines_of.fail("a version of the format that this kmtool does not know");
    lines_of.fail("this is not a share: it must begin with \"kmtool share 1\"");
  }
  Share share;
  share.bundle = std::string(lines_of.field("bundle"));
  for (char& c : share.bundle) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (!is_uuid(share.bundle)) lines_of.fail("expected the bundle's id");
  const auto numbers = kmtool::split(std::string(lines_of.field("share")), ' ');
  if (numbers.size() != 3 || numbers[1] != "of") lines_of.fail("expected \"share I of N\"");
  share.index = lines_of.number(numbers[0]);
  share.quorum.shares = lines_of.number(numbers[2]);
  share.quorum.needed = lines_of.number(lines_of.field("needed"));
  if (share.index > share.quorum.shares || share.quorum.needed > share.quorum.shares || share.quorum.needed < 2) {
    lines_of.fail("the numbers of shares contradict each other");
  }
  share.custodian = std::string(lines_of.field("custodian"));
  if (!is_name(share.custodian)) lines_of.fail("expected the custodian's name");
  share.value = SecretBytes(crypto::gate_secret_size);
  for (std::size_t i = 0; i < lines; ++i) {
    Group line = lines_of.octets(std::to_string(i + 1));
    std::uint8_t check[2];
    line_check(i + 1, ByteView(line).first(line_octets), check);
    const bool good = check[0] == line[line_octets] && check[1] == line[line_octets + 1];
    std::copy(line.begin(), line.begin() + line_octets,
              share.value.reveal_mutable().begin() + static_cast<std::ptrdiff_t>(i * line_octets));
    cleanse(line.data(), line.size());
    if (!good)
      lines_of.fail(fmt::format("row {} of the share does not match its check: a character was mistyped or changed", i + 1));
  }
  if (lines_of.octets("check") != whole_check(share))
    lines_of.fail("the share does not match its check: something above was changed");
  if (!lines_of.next().empty()) lines_of.fail("something follows the share");
  return share;
}

Share read_share(const std::filesystem::path& path) {
  return parse(read_secret_file(path, std::size_t{64} << 10), path.string());
}

std::string commitment(const Share& share) {
  const std::string head = fmt::format("kmtool-share-commitment-v1\n{}\n{}\n", share.bundle, share.index);
  SecretBytes message(head.size() + share.value.size());
  auto room = message.reveal_mutable();
  std::copy(head.begin(), head.end(), room.begin());
  const auto value = share.value.reveal();
  std::copy(value.begin(), value.end(), room.begin() + static_cast<std::ptrdiff_t>(head.size()));
  return hex(crypto::sha256(message.reveal()));
}

}  // namespace kmtool::share
