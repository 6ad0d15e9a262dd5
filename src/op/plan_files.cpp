#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>

#include "kmtool/core/host.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/op/bundle_out.hpp"
#include "kmtool/op/copies.hpp"
#include "kmtool/op/openers.hpp"
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

/// The row of the bundle that an output under this path takes the place of, be it current or kept beside its successor.
std::optional<BundleRecord> recorded_at(const Context& context, const std::string& path) {
  std::optional<BundleRecord> found;
  for (auto& bundle : context.bundles()) {
    if (bundle.path == path && (!found || lies_at(path, bundle.id))) found = std::move(bundle);
  }
  return found;
}

void remove_file(const std::string& path, std::vector<std::string>& done) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return;
  if (::unlink(path.c_str()) != 0) throw Error::from_errno("remove", path, errno);
  fsync_path(std::filesystem::path(path).parent_path());
  done.push_back("removed " + path);
}

/// True when another bundle may stand for this one: it is there, as far as this host can tell, the last verification found nothing wrong,
/// somebody can open it, and it does not wait for a drill that removes it. (One that waits for the drill with this very bundle will wait no more.)
bool gives_back(const BundleRecord& other, const std::string& bundle, const Openers& openers) {
  const bool stays = other.kept_for.empty() || other.kept_for == bundle;
  return stays && other.bad.empty() && !moved_away(other) && openers.open(other);
}

/// True when this bundle, with these keys, is the only one to hold a key that the token has no more or cannot give away again, or a
/// KEK: its other site opens bundles by that copy. What the bundle that takes its place at `target` holds too (`now`), and the
/// token can still give, does not count; nor does another bundle that gives it back.
bool irreplaceable(const Context& context, const std::string& target, const std::string& bundle,
                   const std::vector<std::string>& labels, const std::vector<std::string>& now) {
  std::set<std::string> only_here;
  for (const auto& label : labels) {
    const auto version = version_named(context, label);
    const bool again = std::find(now.begin(), now.end(), label) != now.end();
    const bool on_token = version && version->state != State::destroyed;
    if (on_token ? !version->extractable || (version->role == Role::kek && !again) : !again) only_here.insert(label);
  }
  if (only_here.empty()) return false;
  const Openers openers(context, nullptr);
  for (const auto& other : context.bundles()) {
    if (only_here.empty()) break;
    if (other.id == bundle || other.path == target) continue;
    auto held = context.bundle_keys(other.id);
    std::erase_if(held, [&](const auto& label) { return !only_here.contains(label); });
    if (held.empty() || !gives_back(other, bundle, openers)) continue;
    for (const auto& label : held) only_here.erase(label);
  }
  return !only_here.empty();
}

/// Labels of the keys in a bundle that the catalog need not know, where each of them is the very key that the catalog has under
/// its label: after a restore another may have come to that name and number. nullopt: one is not, or the file cannot be read.
std::optional<std::vector<std::string>> known_keys(const Context& context, const std::string& path) try {
  std::vector<std::string> labels;
  bool known = true;
  LineReader reader(path, bundle::max_line);
  const auto summary = bundle::read(reader, [&](const bundle::Record& key, std::size_t) {
    const auto version = context.find_version(key.name, key.version);
    known = known && version && version->id == key.id;
    labels.push_back(label_of(key.name, key.version));
  });
  if (!known) return std::nullopt;
  if (summary.header.of_kek()) labels.resize(1);  // its two records are one key
  return labels;
} catch (const Error&) {
  return std::nullopt;
}

/// What an output takes the place of (the id of its row, or of the file that is kept), and where that one is kept. One that is on record
/// there and was moved away is kept on record alone: under a name where `bundles --moved` still finds its row.
struct Place {
  std::string replaces, kept;
};

/// While it is written a bundle's name is longer (temporary_for()), and so is that of one which is kept.
void require_room(const std::filesystem::path& target) {
  constexpr std::size_t more = 20;
  const auto most = pathconf(target.parent_path().c_str(), _PC_NAME_MAX);
  const auto size = target.filename().string().size();
  if (most <= 0 || size + more <= static_cast<std::size_t>(most)) return;
  throw Error::exists(printable(target.string()) + " has a name that is too long for a bundle: " + std::to_string(size) + " bytes",
                      "while it is written its name is " + std::to_string(more) + " bytes longer, and the folder takes " + std::to_string(most) + ": choose a shorter one");
}

