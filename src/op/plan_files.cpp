#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "kmtool/bundle/bundle.hpp"
#include "kmtool/domain/name.hpp"
#include "op/state.hpp"

namespace kmtool::op {

namespace {

/// The id of the bundle that lies under this name; empty where there is none or it cannot be read.
std::string bundle_at(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return {};
  try {
    LineReader reader(path, bundle::max_line);
    return bundle::read_header(reader).id;
  } catch (const Error&) {
    return {};
  }
}

void remove_file(const std::string& path, std::vector<std::string>& done) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return;
  if (::unlink(path.c_str()) != 0) throw Error::from_errno("remove", path, errno);
  fsync_path(std::filesystem::path(path).parent_path());
  done.push_back("removed " + path);
}

bool same_file(const std::string& a, const std::string& b) {
  struct stat one {
  }, other{};
  return lstat(a.c_str(), &one) == 0 && lstat(b.c_str(), &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

bool landed(const PlannedFile& file) { return bundle_at(file.final_path) == file.bundle; }

}  // namespace

bool files_landed(const Plan& plan) { return !plan.files.empty() && std::all_of(plan.files.begin(), plan.files.end(), landed); }

void clear_file(const PlannedFile& file, std::vector<std::string>& done) {
  remove_file(file.temporary_path, done);
  if (landed(file)) remove_file(file.final_path, done);
  // The second name of a file that was to be kept, and was not replaced.
  if (!file.kept_path.empty() && same_file(file.kept_path, file.final_path)) remove_file(file.kept_path, done);
}

std::vector<journal::Change> landed_changes(Context& context, const PlannedFile& file) {
  std::vector<journal::Change> changes = replaced_changes(context, file);
  for (auto& change : bundle_record_of(context, file.final_path).changes()) changes.push_back(std::move(change));
  return changes;
}

std::vector<journal::Change> replaced_changes(Context& context, const PlannedFile& file) {
  for (auto& old : context.bundles()) {
    if (old.id != file.replaces) continue;
    if (file.kept_path.empty()) return old.removal();
    old.path = file.kept_path;
    old.kept_for = file.bundle;
    return old.changes();
  }
  return {};
}

std::vector<journal::Change> settle_files(Context& context, const Plan& plan, std::vector<std::string>& done) {
  std::vector<journal::Change> changes;
  for (const auto& file : plan.files) {
    if (landed(file)) {
      for (auto& change : landed_changes(context, file)) changes.push_back(std::move(change));
      done.push_back("recorded " + file.final_path);
    } else {
      clear_file(file, done);
    }
  }
  return changes;
}

BundleRecord bundle_record_of(Context& context, const std::string& path) {
  LineReader reader(path, bundle::max_line);
  BundleRecord record;
  const auto summary = bundle::read(
      reader, [&](const bundle::Record& key, std::size_t) { record.keys.push_back(label_of(key.name, key.version)); });
  if (!bundle::signature_by(summary, context.document_key(), path)) {
    throw Error::tampered(path + " is not signed by this home", "it is not what the journal's open intent was writing");
  }
  record.id = summary.header.id;
  record.kind = summary.header.kind;
  record.path = path;
  record.host = context.state().actor.host;
  record.digest = summary.file_digest;
  for (const auto& recipient : summary.header.recipients) record.keks.push_back(recipient.kek);
  record.records = summary.header.records;
  record.created = summary.header.created;
  return record;
}

}  // namespace kmtool::op
