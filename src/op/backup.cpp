#include <unistd.h>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/journal/archive.hpp"
#include "kmtool/journal/usage_store.hpp"
#include "kmtool/op/admin.hpp"
#include "op/state.hpp"

namespace kmtool::op {

namespace {

journal::Archived archived(const std::filesystem::path& root, const std::string& name) {
  return {name, to_bytes(read_file(root / name, std::size_t{1} << 34))};
}

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

Bytes data_of(const std::vector<journal::Archived>& files, const std::string& name, const std::filesystem::path& archive) {
  for (const auto& entry : files) {
    if (entry.name == name) return entry.data;
  }
  throw Error::tampered(archive.string() + " is not a kmtool home backup: " + name + " is missing");
}

/// The journal in it is proven by the log.pem in it, as a command would prove it: nothing of a home is replaced by what it could not use.
void require_sound(const std::vector<journal::Archived>& files, const std::filesystem::path& archive, const std::filesystem::path& beside) {
  const auto config = home::Config::parse(to_text(data_of(files, "config.json", archive)), archive.string() + ": config.json");
  const auto key = crypto::PublicKey::from_pem(to_text(data_of(files, "signers/log.pem", archive)), archive.string() + ": signers/log.pem");
  const Scratch scratch(beside);
  write_private_file(scratch.path / "journal.db", data_of(files, "journal.db", archive), false);
  try {
    auto journal = journal::Journal::open(scratch.path / "journal.db", journal::Journal::Mode::write);
    trust_journal(journal, config.origin(), key);
  } catch (const Error& error) {
    throw Error::tampered("the journal in " + archive.string() + " cannot be trusted: " + error.message(), "nothing was replaced; use another backup");
  }
}

}  // namespace

std::vector<std::string> backup_home(Context& context, const std::filesystem::path& file) {
  const auto target = check_output(file, context.options.overwrite);
  const auto& root = context.home.paths.root;
  std::vector<journal::Archived> files;
  for (const char* name : {"config.json", "policy.json", "signers/document.pem", "signers/log.pem"}) {
    std::error_code ignored;
    if (std::filesystem::exists(root / name, ignored)) files.push_back(archived(root, name));
  }
  const Scratch scratch(target.parent_path());
  context.journal().copy_to(scratch.path / "journal.db");
  files.push_back(archived(scratch.path, "journal.db"));
  if (const auto usage = journal::UsageStore::open_existing(root / usage_name)) {
    usage->copy_to(scratch.path / usage_name);
    files.push_back(archived(scratch.path, usage_name));
  }
  const auto archive = scratch.path / "archive";
  write_private_file(archive, {}, false);
  journal::write_archive(archive, files);
  write_private_file(target, view(read_file(archive, std::size_t{1} << 34)), context.options.overwrite);
  std::vector<std::string> names;
  for (const auto& entry : files) names.push_back(entry.name);
  return names;
}

std::vector<std::string> restore_home(const Options& options, const std::filesystem::path& file) {
  const auto files = journal::read_archive(file);
  for (const auto& entry : files) {
    if (entry.name != "config.json" && entry.name != "policy.json" && entry.name != "journal.db" && entry.name != usage_name && entry.name.rfind("signers/", 0) != 0) {
      throw Error::tampered(file.string() + " is not a kmtool home backup: it holds " + entry.name);
    }
  }
  std::error_code ignored;
  for (const auto& part : {options.paths.config(), options.paths.journal()}) {
    if (options.overwrite || !std::filesystem::exists(part, ignored)) continue;
    throw Error::exists("there is already a home at " + options.paths.root.string() + ": " + part.filename().string() + " is there",
                        "restore into another folder (--home), or give --force");
  }
  std::vector<std::string> names;
  for (const auto& entry : files) names.push_back(entry.name);
  std::filesystem::path beside = std::filesystem::absolute(options.paths.root).lexically_normal();
  while (!std::filesystem::exists(beside, ignored)) beside = beside.parent_path();
  require_sound(files, file, beside);
  if (options.dry_run) return names;
  make_private_dir(options.paths.root);
  const auto lock = FileLock::acquire(options.paths.mutate_lock(), options.lock_wait);
  const auto& paths = options.paths;
  const auto begun = paths.restore_begun();
  if (std::filesystem::exists(paths.restore_decided(), ignored)) home::apply_restore(paths);  // an interrupted one: first a whole home
  std::filesystem::remove_all(begun, ignored);
  make_private_dir(begun);
  make_private_dir(begun / "signers");
  for (const auto& entry : files) write_private_file(begun / entry.name, entry.data, true);
  home::decide_restore(paths);
  home::apply_restore(paths);
  return names;
}

}  // namespace kmtool::op
