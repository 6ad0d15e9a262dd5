#include <algorithm>
#include <bit>

#include "kmtool/apikey/decision.hpp"
#include "kmtool/core/error.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::apikey {

namespace {

constexpr int tries = 16;
constexpr int most_bits = 30;

/// SplitMix64's finalizer: ids are random already, but buckets must not be chosen by who chose the ids.
std::uint64_t mix(std::uint64_t x) noexcept {
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
  x = (x ^ x >> 27) * 0x94d049bb133111ebU;
  return x ^ x >> 31;
}

}  // namespace

KeyTable::KeyTable(std::vector<KeyEntry> entries) : entries_(std::move(entries)), size_(entries_.size()) {
  const auto by_id = [](const auto& a, const auto& b) { return a.id < b.id; };
  if (!std::is_sorted(entries_.begin(), entries_.end(), by_id)) std::sort(entries_.begin(), entries_.end(), by_id);
  for (std::size_t i = 0; i < size_; ++i) {
    if (!is_id(entries_[i].id)) throw Error::tampered("api key id " + printable(entries_[i].id) + " is none");
    if (i > 0 && entries_[i].id == entries_[i - 1].id) throw Error::tampered("api key id " + entries_[i].id + " occurs twice");
  }
  if (entries_.empty()) entries_.emplace_back();  // what an unknown id is compared with
  bits_ = static_cast<int>(std::bit_width(size_ | 1));
  for (int round = 1; !fill(); ++round) {
    seed_ = mix(seed_ + 1);
    if (round % tries == 0 && ++bits_ > most_bits) throw Error::internal("the api keys do not fit their table");
  }
}

std::size_t KeyTable::bucket_of(std::uint64_t id) const noexcept { return static_cast<std::size_t>(mix(id ^ seed_) >> (64 - bits_)); }

bool KeyTable::fill() {
  Bucket empty{};
  empty.ids.fill(no_id);
  buckets_.assign(std::size_t{1} << bits_, empty);
  places_.assign(buckets_.size(), {});
  for (std::uint32_t i = 0; i < size_; ++i) {
    const auto id = id_number(entries_[i].id).value_or(0);
    const auto bucket = bucket_of(id);
    auto& ids = buckets_[bucket].ids;
    const auto slot = std::find(ids.begin(), ids.end(), no_id);
    if (slot == ids.end()) return false;
    places_[bucket].index[static_cast<std::size_t>(slot - ids.begin())] = i;
    *slot = id;
  }
  return true;
}

KeyTable::Found KeyTable::find(std::uint64_t id_number) const noexcept {
  const auto bucket = bucket_of(id_number);
  const auto& ids = buckets_[bucket].ids;
  const auto& index = places_[bucket].index;
  // Somebody else's entry for an unknown id: as likely to lie in the processor's cache as the right one would be.
  auto at = static_cast<std::uint32_t>((mix(id_number) & 0xffffffffU) * entries_.size() >> 32);
  std::uint32_t known = 0;
  for (std::size_t slot = 0; slot < slots; ++slot) {
    const std::uint32_t mask = 0U - static_cast<std::uint32_t>(ids[slot] == id_number);
    at = (at & ~mask) | (index[slot] & mask);
    known |= mask;
  }
  return {&entries_[at], at, known != 0};
}

}  // namespace kmtool::apikey
