#include "kmtool/apikey/snapshot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unordered_map>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"

namespace kmtool::apikey {

namespace {

constexpr std::string_view algorithm = "ecdsa-p256-sha256";
constexpr std::int64_t most_sequence = std::int64_t{1} << 52;

std::string quoted_time(const std::optional<UnixTime>& time) { return time ? "\"" + rfc3339(*time) + "\"" : "null"; }

std::string header_line(const SnapshotHeader& header) {
  return dump_json(Json{{"kmapikeys", 1},
                        {"home", header.home},
                        {"sequence", header.sequence},
                        {"created", rfc3339(header.created)},
                        {"not_after", rfc3339(header.not_after)},
                        {"creator", header.creator},
                        {"keys", header.keys}});
}

std::string entry_line(const KeyEntry& key) {
  return fmt::format(R"({{"id":"{}","app":"{}","environment":"{}","digest":"{}","revoked":{},"created":{},"not_before":{},"expires":{},"until":{},"restrictions":{}}})",
                     key.id, key.app, key.environment, hex(key.digest), key.revoked, quoted_time(key.created), quoted_time(key.not_before),
                     quoted_time(key.expires), quoted_time(key.until), dump_json(key.restrictions->to_json()));
}

std::string signature_line(const std::string& key, ByteView value) {
  return dump_json(Json{{"signature", {{"algorithm", algorithm}, {"key", key}, {"value", base64(value)}}}});
}

constexpr std::uint8_t no_digit = 0xff;
constexpr std::array<std::uint8_t, 256> make_hex_digits() {
  std::array<std::uint8_t, 256> digits{};
  digits.fill(no_digit);
  for (std::uint8_t i = 0; i < 16; ++i) digits[static_cast<unsigned char>("0123456789abcdef"[i])] = i;
  return digits;
}
constexpr auto hex_digits = make_hex_digits();

/// Small digits only, as hex() writes them; false where it is no digest.
bool read_digest(std::string_view text, KeyDigest& digest) {
  if (text.size() != 2 * digest.size()) return false;
  unsigned bad = 0;
  for (std::size_t i = 0; i < digest.size(); ++i) {
    const unsigned high = hex_digits[static_cast<unsigned char>(text[2 * i])], low = hex_digits[static_cast<unsigned char>(text[2 * i + 1])];
    bad |= high | low;
    digest[i] = static_cast<std::uint8_t>(high << 4 | (low & 15U));
  }
  return (bad & 0x80U) == 0;
}

/// The lines, each refused under its own number.
class Reader {
 public:
  Reader(std::string_view text, const std::string& name) : text_(text), name_(name), fail_([this](const std::string& what) { fail(what); }) {}
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  [[noreturn]] void fail(const std::string& what) const {
    const auto number = number_ == 0 ? static_cast<std::size_t>(std::count(text_.begin(), text_.end(), '\n')) : number_;
    throw Error::tampered(fmt::format("{}: line {}: {}", printable(name_), number, what), "get the snapshot again from the host that published it");
  }
  std::string_view line() {
    ++number_;
    const auto end = text_.find('\n', at_);
    if (end == std::string_view::npos) fail("the file ends too early");
    const auto line = text_.substr(at_, end - at_);
    at_ = end + 1;
    return line;
  }
  [[nodiscard]] bool at_end() const { return at_ == text_.size(); }
  [[nodiscard]] const JsonFail& failing() const { return fail_; }
  void number(std::size_t line) { number_ = line; }
  void number_of_last() { number_ = 0; }  ///< counted only where it is told

 private:
  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0, number_ = 0;
  JsonFail fail_;
};

/// A line in kmtool's own spelling, taken from the front: a hundred thousand of them are read in a fraction of a second, and what is
/// spelled otherwise is refused.
class Cursor {
 public:
  Cursor(std::string_view line, const Reader& reader) : rest_(line), reader_(reader) {}

