// What everything is made of: JSON, base64, hexadecimal, times, durations, words, names; the header of an encrypted file.
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/json.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/core/time.hpp"
#include "kmtool/core/words.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/usage/encrypted_file.hpp"
#include "target.hpp"

using namespace kmtool;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const auto text = fuzz::text_of(data, size);
  if (const auto bytes = from_base64(text)) fuzz::require(base64(*bytes) == text);
  if (const auto bytes = from_hex(text)) fuzz::require(from_hex(hex(*bytes)) == bytes);
  if (const auto time = parse_rfc3339(text)) fuzz::require(parse_rfc3339(rfc3339(*time)) == time);
  if (const auto seconds = parse_duration(text)) fuzz::require(parse_duration(duration_text(*seconds)) == seconds);
  if (const auto bytes = bytes_of_words(text)) fuzz::require(bytes_of_words(words_of(*bytes)) == bytes);
  fuzz::require(fuzz::visible(printable(text)));
  fuzz::expect_refusal([&] {
    const auto json = parse_json(text, [](const std::string& what) { throw Error::tampered(what); });
    const auto once = dump_json(json);
    fuzz::require(dump_json(parse_json(once, [](const std::string& what) { throw Error::internal(what); })) == once);
  });
  fuzz::expect_refusal([&] { KeyRef::parse(text); });
  fuzz::expect_refusal([&] { fuzz::require(usage::Header::parse(std::string(text), "file").line() == std::string(text) + "\n"); });
  return 0;
}
