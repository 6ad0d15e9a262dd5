#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <optional>
#include <thread>
#include <utility>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/journal/archive.hpp"
#include "kmtool/journal/usage_store.hpp"
#include "kmtool/op/admin.hpp"
#include "op/state.hpp"

namespace kmtool::op {

namespace {

constexpr const char* usage_name = "usage.db";  // counts of API keys; of a home that has any

/// A private working folder beside the output, removed again.
struct Scratch {
  std::filesystem::path path;
  explicit Scratch(const std::filesystem::path& beside) {
    std::string pattern = (beside / ".kmtool-backup-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw Error::from_errno("create", pattern, errno);
    path = pattern;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

std::string text_of(const std::filesystem::path& folder, const std::string& name, const std::filesystem::path& archive) {
  std::error_code ignored;
  if (!std::filesystem::exists(folder / name, ignored)) throw Error::tampered(archive.string() + " is not a kmtool home backup: " + name + " is missing");
  return read_file(folder / name);
}

/// The journal in it is proven by the log.pem in it, as a command would prove it: nothing of a home is replaced by what it could not use.
void require_sound(const std::filesystem::path& folder, const std::filesystem::path& archive) {
  const auto config = home::Config::parse(text_of(folder, "config.json", archive), archive.string() + ": config.json");
  const auto key = crypto::PublicKey::from_pem(text_of(folder, "signers/log.pem", archive), archive.string() + ": signers/log.pem");
  const auto file = folder / "journal.db";
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) throw Error::tampered(archive.string() + " is not a kmtool home backup: journal.db is missing");
  try {
    auto journal = journal::Journal::open(file, journal::Journal::Mode::write);
    trust_journal(journal, config.origin(), key);
  } catch (const Error& error) {
    throw Error::tampered("the journal in " + archive.string() + " cannot be trusted: " + error.message(), "nothing was replaced; use another backup");
  }
}

/// What of the home goes in beside journal and usage, where it is there.
std::vector<std::string> plain_files(const home::Paths& paths) {
  std::vector<std::string> names{"config.json", "policy.json", "signers/document.pem", "signers/log.pem"};
  std::error_code ignored;
  std::erase_if(names, [&](const std::string& name) { return !std::filesystem::exists(paths.root / name, ignored); });
  return names;
}

}  // namespace

std::vector<std::string> backup_names(const Context& context) {
  auto names = plain_files(context.home.paths);
  names.emplace_back("journal.db");
  std::error_code ignored;
  if (std::filesystem::exists(context.home.paths.root / usage_name, ignored)) names.emplace_back(usage_name);
  return names;
}

namespace {

/// What the home's plain files say, and which file its journal is. Nothing while a restore is being put into place.
struct Plain {
  std::vector<std::pair<std::string, std::string>> files;  ///< name, text
  std::pair<dev_t, ino_t> journal{};
  bool operator==(const Plain&) const = default;
};

std::optional<Plain> plain_of(const home::Paths& paths) {
  Plain found;
  struct stat info {};
  if (stat(paths.journal().c_str(), &info) != 0) throw Error::from_errno("read", paths.journal().string(), errno);
  found.journal = {info.st_dev, info.st_ino};
  for (const auto& name : plain_files(paths)) found.files.emplace_back(name, read_file(paths.root / name));
  std::error_code ignored;
  if (std::filesystem::exists(std::filesystem::symlink_status(paths.restore_decided(), ignored))) return std::nullopt;
  return found;
}

/// One copy of all into `folder`, and its names; nothing where files changed meanwhile. Without a lock: a checkpoint sink may make backups,
/// and it runs under the lock of the command that it is told by.
std::optional<std::vector<journal::Archived>> copy_home(const home::Paths& paths, const std::filesystem::path& folder) {
  const auto before = plain_of(paths);
  if (!before) return std::nullopt;
  std::vector<journal::Archived> files;
  for (const auto& [name, text] : before->files) {
    make_private_dir((folder / name).parent_path());
    write_private_file(folder / name, view(text), true);
    files.push_back({name, folder / name});
  }
  journal::Journal::open(paths.journal(), journal::Journal::Mode::read).copy_to(folder / "journal.db");
  files.push_back({"journal.db", folder / "journal.db"});
  if (const auto usage = journal::UsageStore::open_existing(paths.root / usage_name)) {
    usage->copy_to(folder / usage_name);
    files.push_back({usage_name, folder / usage_name});
  }
  if (plain_of(paths) != before) return std::nullopt;
  return files;
}

}  // namespace

std::vector<std::string> backup_home(Context& context, const std::filesystem::path& file) {
  constexpr int most_tries = 10;
  const auto target = home::check_output(file, context.options.overwrite);
  const Scratch scratch(target.parent_path());
  std::optional<std::vector<journal::Archived>> files;
  for (int tries = 0; !files; ++tries) {
    if (tries == most_tries) throw Error::busy("the files of the home " + context.home.paths.root.string() + " changed each time they were copied", "run the command again when nobody changes them");
    if (tries > 0) std::this_thread::sleep_for(std::chrono::milliseconds(200));
    const auto folder = scratch.path / std::to_string(tries);
    make_private_dir(folder);
    files = copy_home(context.home.paths, folder);
  }
  AtomicFile archive(target, context.options.overwrite, scratch.path / "archive");
  journal::write_archive(archive.temporary(), *files);
  archive.commit();
  std::vector<std::string> names;
  names.reserve(files->size());
  for (const auto& entry : *files) names.push_back(entry.name);
  return names;
}

namespace {

/// --force puts back an older state of a home; another home's backup would end this one, whose journal is nowhere else.
void require_same_home(const home::Paths& paths, const std::filesystem::path& extracted, const std::filesystem::path& backup) {
  std::error_code ignored;
  if (!std::filesystem::exists(paths.config(), ignored)) return;
  const auto there = home::Config::parse(read_file(paths.config()), paths.config().string());
  const auto in_backup = home::Config::parse(read_file(extracted / "config.json"), backup.string() + ": config.json");
  if (there.home_id == in_backup.home_id) return;
  throw Error::exists(paths.root.string() + " holds another home (" + there.home_id + ") than the one in " + backup.string() + " (" + in_backup.home_id + ")",
                      "restore into an empty folder: --home DIR");
}

void require_no_home(const Options& options) {
  std::error_code ignored;
  for (const auto& part : {options.paths.config(), options.paths.journal()}) {
    if (options.overwrite || !std::filesystem::exists(part, ignored)) continue;
    throw Error::exists("there is already a home at " + options.paths.root.string() + ": " + part.filename().string() + " is there",
                        "restore into another folder (--home), or give --force");
  }
}

}  // namespace

std::vector<std::string> restore_home(const Options& options, const std::filesystem::path& file) {
  std::error_code ignored;
  require_no_home(options);
  std::filesystem::path beside = std::filesystem::absolute(options.paths.root).lexically_normal();
  while (!std::filesystem::exists(beside, ignored)) beside = beside.parent_path();
  const Scratch scratch(beside);
  const auto names = journal::extract_archive(file, scratch.path);
  for (const auto& name : names) {
    if (name != "config.json" && name != "policy.json" && name != "journal.db" && name != usage_name && name.rfind("signers/", 0) != 0) {
      throw Error::tampered(file.string() + " is not a kmtool home backup: it holds " + name);
    }
  }
  require_sound(scratch.path, file);
  require_same_home(options.paths, scratch.path, file);
  if (options.dry_run) return names;
  make_private_dir(options.paths.root);
  const auto lock = FileLock::acquire(options.paths.mutate_lock(), options.lock_wait);
  const auto& paths = options.paths;
  const auto begun = paths.restore_begun();
  if (std::filesystem::exists(paths.restore_decided(), ignored)) home::apply_restore(paths);  // an interrupted one: first a whole home
  require_no_home(options);  // once more: while this one waited, another command may have made a home here
  require_same_home(paths, scratch.path, file);
  std::filesystem::remove_all(begun, ignored);
  make_private_dir(begun);
  make_private_dir(begun / "signers");
  for (const auto& name : names) {  // what SQLite wrote beside the journal stays behind
    make_private_dir((begun / name).parent_path());
    if (std::rename((scratch.path / name).c_str(), (begun / name).c_str()) != 0) throw Error::from_errno("create", (begun / name).string(), errno);
  }
  fsync_path(begun / "signers");
  home::decide_restore(paths);
  home::apply_restore(paths);
  return names;
}

}  // namespace kmtool::op
