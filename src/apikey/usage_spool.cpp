#include "kmtool/apikey/usage_spool.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/error.hpp"
#include "kmtool/core/json.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::apikey {

namespace {

constexpr std::uint64_t largest_file = std::uint64_t{16} << 20;
constexpr std::string_view crc_mark = ",\"crc\":\"";
constexpr std::size_t crc_tail = crc_mark.size() + 8 + 2;  // …xxxxxxxx"}
constexpr std::int64_t big = std::int64_t{1} << 52;

Json time_or_null(const std::optional<UnixTime>& time) { return time ? Json(rfc3339(*time)) : Json(nullptr); }

Json to_json(const std::string& id, const UsageCount& count) {
  Json json{{"id", id}, {"allowed", count.allowed}, {"denied", Json::object()}};
  for (std::size_t rule = 0; rule < rule_count; ++rule) {
    if (count.denied[rule] != 0) json["denied"][std::string(to_text(static_cast<Rule>(rule)))] = count.denied[rule];
  }
  json["last_allowed"] = time_or_null(count.last_allowed);
  json["last_denied"] = time_or_null(count.last_denied);
  auto& sources = json["sources"] = Json::array();
  for (const auto& [address, source] : count.sources) {
    sources.push_back({{"address", address.text()}, {"count", source.count}, {"first", rfc3339(source.first)}, {"last", rfc3339(source.last)}});
  }
  json["more_sources"] = count.more_sources;
  json["peak"] = count.peak;
  json["peak_at"] = rfc3339(count.peak_at);
  return json;
}

std::uint64_t number(JsonReader& reader, const char* name) { return static_cast<std::uint64_t>(reader.integer(name, 0, big)); }

UnixTime time(JsonReader& reader, const char* name) {
  const auto value = parse_rfc3339(reader.text(name));
  if (!value) reader.fail(fmt::format("\"{}\" is not a time", name));
  return *value;
}
std::optional<UnixTime> optional_time(JsonReader& reader, const char* name) {
  return reader.optional_text(name) ? std::optional(time(reader, name)) : std::nullopt;
}

UsageCount parse_count(JsonReader& reader, const JsonFail& fail) {
  UsageCount count;
  count.allowed = number(reader, "allowed");
  const Json& denied = reader.object("denied");
  JsonReader by_rule(denied, fail, "denied");
  for (std::size_t rule = 1; rule < rule_count; ++rule) {
    const std::string word(to_text(static_cast<Rule>(rule)));
    if (by_rule.has(word)) count.denied[rule] = number(by_rule, word.c_str());
  }
  by_rule.finish();
  count.last_allowed = optional_time(reader, "last_allowed");
  count.last_denied = optional_time(reader, "last_denied");
  for (const auto& entry : reader.array("sources")) {
    JsonReader source(entry, fail, "sources");
    const auto address = Address::parse(source.text("address"));
    if (!address || count.sources.size() >= most_sources) source.fail("not an address, or too many");
    count.sources[*address] = {number(source, "count"), time(source, "first"), time(source, "last")};
    source.finish();
  }
  count.more_sources = number(reader, "more_sources");
  count.peak = number(reader, "peak");
  count.peak_at = time(reader, "peak_at");
  reader.finish();
  return count;
}

void later(std::optional<UnixTime>& to, const std::optional<UnixTime>& other) {
  if (other && (!to || *other > *to)) to = other;
}

bool whole(std::string_view line) {
  if (line.size() < crc_tail || !line.ends_with("\"}")) return false;
  const auto body = line.substr(0, line.size() - crc_tail);
  const auto tail = line.substr(body.size());
  return tail.starts_with(crc_mark) && tail.substr(crc_mark.size(), 8) == fmt::format("{:08x}", crc32_of(body));
}

void read_one(const std::filesystem::path& file, const std::function<std::uint64_t(const std::string&)>& after,
              const std::function<void(UsageBatch&&)>& on_batch, const std::function<void(const std::filesystem::path&)>& torn) {
  const std::string text = read_trusted(file, {}, largest_file + 2 * longest_batch);
  std::uint64_t expected = 1;
  std::size_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    ++number;
    const auto end = std::min(text.find('\n', at), text.size());
    const auto line = std::string_view(text).substr(at, end - at);
    at = end + 1;
    if (!whole(line)) {
      if (at < text.size()) throw Error::tampered(fmt::format("{}: line {} was changed", printable(file.string()), number), "move the file out of the folder; its counts are lost");
      if (torn) torn(file);
      return;
    }
    auto batch = parse_batch(line, file.string(), number);
    if (batch.batch != expected) throw Error::tampered(fmt::format("{}: line {}: batch {} where {} was expected", printable(file.string()), number, batch.batch, expected));
    ++expected;
    if (batch.batch > after(batch.spool)) on_batch(std::move(batch));
  }
}

}  // namespace

