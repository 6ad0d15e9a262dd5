#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kmtool/apikey/registry.hpp"
#include "kmtool/apikey/reseal.hpp"
#include "kmtool/apikey/store.hpp"

namespace kmtool::apikey {

/// What is looked for: issued keys by the digest of a text that has their form, stored ones by rolling hash and digest. Nothing here is a key.
class Needles {
 public:
  struct Needle {
    bool stored = false;
    std::string id;           ///< of the issued key, or APP/NAME
    std::string app, environment, state;
    bool live = true;         ///< works, or may work
    std::size_t length = 0;   ///< of a stored key
    KeyDigest digest{};
  };
  void add_issued(const ApiKeyRecord& record, UnixTime now);
  /// False where the key is too short to be looked for.
  bool add_stored(const StoredRecord& record, const Mark& mark);

  using OnHit = std::function<void(std::size_t at, std::size_t length, const Needle& needle)>;
  void find_in(ByteView text, const OnHit& on_hit) const;
  [[nodiscard]] std::size_t longest() const noexcept { return longest_; }
  [[nodiscard]] std::size_t shortest() const noexcept { return shortest_; }
  [[nodiscard]] std::size_t size() const noexcept { return needles_.size(); }

 private:
  struct OfLength {
    std::vector<bool> filter = std::vector<bool>(65536);
    std::multimap<std::uint32_t, std::size_t> by_hash;
  };
  void find_issued(ByteView text, const OnHit& on_hit) const;
  void find_stored(ByteView text, std::size_t length, const OfLength& of, const OnHit& on_hit) const;
  std::vector<Needle> needles_;
  std::map<std::uint64_t, std::size_t> issued_;  ///< by id
  std::map<std::size_t, OfLength> stored_;       ///< by length
  std::size_t longest_ = longest_key, shortest_ = longest_key;
};

/// Where a key was found. Its value is in none of this.
struct Hit {
  std::string encoding;        ///< `plain`, `base64` or `utf-16`
  std::uint64_t offset = 0;    ///< of its first byte
  std::uint64_t line = 1, column = 1;
  std::uint64_t more = 0;      ///< of the first of a key: further ones in the same text, beyond a thousand, that are only counted
  Needles::Needle needle;
};
/// Looks through a text that comes in pieces, in flat memory; also through what base64 in it (with line breaks, either alphabet) and UTF-16
/// (either byte order) decode to.
class Scanner {
 public:
  explicit Scanner(const Needles& needles);
  void feed(ByteView piece);
  std::vector<Hit> finish();

 private:
  void look(bool last);
  void look_at_base64(ByteView text);
  void look_at_utf16(ByteView text);
  void look_at_run(const std::vector<std::uint32_t>& places, ByteView text);
  struct Seen {
    std::size_t at;  ///< in buffer_
    const char* encoding;
    const Needles::Needle* needle;
  };
  struct OfNeedle {
    std::size_t count = 0, first = 0;  ///< first: in hits_
  };
  void hit(const Seen& seen);
  const Needles& needles_;
  std::size_t overlap_;
  Bytes buffer_;
  std::uint64_t base_ = 0, lines_before_ = 0, column_before_ = 0;
  std::vector<Hit> hits_;
  std::vector<Seen> seen_;  ///< in the piece that is looked at
  std::map<const Needles::Needle*, OfNeedle> of_needle_;
};

struct ScanFinding {
  std::string path;            ///< of a file, or in a commit; empty where git has no name for it
  std::string root;            ///< of a file: the folder that was named, or in which the file that was named lies
  std::string repository, object, commit;  ///< of git history
  Hit hit;
};
struct ScanReport {
  std::vector<ScanFinding> findings;
  std::uint64_t files = 0, objects = 0, bytes = 0;
  std::vector<std::string> unread;   ///< what could not be looked at, and why
  std::vector<std::string> skipped;  ///< pipes, sockets and devices
  std::size_t readable = 0;          ///< how many of the named paths could be looked at at all
  std::vector<std::string> not_looked_for;  ///< stored keys that are too short
  std::vector<NotOpened> lost;              ///< stored keys that cannot be opened any more: nobody knows what to look for
};
/// Files, and folders with all that is in them (symbolic links are followed only where they are named themselves, the inside of .git
/// is passed over). Throws missing (66), before anything is read, where one of them is not there.
void scan_paths(const std::vector<std::filesystem::path>& paths, const Needles& needles, ScanReport& report, const std::function<void()>& each_file);
/// Every object of the repository that a path lies in, reachable or not. Throws usage (64) where there is none; damaged objects are
/// among the unread, and cost no other.
void scan_git(const std::vector<std::filesystem::path>& paths, const Needles& needles, ScanReport& report, const std::function<void()>& each_object);

Json to_json(const ScanReport& report);
/// SARIF 2.1.0.
Json to_sarif(const ScanReport& report);
/// A rule for gitleaks: the form of keys with this prefix.
std::string gitleaks_rule(const std::string& prefix);

}  // namespace kmtool::apikey
