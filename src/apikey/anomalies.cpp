#include <fmt/format.h>

#include <algorithm>

#include "kmtool/apikey/usage.hpp"
#include "kmtool/core/count.hpp"

namespace kmtool::apikey {

namespace {

constexpr std::int64_t day = 86400, week = 7 * day;
constexpr std::int64_t unused_after = 90 * day, expiring_within = 14 * day;
constexpr std::uint64_t few_denials = 20, many_unknown = 100, small_burst = 50;

/// One key's last eight days.
struct Recent {
  std::uint64_t denied_today = 0, denied_before = 0, all = 0;
};

class Look {
 public:
  explicit Look(op::Context& reader) : now_(reader.now()), store_(journal::UsageStore::open_existing(usage_database(reader.home))) {
    if (!store_) return;
    seen_ = store_->seen();
    peaks_ = store_->peaks(now_ - day);
    for (const auto& count : store_->counts("", now_ - 8 * day)) {
      auto& recent = recent_[count.key];
      const bool today = count.hour > now_ - day, denied = count.what != "allowed";
      if (denied) (today ? recent.denied_today : recent.denied_before) += count.count;
      recent.all += count.count;
    }
  }

  std::vector<Anomaly> at(const std::vector<ApiKeyRecord>& records) {
    for (const auto& record : records) one(record);
    const auto nobody = recent_.find(unknown_id);
    if (nobody != recent_.end() && nobody->second.denied_today >= many_unknown) {
      found_.push_back({"unknown keys", unknown_id, "", "", counted(nobody->second.denied_today, "request") + " in 24 hours without a key of ours: somebody is trying", true});
    }
    return std::move(found_);
  }

 private:
  void add(const ApiKeyRecord& record, const char* kind, std::string text, bool warning = true) {
    found_.push_back({kind, record.entry.id, record.entry.app, record.entry.environment, std::move(text), warning});
  }

  void one(const ApiKeyRecord& record) {
    const auto& entry = record.entry;
    const auto recent = recent_.find(entry.id);
    if (recent != recent_.end()) denials(record, recent->second);
    if (!record.alive(now_)) return;
    const auto found = seen_.find(entry.id);
    const auto* seen = found == seen_.end() ? nullptr : &found->second;
    const UnixTime last = seen != nullptr && seen->last_allowed ? *seen->last_allowed : std::max(entry.created, entry.not_before.value_or(0));
    if (last + unused_after <= now_) add(record, "unused", "unused for " + counted(static_cast<std::uint64_t>((now_ - last) / day), "day") + ": revoke it");
    if (entry.expires && !entry.until && *entry.expires <= now_ + expiring_within) add(record, "expiring", "expires at " + rfc3339(*entry.expires) + " and has no successor");
    if (seen == nullptr) return;
    if (seen->first + week <= now_) new_sources(record);
    const auto peak = peaks_.find(entry.id);
    if (peak == peaks_.end() || recent == recent_.end()) return;
    const auto span = static_cast<std::uint64_t>(std::clamp<std::int64_t>(now_ - seen->first, 1, 8 * day));
    if (peak->second.count >= std::max(small_burst, 10 * recent->second.all / span)) {
      add(record, "burst", counted(peak->second.count, "request") + " in one second at " + rfc3339(peak->second.at));
    }
  }

  void denials(const ApiKeyRecord& record, const Recent& recent) {
    if (recent.denied_today < few_denials || recent.denied_today * 7 < recent.denied_before * 3) return;
    add(record, "denials rising", fmt::format("{} denials in 24 hours; {:.1f} a day in the week before", recent.denied_today, static_cast<double>(recent.denied_before) / 7));
  }

  void new_sources(const ApiKeyRecord& record) {
    std::size_t fresh = 0;
    std::string newest;
    for (const auto& source : store_->sources(record.entry.id)) {
      if (source.first <= now_ - day) break;  // newest first
      if (fresh++ == 0) newest = source.address;
    }
    if (fresh > 0) add(record, "new source", fresh == 1 ? "used from " + newest + " for the first time" : fmt::format("used from {} and {} other new addresses", newest, fresh - 1));
  }

  UnixTime now_;
  std::optional<journal::UsageStore> store_;
  std::map<std::string, journal::UsageStore::Seen> seen_;
  std::map<std::string, journal::UsageStore::Peak> peaks_;
  std::map<std::string, Recent> recent_;
  std::vector<Anomaly> found_;
};

}  // namespace

std::vector<Anomaly> anomalies(op::Context& reader) { return Look(reader).at(api_keys(reader)); }

}  // namespace kmtool::apikey
