#include "kmtool/transfer/inventory.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <set>

#include "kmtool/core/count.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/host.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/domain/reason.hpp"
#include "kmtool/op/admin.hpp"
#include "kmtool/op/bundle_out.hpp"
#include "kmtool/op/copies.hpp"
#include "kmtool/transfer/transfer.hpp"

namespace kmtool::transfer {

namespace {

/// A bundle that this home wrote in the place of the recorded one, and has forgotten because it was put back since; nullopt: it is not one.
std::optional<op::BundleRecord> forgotten(op::Context& context, const op::BundleRecord& recorded, const VerifyResult& result) {
  const auto& header = result.summary.header;
  if (op::numbers_after_rollback(context) == 0 || header.kind != recorded.kind || header.created < recorded.created) return std::nullopt;
  if (!bundle::signature_by(result.summary, context.document_key(), recorded.path)) return std::nullopt;
  for (const auto& bundle : context.bundles()) {
    if (bundle.id == header.id) return std::nullopt;  // a copy of another one
  }
  // An older one is not forgotten: that it was written here is on record.
  if (op::bundle_recorded(context, header.id, result.summary.file_digest, std::numeric_limits<std::uint64_t>::max())) return std::nullopt;
  op::BundleRecord found = recorded;
  LineReader reader(recorded.path, bundle::max_line);
  const auto read = bundle::read(reader, [&](const bundle::Record& key, std::size_t) {
    found.keys.push_back(op::bundle_label(context, label_of(key.name, key.version), key.id));
  });
  if (header.of_kek()) found.keys.resize(1);  // its two records are one key
  const auto held = op::with_bare_labels(context, found.keys);
  const auto labels = context.bundle_keys(recorded.id);
  const bool whole = std::ranges::all_of(labels, [&](const auto& label) { return held.contains(label); });
  if (!whole || read.file_digest != result.summary.file_digest) return std::nullopt;
  found.keks.clear();
  found.public_keys.clear();
  found.take(header);  // its quorum, too
  found.digest = read.file_digest;
  found.restored.reset();
  return found;
}

BundleCheck check_one(op::Context& context, op::BundleRecord bundle) {
  using Verdict = BundleCheck::Verdict;
  std::error_code error;
  if (!std::filesystem::exists(bundle.path, error)) {
    const bool here = bundle.host == host_name() && bundle.offline.empty();
    const std::string why = !bundle.offline.empty() ? "kept offline: " + bundle.offline
                            : here ? "it is not there: moved (kmtool bundles --moved FILE says where; --offline PLACE, where it is kept on other media) or lost (--lost FILE)"
                                 : "written on " + bundle.host;
    return {std::move(bundle), here ? Verdict::missing : Verdict::elsewhere, why};
  }
  // A pipe would be waited for without end, with the home's lock held.
  if (!std::filesystem::is_regular_file(bundle.path, error)) return {std::move(bundle), Verdict::bad, "it is not a regular file"};
  try {
    const auto result = verify(&context, bundle.path, std::nullopt);
    if (result.summary.header.id != bundle.id) {
      auto found = forgotten(context, bundle, result);
      if (!found) return {std::move(bundle), Verdict::bad, "another bundle lies under this name"};
      found->verified = context.now();
      return {*std::move(found), Verdict::ok, "a newer one of this home, which a restore forgot", bundle.id};
    }
    if (!result.signer.trusted) return {std::move(bundle), Verdict::bad, "signed by someone unknown (" + result.signer.who + ")"};
    if (result.summary.file_digest != bundle.digest) return {std::move(bundle), Verdict::bad, "it is not the file that was written: its digest differs"};
    bundle.verified = context.now();
    const bool sealed = std::find(result.seals.begin(), result.seals.end(), "ok") != result.seals.end();
    return {std::move(bundle), Verdict::ok, sealed ? "" : "no seal could be checked: none of its KEKs is on this token"};
  } catch (const Error& failure) {
    if (failure.exit() == ExitCode::unavailable || failure.exit() == ExitCode::busy) throw;
    return {std::move(bundle), Verdict::bad, failure.message()};
  }
}

/// The bundles that are kept until a drill with this one: those that it took the place of, and theirs, one rotation after the other.
std::set<std::string> kept_before(const std::vector<op::BundleRecord>& bundles, const std::string& id) {
  std::set<std::string> found;
  std::vector<std::string> open{id};
  while (!open.empty()) {
    const auto successor = std::move(open.back());
    open.pop_back();
    for (const auto& bundle : bundles) {
      if (bundle.kept_for == successor && bundle.id != id && found.insert(bundle.id).second) open.push_back(bundle.id);
    }
  }
  return found;
}

/// Before anything that it took the place of is removed: the bundle is here, and is the one that was written.
void require_whole(op::Context& context, const op::BundleRecord& bundle) {
  const auto check = check_one(context, bundle);
  using Verdict = BundleCheck::Verdict;
  if (check.verdict == Verdict::ok) return;
  const std::string what = printable(bundle.path) + ": " + printable(check.why) + ", so nothing that it took the place of is removed";
  if (check.verdict == Verdict::bad) throw Error::tampered(what, "keep the older bundles and write this one anew");
  throw Error::missing(what, "put it back there, and confirm then");
}

/// Why the file under a kept bundle's path is not removed; empty: it is that bundle.
std::string not_there(const op::BundleRecord& bundle) {
  struct stat info {};
  if (lstat(bundle.path.c_str(), &info) != 0) return bundle.host == host_name() ? "it is not there: moved, or removed already" : "written on " + bundle.host;
  if (S_ISREG(info.st_mode) && op::lies_at(bundle.path, bundle.id)) return {};
  return "it is not the bundle that was kept under this name";
}

/// The row of the bundle that this file is, proven to be what was written.
op::BundleRecord row_of(op::Context& context, const std::filesystem::path& path) {
  const auto shown = printable(path.string());
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error))
    throw Error::missing("there is no bundle " + shown, "name the file where it lies now");
  const auto result = verify(&context, path, std::nullopt);
  const auto bundles = context.bundles();
  const auto row = std::ranges::find(bundles, result.summary.header.id, &op::BundleRecord::id);
  if (row == bundles.end()) {
    throw Error::missing(shown + " is no bundle of the catalog (" + result.summary.header.id + ")",
                         "kmtool bundles lists them; kmtool verify " + shown + " says whose it is");
  }
  if (!result.signer.trusted)
    throw Error::tampered(shown + " is signed by someone unknown (" + result.signer.who + ")",
                          "the catalog keeps the place that it has");
  if (result.summary.file_digest != row->digest)
    throw Error::tampered(shown + " is not the file that was written: its digest differs",
                          "the catalog keeps the place that it has");
  return *row;
}

}  // namespace

