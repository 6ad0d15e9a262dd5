#include <chrono>
#include <cstdio>

#include "kmtool/core/file.hpp"
#include "kmtool/core/lock.hpp"
#include "kmtool/home/home.hpp"

namespace kmtool::home {

namespace {

void move_into_place(const fs::path& from, const fs::path& to) {
  if (rename(from.c_str(), to.c_str()) != 0) throw Error::from_errno("rename", from.string(), errno);
}

/// Every file that still lies in `folder`, to its place under `root`; one that was moved already is not there any more.
void move_all(const fs::path& folder, const fs::path& root) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto target = root / entry.path().filename();
    if (entry.is_directory()) {
      make_private_dir(target);
      move_all(entry.path(), target);
    } else {
      move_into_place(entry.path(), target);
    }
  }
  fsync_path(root);
}

}  // namespace

void decide_restore(const Paths& paths) {
  fsync_path(paths.restore_begun());
  move_into_place(paths.restore_begun(), paths.restore_decided());
  fsync_path(paths.root);
}

void apply_restore(const Paths& paths) {
  const auto decided = paths.restore_decided();
  check_trusted(decided);
  std::error_code failed;
  // A log of the old database beside the new one would be played into it.
  for (const char* name : {"journal.db", "usage.db"}) {
    if (!fs::exists(decided / name, failed)) continue;  // moved already, or not in the archive
    for (const char* tail : {"-wal", "-shm"}) fs::remove((paths.root / name).string() + tail, failed);
  }
  try {
    move_all(decided, paths.root);
  } catch (const fs::filesystem_error& error) {
    throw Error::from_errno("read", decided.string(), error.code().value());
  }
  fs::remove_all(decided, failed);
  if (failed) throw Error::from_errno("remove", decided.string(), failed.value());
  fsync_path(paths.root);
}

void finish_restore(const Paths& paths) {
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(paths.restore_decided(), ignored))) return;
  check_trusted(paths.root);
  const auto lock = FileLock::acquire(paths.mutate_lock(), std::chrono::minutes(1));
  if (fs::exists(paths.restore_decided(), ignored)) apply_restore(paths);  // else another command was faster
}

}  // namespace kmtool::home
