#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kmtool/apikey/decision.hpp"
#include "kmtool/core/file.hpp"

/// How usage comes home from hosts without a database (kmtool-apikey(7)): a folder with append-only files of batches. Each batch is one
/// line that is written, fsynced and never touched again; it holds the *differences* since the batch before it. The home host takes every
/// batch exactly once: it remembers the number of the last one it took of each spool, in the transaction that adds the counts.
///
///   FOLDER/usage-<spool uuid>.jsonl   one file a run of the server and 16 MiB
///   {"kmusage":1,"spool":"UUID","batch":1,"from":TIME,"to":TIME,"keys":[…],"crc":"XXXXXXXX"}
/// `crc` is CRC-32 of the line up to `,"crc"`, eight small hexadecimal digits: a line that a crash tore is told from a whole one. A torn last
/// line is passed over; its counts are the one interval that a kill costs. Anything else that is wrong is damage (65).
namespace kmtool::apikey {

inline constexpr std::size_t most_sources = 64;      ///< a key and batch; further ones are only counted
inline constexpr std::size_t longest_batch = std::size_t{8} << 20;  ///< bytes a line; more keys go to the next line

struct SourceCount {
  std::uint64_t count = 0;
  UnixTime first = 0, last = 0;
  bool operator==(const SourceCount&) const = default;
};

/// What happened to one key. The id "-" stands for requests that named no known key.
struct UsageCount {
  std::uint64_t allowed = 0;
  std::array<std::uint64_t, rule_count> denied{};  ///< by Rule; denied[none] stays 0
  std::optional<UnixTime> last_allowed, last_denied;
  std::map<Address, SourceCount> sources;      ///< of allowed requests; at most most_sources
  std::uint64_t more_sources = 0;              ///< allowed requests from addresses that did not fit
  std::uint64_t peak = 0;                      ///< the most requests of this batch, allowed and denied, within one second of the clock
  UnixTime peak_at = 0;

  [[nodiscard]] std::uint64_t all_denied() const;
  [[nodiscard]] bool empty() const { return allowed == 0 && all_denied() == 0; }
  /// Adds another count of the same key.
  void add(const UsageCount& other);
  bool operator==(const UsageCount&) const = default;
};
inline const std::string unknown_id = "-";  // NOLINT(cert-err58-cpp): so short a text allocates nothing
using UsageCounts = std::map<std::string, UsageCount>;  ///< by id

/// Counts one decision in memory. `second` of the request's clock carries the burst's window.
class UsageCounter {
 public:
  void count(const Verdict& verdict, const Request& request);
  /// Under which id it is counted: the key's, the one that was named, or unknown_id.
  static std::string_view id_of(const Verdict& verdict);
  /// Everything counted since the last take(); afterwards there is nothing.
  UsageCounts take();
  /// Puts back what could not be written.
  void put_back(const UsageCounts& counts);
  [[nodiscard]] bool empty() const { return counted_ == 0; }

 private:
  struct Slot {
    UsageCount count;
    UnixTime second = 0;          ///< the second that the burst's window is
    std::uint64_t in_second = 0;  ///< requests in it
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view id) const noexcept { return std::hash<std::string_view>()(id); }
  };
  Slot& slot(std::string_view id);
  /// Hashed, and one lookup a request: a gateway counts some hundred thousand of them in a second.
  std::unordered_map<std::string, Slot, Hash, std::equal_to<>> slots_;
  std::size_t counted_ = 0;  ///< slots whose count is not empty
};

struct UsageBatch {
  std::string spool;        ///< UUID
  std::uint64_t batch = 0;  ///< 1, 2, 3 … without a gap
  UnixTime from = 0, to = 0;
  UsageCounts keys;
};
std::string to_line(const UsageBatch& batch);  ///< with its LF
/// Throws damaged (65) naming file and line.
UsageBatch parse_batch(std::string_view line, const std::string& name, std::size_t number);

/// Appends batches to a spool of its own: every run of a server begins a new one, so that nobody appends to a torn line.
class SpoolWriter {
 public:
  /// Makes the folder where it is not there (0700). `uuid` names the first file; `next_uuid` those after 16 MiB.
  SpoolWriter(std::filesystem::path folder, std::function<std::string()> next_uuid);
  /// Writes and fsyncs. Throws io (74): nothing was counted then (the spool is given up and the next call begins another), put the
  /// counts back.
  void write(UsageCounts counts, UnixTime from, UnixTime to);
  [[nodiscard]] const std::filesystem::path& file() const noexcept { return file_; }

 private:
  void begin();
  std::filesystem::path folder_, file_;
  std::function<std::string()> next_uuid_;
  std::string spool_;
  std::uint64_t batch_ = 0;
  std::uint64_t written_ = 0;
  Fd fd_;
};

/// The whole batches of every spool in a folder (or of one file), in their order. `after` says which batch of a spool was taken last (0:
/// none). A torn last line is left out; `torn` is told its file.
void read_spool(const std::filesystem::path& folder_or_file, const std::function<std::uint64_t(const std::string& spool)>& after,
                const std::function<void(UsageBatch&&)>& on_batch, const std::function<void(const std::filesystem::path&)>& torn = {});

}  // namespace kmtool::apikey