std::uint64_t UsageCount::all_denied() const {
  std::uint64_t sum = 0;
  for (const auto count : denied) sum += count;
  return sum;
}

void UsageCount::add(const UsageCount& other) {
  allowed += other.allowed;
  for (std::size_t rule = 0; rule < rule_count; ++rule) denied[rule] += other.denied[rule];
  later(last_allowed, other.last_allowed);
  later(last_denied, other.last_denied);
  for (const auto& [address, source] : other.sources) {
    auto known = sources.find(address);
    if (known == sources.end() && sources.size() >= most_sources) {
      more_sources += source.count;
      continue;
    }
    if (known == sources.end()) known = sources.emplace(address, SourceCount{0, source.first, source.last}).first;
    known->second.count += source.count;
    known->second.first = std::min(known->second.first, source.first);
    known->second.last = std::max(known->second.last, source.last);
  }
  more_sources += other.more_sources;
  if (other.peak > 0 && other.peak_at == peak_at) {
    peak += other.peak;  // two parts of one second
  } else if (other.peak > peak) {
    peak = other.peak;
    peak_at = other.peak_at;
  }
}

UsageCounter::Slot& UsageCounter::slot(std::string_view id) {
  auto found = slots_.find(id);
  if (found == slots_.end()) found = slots_.try_emplace(std::string(id)).first;
  if (found->second.count.empty()) ++counted_;
  return found->second;
}

std::string_view UsageCounter::id_of(const Verdict& verdict) {
  if (verdict.key != nullptr) return verdict.key->id;
  return verdict.named_id.empty() ? std::string_view(unknown_id) : verdict.named_id;
}

void UsageCounter::count(const Verdict& verdict, const Request& request) {
  auto& [count, second, in_second] = slot(id_of(verdict));
  if (second != request.time) {
    second = request.time;
    in_second = 0;
  }
  if (++in_second > count.peak) {
    count.peak = in_second;
    count.peak_at = request.time;
  }
  if (!verdict.allowed) {
    ++count.denied[static_cast<std::size_t>(verdict.rule)];
    later(count.last_denied, request.time);
    return;
  }
  ++count.allowed;
  later(count.last_allowed, request.time);
  if (!request.client) return;
  auto source = count.sources.find(*request.client);
  if (source == count.sources.end() && count.sources.size() >= most_sources) {
    ++count.more_sources;
    return;
  }
  if (source == count.sources.end()) source = count.sources.emplace(*request.client, SourceCount{0, request.time, request.time}).first;
  ++source->second.count;
  source->second.last = std::max(source->second.last, request.time);
}

UsageCounts UsageCounter::take() {
  UsageCounts taken;
  for (auto slot = slots_.begin(); slot != slots_.end();) {
    if (slot->second.count.empty()) {
      slot = slots_.erase(slot);  // not used since the last time
      continue;
    }
    taken.emplace(slot->first, std::exchange(slot->second.count, {}));
    slot->second.in_second = 0;  // what comes yet in this second is added up by who reads both
    ++slot;
  }
  counted_ = 0;
  return taken;
}

void UsageCounter::put_back(const UsageCounts& counts) {
  for (const auto& [id, count] : counts) {
    if (!count.empty()) slot(id).count.add(count);
  }
}