Place place_of(const Context& context, const std::string& target, const std::vector<std::string>& keys) {
  require_room(target);
  const auto row = recorded_at(context, target);
  const auto there = bundle_at(target);
  Place place{row ? row->id : "", ""};
  const auto needed = [&](const BundleRecord& known) {
    // One that waits for the drill with its successor goes on waiting.
    return !known.kept_for.empty() || irreplaceable(context, target, known.id, context.bundle_keys(known.id), keys);
  };
  bool keep = false;
  if (there.empty()) {
    if (row && needed(*row)) place.kept = kept_name(context, target);
    return place;
  }
  if (row && row->id == there) {
    keep = needed(*row);
  } else {
    const auto bundles = context.bundles();
    const auto known = std::ranges::find(bundles, there, &BundleRecord::id);
    if (known == bundles.end()) {  // a restore forgot it, or another home wrote it
      const auto labels = known_keys(context, target);
      keep = !labels || irreplaceable(context, target, there, *labels, keys);
    } else if (!lies_at(known->path, there) || !known->bad.empty()) {  // moved here, or a copy whose original is out of sight
      keep = needed(*known);
    }
  }
  if (keep) place = {there, kept_name(context, target)};
  return place;
}

bool landed(const PlannedFile& file) { return bundle_at(file.final_path) == file.bundle; }

}  // namespace

bool lies_at(const std::string& path, const std::string& id) { return !id.empty() && bundle_at(path) == id; }

bool moved_away(const BundleRecord& bundle) {
  return bundle.host == host_name() && !lies_at(bundle.path, bundle.id);
}

bool files_landed(const Plan& plan) { return !plan.files.empty() && std::all_of(plan.files.begin(), plan.files.end(), landed); }

void clear_file(const PlannedFile& file, std::vector<std::string>& done) {
  remove_file(file.temporary_path, done);
  const bool kept = !file.kept_path.empty() && !file.replaces.empty() && bundle_at(file.kept_path) == file.replaces;
  if (landed(file) && kept) {  // what lay there comes back
    if (::rename(file.kept_path.c_str(), file.final_path.c_str()) != 0) throw Error::from_errno("rename", file.kept_path, errno);
    fsync_path(std::filesystem::path(file.final_path).parent_path());
    done.push_back("put back " + file.final_path);
    return;
  }
  if (landed(file)) remove_file(file.final_path, done);
  if (kept && bundle_at(file.final_path) == file.replaces) remove_file(file.kept_path, done);  // it was not replaced
}

std::vector<journal::Change> landed_changes(Context& context, const PlannedFile& file) {
  auto record = bundle_record_of(context, file.final_path);
  auto changes = replaced_changes(context, file, record);
  for (auto& change : record.changes()) changes.push_back(std::move(change));
  return changes;
}

namespace {

/// The rows of a file that is kept and that the catalog does not know. None where its signature is not this home's, or a key in
/// it is not known: by its label a row would pass for a copy of another key.
std::vector<journal::Change> kept_rows(Context& context, const PlannedFile& file, const std::set<std::string>& held) try {
  const auto labels = known_keys(context, file.kept_path);
  if (!labels) return {};
  auto record = bundle_record_of(context, file.kept_path);
  if (std::ranges::all_of(*labels, [&](const auto& label) { return held.contains(label); })) record.kept_for = file.bundle;
  return record.changes();
} catch (const Error&) {
  return {};
}

}  // namespace

