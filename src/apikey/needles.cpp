#include <algorithm>
#include <cstring>

#include "kmtool/apikey/scan.hpp"

namespace kmtool::apikey {

namespace {

constexpr std::uint32_t multiplier = 0x01000193;  // of rolling_hash()

std::string_view text_of(ByteView bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

bool is_prefix_character(std::uint8_t c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

}  // namespace

void Needles::add_issued(const ApiKeyRecord& record, UnixTime now) {
  const auto& entry = record.entry;
  issued_[id_number(entry.id).value_or(0)] = needles_.size();
  needles_.push_back({false, entry.id, entry.app, entry.environment, record.state(now), record.alive(now), 0, entry.digest});
  shortest_ = std::min(shortest_, longest_key - longest_prefix + shortest_prefix);
}

bool Needles::add_stored(const StoredRecord& record, const Mark& mark) {
  if (mark.length < shortest_scanned) return false;
  auto& of = stored_[mark.length];
  of.filter[mark.rolling & 0xffff] = true;
  of.by_hash.emplace(mark.rolling, needles_.size());
  needles_.push_back({true, record.id(), record.app, "", "stored", true, mark.length, mark.digest});
  longest_ = std::max<std::size_t>(longest_, mark.length);
  shortest_ = std::min<std::size_t>(shortest_, mark.length);
  return true;
}

void Needles::find_in(ByteView text, const OnHit& on_hit) const {
  if (!issued_.empty()) find_issued(text, on_hit);
  for (const auto& [length, of] : stored_) find_stored(text, length, of, on_hit);
}

/// `…PREFIX_ID_SECRETCHECK`: led by the first underscore; the prefix ends there, and may begin anywhere before it.
void Needles::find_issued(ByteView text, const OnHit& on_hit) const {
  constexpr std::size_t behind = id_length + 1 + secret_length + check_length;
  const auto whole = text_of(text);
  for (std::size_t at = whole.find('_'); at != std::string_view::npos; at = whole.find('_', at + 1)) {
    if (at + 1 + behind > whole.size()) return;
    if (whole[at + 1 + id_length] != '_') continue;
    const auto number = id_number(whole.substr(at + 1, id_length));
    const auto found = number ? issued_.find(*number) : issued_.end();
    if (found == issued_.end()) continue;
    const auto& needle = needles_[found->second];
    for (std::size_t length = 1; length <= longest_prefix && length <= at && is_prefix_character(text[at - length]); ++length) {
      const auto key = whole.substr(at - length, length + 1 + behind);
      if (parse_key(key).form == KeyParts::Form::ok && same_digest(digest_of(key), needle.digest)) on_hit(at - length, key.size(), needle);
    }
  }
}

void Needles::find_stored(ByteView text, std::size_t length, const OfLength& of, const OnHit& on_hit) const {
  if (text.size() < length) return;
  std::uint32_t leaving = 1;
  for (std::size_t i = 1; i < length; ++i) leaving *= multiplier;
  std::uint32_t hash = rolling_hash(text.subspan(0, length));
  for (std::size_t at = 0;; ++at) {
    if (of.filter[hash & 0xffff]) {
      const auto range = of.by_hash.equal_range(hash);
      for (auto each = range.first; each != range.second; ++each) {
        const auto& needle = needles_[each->second];
        if (same_digest(crypto::sha256(text.subspan(at, length)), needle.digest)) on_hit(at, length, needle);
      }
    }
    if (at + length == text.size()) return;
    hash = (hash - (text[at] + 1U) * leaving) * multiplier + text[at + length] + 1U;
  }
}

}  // namespace kmtool::apikey