std::vector<Moved> take_moved(op::Context& context, const std::vector<std::filesystem::path>& files, const std::string& offline) {
  require_note("--offline", offline);
  std::vector<Moved> moved;
  std::vector<journal::Change> changes;
  Json details{{"moved", Json::array()}};
  for (const auto& file : files) {
    auto path = std::filesystem::absolute(file).lexically_normal();
    const auto row = row_of(context, path);
    if (row.path != path.string())
      path = std::filesystem::canonical(path);  // behind symbolic links: one can be made to lead elsewhere
    const auto twice = std::ranges::find(moved, row.id, [](const Moved& one) { return one.bundle.id; });
    const bool same = row.path == path.string();
    if (twice != moved.end() || (!same && op::lies_at(row.path, row.id))) {
      throw Error::exists(printable(path.string()) + " is a copy: the bundle lies at " +
                              printable(twice != moved.end() ? twice->bundle.path : row.path),
                          "a copy is not put on record; remove the one there first where this is to stand for it");
    }
    Moved one{row, row.path, row.host};
    one.bundle.path = path.string();
    one.bundle.host = printable(host_name());
    one.bundle.verified = context.now();
    one.bundle.bad.clear();
    one.bundle.offline = printable(offline);
    for (auto& change : one.bundle.changes()) changes.push_back(std::move(change));
    if (details["moved"].size() < 100)
      details["moved"].push_back({{"bundle", row.id}, {"from", one.from}, {"host", one.host}, {"to", one.bundle.path}, {"offline", offline}});
    moved.push_back(std::move(one));
  }
  if (context.options.dry_run || moved.empty()) return moved;
  context.note("bundles --moved", moved.size() == 1 ? moved.front().bundle.path : counted(moved.size(), "bundle"),
               std::move(details), std::move(changes));
  return moved;
}