std::vector<journal::Change> replaced_changes(Context& context, const PlannedFile& file, BundleRecord& now) {
  std::vector<journal::Change> changes;
  if (file.replaces.empty()) return changes;
  const auto held = with_bare_labels(context, now.keys);
  const auto in_place = [&](const BundleRecord& bundle) {
    return std::ranges::all_of(context.bundle_keys(bundle.id), [&](const auto& label) { return held.contains(label); });
  };
  auto bundles = context.bundles();
  const auto found = std::ranges::find(bundles, file.replaces, &BundleRecord::id);
  const bool recorded = found != bundles.end();
  const bool was_here = recorded && found->path == file.final_path;
  if (was_here) now.offline = found->offline;
  const bool replaced = was_here || (recorded && moved_away(*found));  // else a copy of it lay here
  std::set<std::string> changed;
  std::map<std::string, bool> gone;  // whether the new one holds all that it held
  std::vector<std::string> beside;   // what the one that is kept holds, and its row says so
  if (!recorded && !file.kept_path.empty()) changes = kept_rows(context, file, held);
  if (recorded) beside = context.bundle_keys(found->id);
  if (!changes.empty()) beside = known_keys(context, file.kept_path).value_or(std::vector<std::string>{});
  // One that is on record here, was moved away and alone holds something: another lay in its place, and its row is not lost with that one.
  const auto drop = [&](BundleRecord& bundle) {
    const bool held_now = in_place(bundle);
    auto alone = context.bundle_keys(bundle.id);
    if (!file.kept_path.empty()) std::erase_if(alone, [&](const auto& label) { return std::ranges::find(beside, label) != beside.end(); });
    if (held_now || !irreplaceable(context, file.final_path, bundle.id, alone, now.keys)) {
      gone[bundle.id] = held_now;
      return;
    }
    bundle.path = kept_name(context, file.final_path);
    changed.insert(bundle.id);
  };
  if (replaced && file.kept_path.empty()) drop(*found);
  if (replaced && !file.kept_path.empty()) {
    if (in_place(*found)) found->kept_for = file.bundle;  // else it is kept for its own sake: it holds what the new one does not
    found->path = file.kept_path;
    changed.insert(found->id);
  }
  for (auto& bundle : bundles) {  // another lay in its place already
    if (!was_here && bundle.path == file.final_path && bundle.id != now.id && bundle.id != file.replaces) drop(bundle);
  }
  // Older ones that were kept until a drill with one that is gone wait for the new one's drill, or stand for themselves.
  for (auto& bundle : bundles) {
    const auto before = gone.find(bundle.kept_for);
    if (before == gone.end() || gone.contains(bundle.id)) continue;
    bundle.kept_for = before->second ? file.bundle : "";
    changed.insert(bundle.id);
  }
  for (const auto& bundle : bundles) {
    if (!changed.contains(bundle.id) && !gone.contains(bundle.id)) continue;
    for (auto& change : gone.contains(bundle.id) ? bundle.removal() : bundle.changes()) changes.push_back(std::move(change));
  }
  return changes;
}

std::string kept_name(const Context& context, const std::string& path) {
  constexpr int most_kept = 100000;
  std::set<std::string> recorded;  // be they there or moved away
  for (auto& bundle : context.bundles()) recorded.insert(std::move(bundle.path));
  for (int i = 1; i <= most_kept; ++i) {
    auto name = path + ".@" + std::to_string(i);
    struct stat info {};
    if (recorded.contains(name) || lstat(name.c_str(), &info) == 0) continue;
    if (errno != ENOENT && errno != ENOTDIR) throw Error::from_errno("look for", name, errno);
    return name;
  }
  throw Error::exists(printable(path) + " has " + std::to_string(most_kept) + " kept ones beside it already", "choose another name");
}

std::string kept_where(const Context& context, const std::filesystem::path& target, const std::vector<std::string>& keys) {
  return place_of(context, target.string(), keys).kept;
}

PlannedFile planned_file(Context& context, const std::filesystem::path& target, const std::string& bundle, const std::vector<std::string>& keys) {
  auto place = place_of(context, target.string(), keys);
  PlannedFile file;
  file.final_path = target.string();
  file.temporary_path = temporary_for(context, target).string();
  file.bundle = bundle;
  file.replaces = std::move(place.replaces);
  file.kept_path = std::move(place.kept);
  return file;
}

