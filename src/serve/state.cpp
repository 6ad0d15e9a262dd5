#include "state.hpp"

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/json.hpp"

namespace kmtool::serve {
namespace {

constexpr std::int64_t largest = std::int64_t{1} << 62;
constexpr std::size_t largest_file = 4096;

std::string spelling(const std::string& home, std::uint64_t sequence, const std::string& digest) {
  return dump_json(Json{{"kmserve", 1}, {"home", home}, {"sequence", sequence}, {"digest", digest}}) + "\n";
}

}  // namespace

State::State(const std::filesystem::path& folder) : folder_(std::filesystem::absolute(folder)) {
  make_private_dir(folder_);
  check_trusted(folder_);
  lock_ = FileLock::acquire(folder_ / "lock", std::chrono::milliseconds(0));
  const auto file = folder_ / "sequence";
  if (!std::filesystem::exists(std::filesystem::symlink_status(file))) return;
  const std::string text = read_trusted(file, {}, largest_file);
  const JsonFail fail = [&file](const std::string& what) {
    throw Error::tampered(
        file.string() + " is not the state of a server: " + what,
        "without it an older snapshot could be served: remove it only when you know that the snapshot is the newest");
  };
  const Json json = parse_json(text, fail);
  JsonReader reader(json, fail);
  reader.integer("kmserve", 1, 1);
  home_ = reader.text("home");
  sequence_ = static_cast<std::uint64_t>(reader.integer("sequence", 0, largest));
  digest_ = reader.text("digest");
  reader.finish();
  if (!is_uuid(home_) || spelling(home_, sequence_, digest_) != text) fail("it is not in its one spelling");
}

void State::require(const std::string& home, std::uint64_t sequence, const std::string& digest) const {
  if (!home_.empty() && home != home_) {
    throw Error::refused("rollback", "the snapshot is by home " + home + ", and " + home_ + " was served before",
                         "a new home needs a new --state folder");
  }
  if (sequence < sequence_) {
    throw Error::refused(
        "rollback",
        "the snapshot is number " + std::to_string(sequence) + ", and number " + std::to_string(sequence_) + " was served before",
        "an older snapshot could revive a revoked key; publish a new one");
  }
  if (sequence == sequence_ && home == home_ && digest != digest_) {
    throw Error::refused("rollback", "another snapshot of the same number " + std::to_string(sequence) + " was served before",
                         "publish a new one");
  }
}

void State::advance(const std::string& home, std::uint64_t sequence, const std::string& digest) {
  require(home, sequence, digest);
  if (sequence == sequence_ && home == home_) return;
  write_private_file(folder_ / "sequence", view(spelling(home, sequence, digest)), true);
  home_ = home;
  sequence_ = sequence;
  digest_ = digest;
}

}  // namespace kmtool::serve