std::string to_line(const UsageBatch& batch) {
  Json json{{"kmusage", 1}, {"spool", batch.spool}, {"batch", batch.batch}, {"from", rfc3339(batch.from)}, {"to", rfc3339(batch.to)}, {"keys", Json::array()}};
  for (const auto& [id, count] : batch.keys) json["keys"].push_back(to_json(id, count));
  auto line = dump_json(json);
  line.pop_back();
  return line + std::string(crc_mark) + fmt::format("{:08x}", crc32_of(line)) + "\"}\n";
}

UsageBatch parse_batch(std::string_view line, const std::string& name, std::size_t line_number) {
  const JsonFail fail = [&](const std::string& what) { throw Error::tampered(fmt::format("{}: line {}: {}", printable(name), line_number, what)); };
  const Json json = parse_json(line, fail);
  JsonReader reader(json, fail);
  UsageBatch batch;
  reader.integer("kmusage", 1, 1);
  batch.spool = reader.text("spool");
  batch.batch = static_cast<std::uint64_t>(reader.integer("batch", 1, big));
  batch.from = time(reader, "from");
  batch.to = time(reader, "to");
  reader.text("crc");
  if (!is_uuid(batch.spool)) reader.fail("\"spool\" is not a UUID");
  for (const auto& entry : reader.array("keys")) {
    JsonReader key(entry, fail, "keys");
    const auto id = key.text("id");
    if (id != unknown_id && !is_id(id)) key.fail("\"id\" is not the id of a key");
    if (!batch.keys.emplace(id, parse_count(key, fail)).second) key.fail("\"id\" occurs twice");
  }
  reader.finish();
  return batch;
}

SpoolWriter::SpoolWriter(std::filesystem::path folder, std::function<std::string()> next_uuid)
    : folder_(std::move(folder)), next_uuid_(std::move(next_uuid)) {
  make_private_dir(folder_);
}

void SpoolWriter::begin() {
  spool_ = next_uuid_();
  file_ = folder_ / ("usage-" + spool_ + ".jsonl");
  const int fd = open(file_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) throw Error::from_errno("create", file_.string(), errno);
  fd_ = Fd(fd);
  batch_ = 0;
  written_ = 0;
  fsync_path(folder_);
}

void SpoolWriter::write(UsageCounts counts, UnixTime from, UnixTime to) {
  if (counts.empty()) return;
  if (!fd_ || written_ >= largest_file) begin();
  // A key's counts are at most some 12 KiB of text.
  constexpr std::size_t keys_a_line = longest_batch / 16384;
  std::string text;
  std::uint64_t number = batch_;
  while (!counts.empty()) {
    UsageBatch batch{spool_, ++number, from, to, {}};
    while (!counts.empty() && batch.keys.size() < keys_a_line) batch.keys.insert(counts.extract(counts.begin()));
    text += to_line(batch);
  }
  try {
    write_all(fd_.get(), view(text), file_);
    if (fdatasync(fd_.get()) != 0) throw Error::from_errno("write", file_.string(), errno);
  } catch (const Error&) {
    // Taken back, so that nothing is counted twice when the caller tries again.
    if (ftruncate(fd_.get(), static_cast<off_t>(written_)) == 0) fdatasync(fd_.get());
    fd_ = Fd();
    throw;
  }
  batch_ = number;
  written_ += text.size();
}

void read_spool(const std::filesystem::path& folder_or_file, const std::function<std::uint64_t(const std::string& spool)>& after,
                const std::function<void(UsageBatch&&)>& on_batch, const std::function<void(const std::filesystem::path&)>& torn) {
  if (!std::filesystem::is_directory(folder_or_file)) {
    read_one(folder_or_file, after, on_batch, torn);
    return;
  }
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder_or_file)) {
    const auto name = entry.path().filename().string();
    if (name.starts_with("usage-") && name.ends_with(".jsonl")) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) read_one(file, after, on_batch, torn);
}

}  // namespace kmtool::apikey