  void expect(std::string_view text) {
    if (!rest_.starts_with(text)) reader_.fail(fmt::format("expected {}", text));
    rest_.remove_prefix(text.size());
  }
  std::string_view quoted() {
    expect("\"");
    const auto end = rest_.find('"');
    if (end == std::string_view::npos) reader_.fail("a text does not end");
    const auto text = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return text;
  }
  std::optional<UnixTime> time() {
    if (rest_.starts_with("null")) {
      expect("null");
      return std::nullopt;
    }
    const auto text = quoted();
    const auto time = parse_rfc3339(text);
    if (!time || text.size() != 20) reader_.fail("a time is not well-formed");
    return time;
  }
  bool boolean() {
    const bool value = rest_.starts_with("true");
    expect(value ? "true" : "false");
    return value;
  }
  /// All but the last character, which must be `}`.
  std::string_view object() {
    if (rest_.empty() || rest_.back() != '}') reader_.fail("the line does not end with }");
    return rest_.substr(0, rest_.size() - 1);
  }

 private:
  std::string_view rest_;
  const Reader& reader_;
};

/// Many keys have the same restrictions: each text is parsed once.
class RestrictionTexts {
 public:
  explicit RestrictionTexts(const Reader& reader) : reader_(reader) {}
  const SharedRestrictions& parse(std::string_view text) {
    const auto [known, fresh] = seen_.try_emplace(text);
    if (!fresh) return known->second;
    if (auto canonical = Restrictions::from_canonical(text)) return known->second = std::move(*canonical);
    auto restrictions = Restrictions::from_json(parse_json(text, reader_.failing()), reader_.failing());
    if (dump_json(restrictions.to_json()) != text) reader_.fail("restrictions: not in the one spelling");
    return known->second = std::move(restrictions);
  }

