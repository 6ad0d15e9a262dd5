// The form of an API key, and what stands around one: in a request, in a file that is scanned.
#include "kmtool/apikey/format.hpp"
#include "kmtool/apikey/scan.hpp"
#include "target.hpp"

using namespace kmtool;
using namespace kmtool::apikey;

namespace {

constexpr std::string_view secret = "kmt_7f3k9q2x4b_";

/// Two keys that are looked for: an issued one, and a stored one of 16 bytes.
const std::string& issued() {
  static const std::string key = [] {
    const auto made = make_key("kmt", "7f3k9q2x4b", SecretBytes{ByteView(Bytes(32, 7))});
    return to_text(made.reveal());
  }();
  return key;
}

const Needles& needles() {
  static const Needles all = [] {
    Needles out;
    ApiKeyRecord record;
    record.entry.id = "7f3k9q2x4b";
    record.entry.app = record.entry.environment = "shop";
    record.entry.digest = digest_of(issued());
    out.add_issued(record, 0);
    const Bytes stored(16, 'k');
    StoredRecord kept;
    kept.app = "shop";
    kept.name = "stripe";
    out.add_stored(kept, Mark{static_cast<std::uint32_t>(stored.size()), rolling_hash(stored), crypto::sha256(stored)});
    return out;
  }();
  return all;
}

std::size_t found_in(std::string_view text, std::size_t piece) {
  Scanner scanner(needles());
  for (std::size_t at = 0; at < text.size(); at += piece) scanner.feed(view(text.substr(at, piece)));
  std::size_t plain = 0;
  for (const auto& hit : scanner.finish()) {
    fuzz::require(hit.offset < text.size() && hit.line >= 1 && hit.column >= 1);
    plain += hit.encoding == "plain" ? 1U : 0U;
  }
  return plain;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const auto text = fuzz::text_of(data, size);
  const auto parts = parse_key(text);
  if (parts.form == KeyParts::Form::ok) {
    fuzz::require(is_prefix(parts.prefix) && is_id(parts.id) && id_text(parts.number) == parts.id);
    fuzz::require(text.size() <= longest_key && base62_check(crc32_of(text.substr(0, text.size() - check_length))) == text.substr(text.size() - check_length));
  }
  // What is printed of a text never holds more of it than prefix and id.
  fuzz::require(redacted(text).size() <= longest_prefix + id_length + 8);
  const auto number = id_number(text);
  fuzz::require(number.has_value() == is_id(text) && (!number || id_text(*number) == text));
  const auto whole = found_in(text, text.size() + 1);
  fuzz::require(found_in(text, 7) == whole && found_in(text, 4096) == whole);
  // A key is found wherever it stands.
  const std::string around = std::string(text) + " " + issued() + " " + std::string(text);
  fuzz::require(found_in(around, around.size()) > 0);
  fuzz::require(parse_key(issued()).form == KeyParts::Form::ok && issued().starts_with(secret));
  return 0;
}