void keep_replaced(const PlannedFile& file) {
  if (file.kept_path.empty()) return;
  if (::link(file.final_path.c_str(), file.kept_path.c_str()) == 0) return;
  if (errno == ENOENT) return;  // it was moved away: it is kept on record alone
  if (errno != EPERM && errno != ENOTSUP && errno != ENOSYS && errno != EMLINK) throw Error::from_errno("create", file.kept_path, errno);
  // Media without hard links, such as a memory stick's file system: a copy.
  const Fd from(open(file.final_path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!from) throw Error::from_errno("open", file.final_path, errno);
  AtomicFile copy(file.kept_path, false);
  Bytes chunk(std::size_t{64} << 10);
  for (;;) {
    const auto got = ::read(from.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error::from_errno("read", file.final_path, errno);
    if (got == 0) break;
    copy.write(ByteView(chunk.data(), static_cast<std::size_t>(got)));
  }
  copy.commit();
}

bool bundle_recorded(Context& context, const std::string& bundle, const std::string& digest, std::uint64_t before) {
  const auto& head = context.state().head;
  if (!head) return false;
  auto& journal = context.journal();
  std::optional<std::uint64_t> found;
  journal.each_entry(0, [&](const journal::Entry& entry) {
    if (entry.seq >= std::min(before, head->checkpoint.size)) return false;
    if (entry.bytes.find(digest) == std::string::npos) return true;
    for (const auto& change : entry.json().value("changes", Json::array())) {
      const Json value = change.value("value", Json());
      if (change.value("kind", "") != "bundle" || change.value("id", "") != bundle || !value.is_object()) continue;
      if (value.value("digest", "") == digest) found = entry.seq;
    }
    return !found;
  });
  if (found) journal.check_entries();  // the head's proof speaks of the last entry and of stored hashes only
  return found.has_value();
}

Making making_of(Context& context, const std::string& bundle) {
  const auto& head = context.state().head;
  if (!head || bundle.empty()) return Making::unknown;
  auto& journal = context.journal();
  bool written = false, undone = false;
  // Its intents, first entry and last; one that was dropped with a rollback has no outcome: nobody knows what became of it.
  std::map<std::uint64_t, std::uint64_t> begun;
  const auto intended = [&](const Json& files) {
    return std::ranges::any_of(files, [&](const Json& file) { return file.is_object() && file.value("bundle", "") == bundle; });
  };
  journal.each_entry(0, [&](const journal::Entry& entry) {
    if (entry.seq >= head->checkpoint.size) return false;
    const bool names_it = entry.bytes.find(bundle) != std::string::npos;
    if (!names_it && begun.empty()) return true;
    const Json json = entry.json();
    const auto result = json.value("result", "");
    if (json.value("phase", "") == "outcome" && (result == "undone" || result == "failed")) {
      const auto number = json.value("intent", std::uint64_t{0});
      undone = std::erase_if(begun, [&](const auto& intent) { return intent.first <= number && number <= intent.second; }) > 0 || undone;
    }
    if (!names_it) return true;
    for (const auto& change : json.value("changes", Json::array())) {
      const Json value = change.value("value", Json());
      if (!value.is_object()) continue;
      if (change.value("kind", "") == "bundle" && change.value("id", "") == bundle) written = true;
      if (change.value("kind", "") != "intent" || !intended(value.value("files", Json::array()))) continue;
      const auto part = json.value("part", std::vector<std::uint64_t>{1, 1});
      begun[entry.seq + 1 - part.at(0)] = entry.seq + part.at(1) - part.at(0);
    }
    return !written;
  });
  const auto found = written ? Making::written : undone && begun.empty() ? Making::undone : Making::unknown;
  if (found != Making::unknown) journal.check_entries();
  return found;
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
      reader, [&](const bundle::Record& key, std::size_t) { record.keys.push_back(bundle_label(context, label_of(key.name, key.version), key.id)); });
  if (summary.header.of_kek()) record.keys.resize(1);  // its two records are one key
  if (!bundle::signature_by(summary, context.document_key(), path)) {
    throw Error::tampered(path + " is not signed by this home", "it is not what the journal's open intent was writing");
  }
  record.take(summary.header);
  record.path = path;
  record.host = context.state().actor.host;
  record.digest = summary.file_digest;
  return record;
}

}  // namespace kmtool::op