 private:
  const Reader& reader_;
  std::unordered_map<std::string_view, SharedRestrictions> seen_;
};

KeyEntry parse_entry(std::string_view line, const Reader& reader, RestrictionTexts& restrictions) {
  Cursor at(line, reader);
  KeyEntry key;
  at.expect("{\"id\":");
  key.id = at.quoted();
  at.expect(",\"app\":");
  key.app = at.quoted();
  at.expect(",\"environment\":");
  key.environment = at.quoted();
  at.expect(",\"digest\":");
  const bool digest = read_digest(at.quoted(), key.digest);
  at.expect(",\"revoked\":");
  key.revoked = at.boolean();
  at.expect(",\"created\":");
  const auto created = at.time();
  at.expect(",\"not_before\":");
  key.not_before = at.time();
  at.expect(",\"expires\":");
  key.expires = at.time();
  at.expect(",\"until\":");
  key.until = at.time();
  at.expect(",\"restrictions\":");
  if (!is_id(key.id) || !is_name(key.app) || !is_name(key.environment)) reader.fail("id, app or environment is not a name");
  if (!digest) reader.fail("the digest is not one of SHA-256");
  if (!created) reader.fail("\"created\" is null");
  key.created = *created;
  key.restrictions = restrictions.parse(at.object());
  return key;
}

SnapshotHeader parse_header(std::string_view line, const Reader& reader) {
  if (!line.starts_with("{\"kmapikeys\":")) reader.fail("this is not a snapshot of API keys");
  const Json json = parse_json(line, reader.failing());
  JsonReader fields(json, reader.failing());
  SnapshotHeader header;
  const auto time = [&](const char* name) {
    const auto value = parse_rfc3339(fields.text(name));
    if (!value) reader.fail(fmt::format("\"{}\" is not a time", name));
    return *value;
  };
  fields.integer("kmapikeys", 1, 1);
  header.home = fields.text("home");
  header.sequence = static_cast<std::uint64_t>(fields.integer("sequence", 1, most_sequence));
  header.created = time("created");
  header.not_after = time("not_after");
  header.creator = fields.text("creator");
  header.keys = static_cast<std::uint64_t>(fields.integer("keys", 0, 100000000));
  fields.finish();
  if (!is_uuid(header.home)) reader.fail("\"home\" is not an id of a home");
  if (header_line(header) != line) reader.fail("not in the one spelling");
  return header;
}

/// Whose signature it is, once it has been verified over the text that has this digest. Throws damaged (65).
std::string verify(ByteView digest, std::string_view line, const Reader& reader, const std::vector<crypto::PublicKey>& signers) {
  const Json json = parse_json(line, reader.failing());
  JsonReader outer(json, reader.failing());
  JsonReader fields(outer.object("signature"), reader.failing(), "signature");
  outer.finish();
  const bool known_algorithm = fields.text("algorithm") == algorithm;
  const auto key = fields.text("key");
  const auto value = fields.base64("value");
  fields.finish();
  if (!known_algorithm || signature_line(key, value) != line) reader.fail("not in the one spelling");
  for (const auto& signer : signers) {
    if (signer.fingerprint() != key) continue;
    if (!signer.verify_ecdsa_digest(digest, value)) reader.fail("the signature is wrong: the file was changed after it was signed");
    return key;
  }
  reader.fail("it is signed by " + printable(key) + ", which is not the signer that was named");
}

}  // namespace

std::string write_snapshot(const SnapshotHeader& header, std::vector<KeyEntry> keys, const crypto::PublicKey& signer,
                           const std::function<Bytes(ByteView digest)>& sign) {
  std::sort(keys.begin(), keys.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  auto complete = header;
  complete.keys = keys.size();
  std::string text = header_line(complete) + "\n";
  for (const auto& key : keys) text += entry_line(key) + "\n";
  return text + signature_line(signer.fingerprint(), sign(crypto::sha256(view(text)))) + "\n";
}

Snapshot read_snapshot(std::string_view text, const std::string& name, const std::vector<crypto::PublicKey>& signers) {
  Reader reader(text, name);
  reader.number(1);
  if (!text.starts_with("{\"kmapikeys\":") || text.back() != '\n') reader.fail("this is not a snapshot of API keys, or not the whole of it");
  const auto last = text.rfind('\n', text.size() - 2) + 1;
  if (last == 0) reader.fail("the signature is missing");
  reader.number_of_last();
  Snapshot snapshot;
  crypto::Digest digest(crypto::Hash::sha256);  // both digests in one pass
  digest.update(view(text.substr(0, last)));
  const auto signed_digest = digest.value();
  digest.update(view(text.substr(last)));
  snapshot.digest = hex(digest.value());
  snapshot.signer = verify(signed_digest, text.substr(last, text.size() - last - 1), reader, signers);

  Reader lines(text.substr(0, last), name);
  snapshot.header = parse_header(lines.line(), lines);
  RestrictionTexts restrictions(lines);
  std::vector<KeyEntry> keys;
  keys.reserve(static_cast<std::size_t>(std::min<std::uint64_t>(snapshot.header.keys, text.size() / 100)));
  for (std::uint64_t i = 0; i < snapshot.header.keys; ++i) {
    keys.push_back(parse_entry(lines.line(), lines, restrictions));
    if (i > 0 && keys[i].id <= keys[i - 1].id) lines.fail("the ids are not sorted, or one occurs twice");
  }
  if (!lines.at_end()) lines.fail("there are more keys than the first line says");
  snapshot.table = KeyTable(std::move(keys));
  return snapshot;
}

Snapshot read_snapshot_file(const std::filesystem::path& file, const std::vector<crypto::PublicKey>& signers) {
  return read_snapshot(read_file(file, largest_snapshot), file.string(), signers);
}

void require_usable(const SnapshotHeader& header, UnixTime now, const std::string& home, std::uint64_t at_least) {
  if (!home.empty() && header.home != home) {
    throw Error::refused("rollback", "the snapshot is of another home (" + header.home + ") than the ones before it", "a new home needs a new --state folder");
  }
  if (header.sequence < at_least) {
    throw Error::refused("rollback", fmt::format("the snapshot is number {}, and number {} has been seen: an older one could revive a revoked key", header.sequence, at_least),
                         "publish a new one: kmtool apikey publish");
  }
  if (now >= header.not_after) {
    throw Error::refused("expired", "the snapshot may not be used since " + rfc3339(header.not_after), "publish a new one: kmtool apikey publish");
  }
}

}  // namespace kmtool::apikey
