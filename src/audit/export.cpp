#include <fcntl.h>
#include <unistd.h>

#include "audit/log_keys.hpp"
#include "kmtool/audit/record.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/home/home.hpp"
#include "kmtool/tlog/tiles.hpp"

namespace kmtool::audit {

namespace {

/// Everything in the folder is ours: an export of this journal, or the beginning of one. No links, however deep: what is written would lie
/// elsewhere.
void require_ours(const op::Context& reader, const std::filesystem::path& dir, const journal::Journal& journal) {
  std::error_code error;
  bool other = false;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    const auto name = entry.path().filename().string();
    const bool folder = name == "tile" || name == "handovers";
    other = other || (!folder && name != "checkpoint" && name != "signer.pem" && name != "signer.vkey" && !name.ends_with(".kmtmp"));
    other = other || (folder ? !std::filesystem::is_directory(entry.symlink_status()) : !std::filesystem::is_regular_file(entry.symlink_status()));
  }
  for (auto entry = std::filesystem::recursive_directory_iterator(dir); !other && entry != std::filesystem::recursive_directory_iterator(); ++entry) {
    const auto status = entry->symlink_status();
    other = !std::filesystem::is_directory(status) && !std::filesystem::is_regular_file(status);
  }
  if (other) throw Error::exists(dir.string() + " holds other files", "name a new folder, or one that holds an earlier export of this journal");
  const auto file = dir / "checkpoint";
  if (!std::filesystem::exists(file, error)) return;
  const auto older = tlog::parse_checkpoint(tlog::Note::parse(read_file(file, 1 << 20)).text);
  if (older.origin != reader.home.config.origin()) throw Error::exists(dir.string() + " holds the record of another home (" + older.origin + ")", "name a new folder");
  if (!journal.contains_root(older.size, older.root)) {
    throw Error::tampered("the record exported to " + dir.string() + " is not the beginning of this journal",
                          "one of them was rewritten, or this home is an older copy; nothing was written");
  }
}

/// What making the folder would say, without making it.
void require_makeable(const std::filesystem::path& dir) {
  auto there = std::filesystem::absolute(dir).lexically_normal();
  if (!there.has_filename()) there = there.parent_path();
  std::error_code ignored;
  while (there.has_relative_path() && !std::filesystem::exists(std::filesystem::symlink_status(there.parent_path(), ignored))) there = there.parent_path();
  kmtool::check_output(there, false);
}

class Exporter {
 public:
  Exporter(op::Context& reader, const std::filesystem::path& dir, std::uint64_t size) : reader_(reader), dir_(dir), size_(size) {}

  /// For those who know an older log signer: the checkpoint over the entry that introduces each newer one, signed by the one before it.
  void handovers(const std::vector<LogKey>& keys) {
    for (std::size_t i = 1; i < keys.size(); ++i) {
      const auto note = reader_.journal().note_at(keys[i].introduced + 1);
      if (note && keys[i].introduced < size_) put("handovers/" + std::to_string(i + 1), view(note->dump()));
    }
  }

  void run() {
    entries();
    for (unsigned level = 0; (size_ >> (level * tlog::tile_height)) > 0; ++level) hashes(level);
  }
  std::size_t written = 0, kept = 0;

 private:
  /// Whole under its name or not there: written beside it and renamed; the disk is told once, at the end.
  void put(const std::string& name, ByteView bytes) {
    const auto path = dir_ / name;
    std::error_code error;
    if (std::filesystem::file_size(path, error) == bytes.size() && !error && read_file(path) == to_text(bytes)) {
      ++kept;
      return;
    }
    std::filesystem::create_directories(path.parent_path());
    const auto temporary = path.string() + ".kmtmp";
    const Fd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) throw Error::from_errno("write", temporary, errno);
    write_all(fd.get(), bytes, temporary);
    if (rename(temporary.c_str(), path.c_str()) != 0) throw Error::from_errno("rename", temporary, errno);
    ++written;
  }

  void entries() {
    Bytes bundle;
    reader_.journal().each_entry(0, [&](const journal::Entry& entry) {
      if (entry.seq >= size_) return false;
      tlog::add_to_bundle(bundle, entry.bytes);
      const std::uint64_t width = entry.seq % tlog::tile_width + 1;
      if (width == tlog::tile_width || entry.seq + 1 == size_) {
        put(tlog::entries_path(entry.seq / tlog::tile_width, width), bundle);
        bundle.clear();
        reader_.check_stop();
        reader_.progress("exporting", entry.seq, size_);
      }
      return true;
    });
  }

  void hashes(unsigned level) {
    const auto read = journal::hash_reader(reader_.home.paths.journal());
    const std::uint64_t count = size_ >> (level * tlog::tile_height);
    for (std::uint64_t n = 0; n * tlog::tile_width < count; ++n) {
      const auto width = std::min(tlog::tile_width, count - n * tlog::tile_width);
      put(tlog::tile_path(level, n, width), tlog::tile_bytes(read(tlog::tile_indexes(level, n, width))));
      reader_.check_stop();
    }
  }

  op::Context& reader_;
  const std::filesystem::path& dir_;
  std::uint64_t size_;
};

/// Partial tiles of an earlier export whose whole tile is there now.
void remove_outgrown(const std::filesystem::path& dir) {
  std::vector<std::filesystem::path> outgrown;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir / "tile")) {
    const auto path = entry.path().string();
    std::error_code error;
    if (entry.is_directory() && path.ends_with(".p") && std::filesystem::is_regular_file(path.substr(0, path.size() - 2), error)) outgrown.push_back(path);
  }
  for (const auto& path : outgrown) std::filesystem::remove_all(path);
}

void sync_all(const std::filesystem::path& dir) {
  const Fd fd(open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || syncfs(fd.get()) != 0) throw Error::from_errno("write", dir.string(), errno);
}

}  // namespace

ExportResult export_record(op::Context& reader, const std::filesystem::path& dir) {
  home::check_folder(dir);
  auto newest = newest_checkpoint(reader);
  const auto keys = log_keys(reader);
  journal::VerifyRequest request;
  request.origin = reader.home.config.origin();
  request.signature = [&](std::uint64_t size, const std::string& note) { return signed_in_turn(keys, request.origin, size, note); };
  request.progress = reader.options.progress;
  request.stop = reader.options.stop;
  const auto verified = journal::verify(reader.home.paths.journal(), request);
  if (!verified.findings.empty()) throw Error::tampered("the journal does not verify: " + verified.findings.front(), "kmtool audit verify says everything that is wrong");
  std::error_code error;
  if (reader.options.dry_run && !std::filesystem::is_directory(dir, error)) {
    require_makeable(dir);
    return {std::move(newest), 0, 0};
  }
  make_private_dir(dir);
  require_ours(reader, dir, reader.journal());
  if (reader.options.dry_run) return {std::move(newest), 0, 0};
  Exporter exporter(reader, dir, newest.checkpoint.size);
  exporter.run();
  exporter.handovers(keys);
  write_private_file(dir / "signer.pem", view(newest.key.pem()), true);
  write_private_file(dir / "signer.vkey", view(tlog::verifier_key(newest.checkpoint.origin, newest.key) + "\n"), true);
  sync_all(dir);
  write_private_file(dir / "checkpoint", view(newest.note.dump()), true);
  remove_outgrown(dir);
  return {std::move(newest), exporter.written, exporter.kept};
}

}  // namespace kmtool::audit
