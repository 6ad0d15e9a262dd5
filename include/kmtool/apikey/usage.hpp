#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/apikey/registry.hpp"
#include "kmtool/apikey/usage_spool.hpp"
#include "kmtool/journal/usage_store.hpp"

namespace kmtool::apikey {

std::filesystem::path usage_database(const home::Home& home);

// -- deciding on this host ----------------------------------------------------------------------------------------------

/// Decides about one request by the catalog of the home, and counts it; no token, no PIN. Throws io (74) where it could not be counted: a
/// request that nobody will see is not let through.
Verdict check(op::Context& reader, std::string_view key, const Request& request, KeyTable& table);
/// Every rule; nothing is counted, no token of a rate limit is taken.
Explanation explain_here(op::Context& reader, std::string_view key, const Request& request, KeyTable& table);

// -- usage ----------------------------------------------------------------------------------------------------------------

/// One key's use. The record without a key (id "-") stands for requests that named none of ours.
struct KeyUsage {
  std::string id, app, environment, state;
  std::uint64_t allowed = 0, denied = 0;               ///< since `since`
  std::map<std::string, std::uint64_t> denied_by;      ///< by rule
  journal::UsageStore::Seen seen;                      ///< of all time
  std::vector<journal::UsageStore::Source> sources;    ///< where one key is asked for
  std::vector<std::uint64_t> series;                   ///< requests in equal parts of the time since `since`, oldest first
};
struct UsageRequest {
  std::string id;                   ///< empty: all
  UnixTime since = 0;
  std::size_t parts = 24;           ///< of series
};
std::vector<KeyUsage> usage(op::Context& reader, const UsageRequest& request);
/// ▁▂▃▄▅▆▇█, a space for nothing.
std::string sparkline(const std::vector<std::uint64_t>& series);

/// Takes the batches of other hosts' spools, each exactly once.
struct Ingested {
  std::uint64_t batches = 0, requests = 0;
  std::vector<std::string> torn;    ///< files whose last line was cut off by a crash
};
Ingested ingest(op::Context& reader, const std::vector<std::filesystem::path>& spools);

/// Writes the totals into the journal now. False where nothing was counted since the last time.
bool record_totals_now(op::Context& context);

// -- anomalies --------------------------------------------------------------------------------------------------------------

struct Anomaly {
  std::string kind;   ///< `new source`, `denials rising`, `unused`, `expiring`, `burst`, `unknown keys`
  std::string id, app, environment;
  std::string text;   ///< one line
  bool warning = true;
};
/// What is unusual: `new source` (first seen within a day, on a key older than a week), `denials rising` (at least 20 in 24 hours and three times the
/// mean of the week before), `unused` (alive for 90 days without an allowed request), `expiring` (within 14 days, no successor), `burst`
/// (within a day, a second with at least 50 requests and ten times the mean second of its last eight days), `unknown keys` (at least 100 in 24 hours).
std::vector<Anomaly> anomalies(op::Context& reader);

}  // namespace kmtool::apikey