std::vector<BundleCheck> verify_bundles(op::Context& context, const std::vector<op::BundleRecord>& bundles) {
  std::vector<BundleCheck> checks;
  for (const auto& bundle : bundles) {
    context.check_stop();
    checks.push_back(check_one(context, bundle));
    auto& check = checks.back();
    if (check.verdict == BundleCheck::Verdict::ok) check.bundle.bad.clear();
    if (check.verdict == BundleCheck::Verdict::bad) check.bundle.bad = printable(check.why).substr(0, 200);
    context.progress("verifying", checks.size(), bundles.size());
  }
  for (const auto& check : checks) {
    if (check.replaces.empty()) continue;
    for (auto& older : checks) {  // kept until a drill with the one whose place was taken
      if (older.bundle.kept_for == check.replaces) older.bundle.kept_for = check.bundle.id;
    }
  }
  if (context.options.dry_run) return checks;
  std::vector<journal::Change> changes;
  Json details{{"verified", 0}, {"not_verified", Json::array()}};
  std::size_t verified = 0;
  for (auto& check : checks) {
    const bool good = check.verdict == BundleCheck::Verdict::ok;
    if (good) ++verified;
    if (!check.replaces.empty()) {
      op::PlannedFile place;
      place.final_path = check.bundle.path;
      place.bundle = check.bundle.id;
      place.replaces = check.replaces;
      for (auto& change : op::replaced_changes(context, place, check.bundle)) changes.push_back(std::move(change));
      details["forgotten"].push_back({{"bundle", check.bundle.id}, {"replaces", check.replaces}});
    }
    if (good || check.verdict == BundleCheck::Verdict::bad) {
      for (auto& change : check.bundle.changes()) changes.push_back(std::move(change));
    }
    if (good) continue;
    if (details["not_verified"].size() < 100) {
      details["not_verified"].push_back({{"bundle", check.bundle.id}, {"why", check.why.substr(0, 200)}});
    }
  }
  details["verified"] = verified;
  context.note("bundles --verify-all", counted(checks.size(), "bundle"), std::move(details), std::move(changes));
  return checks;
}

Confirmed confirm_restored(op::Context& context, const std::filesystem::path& file) {
  const auto path = std::filesystem::absolute(file).lexically_normal();
  const auto id = op::catalogued_at(context, path);
  if (id.empty()) throw Error::missing("the catalog knows no bundle " + path.string(), "kmtool bundles lists them");
  std::vector<journal::Change> changes;
  std::vector<std::pair<std::string, std::string>> files;  // path, bundle
  Confirmed result;
  const auto superseded = kept_before(context.bundles(), id);
  for (auto& bundle : context.bundles()) {
    if (bundle.id == id) {
      if (!superseded.empty()) require_whole(context, bundle);
      bundle.restored = context.now();
      for (auto& change : bundle.changes()) changes.push_back(std::move(change));
    } else if (superseded.contains(bundle.id)) {
      const auto why = not_there(bundle);
      if (why.empty()) {
        result.removed.push_back(bundle.path);
        files.push_back({bundle.path, bundle.id});
      } else {
        result.left.push_back({bundle.path, why});
      }
      for (auto& change : bundle.removal()) changes.push_back(std::move(change));
    }
  }
  if (context.options.dry_run) return result;
  // On record first: a file that is left over then is only that.
  context.note("bundles --confirm-restored", path.string(), {{"bundle", id}, {"removed", result.removed}}, std::move(changes));
  for (const auto& [old, bundle] : files) {
    if (!op::lies_at(old, bundle)) continue;  // by now another took its place
    if (::unlink(old.c_str()) != 0 && errno != ENOENT) throw Error::from_errno("remove", old, errno);
    fsync_path(std::filesystem::path(old).parent_path());
  }
  return result;
}

}  // namespace kmtool::transfer
