#include "rotate/kek.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "kmtool/core/file.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/keys/succeed.hpp"
#include "kmtool/op/bundle_out.hpp"
#include "kmtool/op/copies.hpp"
#include "kmtool/op/objects.hpp"
#include "kmtool/transfer/transfer.hpp"

namespace kmtool::rotate {

namespace {

/// A rotation whose bundles are not all done.
struct OpenRotation {
  std::string name;
  int from = 0, to = 0;
  bool rewrap_all = false;
  std::vector<std::string> files;  ///< absolute
  bool settled = false;            ///< everything that was asked for is done; other bundles still need an old version
  std::vector<std::string> stay;   ///< of these, those that were looked at and could not be re-wrapped

  [[nodiscard]] journal::Change change() const {
    Json json{{"from", from}, {"to", to}, {"rewrap_all", rewrap_all}, {"files", files}};
    if (settled) json["settled"] = true;
    if (settled) json["stay"] = stay;
    return {"rotation", name, json};
  }
};

std::optional<OpenRotation> open_rotation(op::Context& context, const std::string& name) {
  const auto item = context.journal().proven("rotation", name);
  if (!item) return std::nullopt;
  const Json json = item->json();
  JsonReader reader(json, [&name](const std::string& what) { throw Error::tampered("catalog row rotation " + name + ": " + what, "run kmtool doctor"); });
  OpenRotation rotation;
  rotation.name = name;
  rotation.from = static_cast<int>(reader.integer("from", 1, 999999));
  rotation.to = static_cast<int>(reader.integer("to", 1, 999999));
  rotation.rewrap_all = reader.boolean("rewrap_all");
  rotation.files = reader.texts("files");
  if (reader.has("settled")) rotation.settled = reader.boolean("settled");
  if (reader.has("stay")) rotation.stay = reader.texts("stay");
  reader.finish();
  return rotation;
}

/// The files that were named (they are there): under the path that the catalog has, else behind symbolic links.
std::vector<std::string> absolute(const op::Context& context, const std::vector<std::filesystem::path>& paths) {
  std::vector<std::string> out;
  for (const auto& path : paths) {
    const auto plain = std::filesystem::absolute(path).lexically_normal();
    out.push_back(op::catalogued_at(context, plain).empty() ? std::filesystem::canonical(path).string() : plain.string());
  }
  return out;
}

std::filesystem::path own_folder(const op::Context& context) { return context.home.paths.root / "bundles"; }

/// What bundles call the old versions of a KEK: also as they were called before they were destroyed and came back under its name.
class OldVersions {
 public:
  OldVersions(const op::Context& context, std::string name, int active) : name_(std::move(name)), active_(active) {
    std::set<Bytes> ids;
    for (const auto& version : context.versions()) {
      if (version.role == Role::kek && is_old(version.name, version.version)) ids.insert(version.id);
    }
    for (const auto& version : context.versions()) {
      if (version.name != name_ && version.state == State::destroyed && ids.contains(version.id)) before_.insert(version.label());
    }
  }

  [[nodiscard]] bool contain(const std::string& label) const {
    const auto ref = KeyRef::parse(label);
    return is_old(ref.name, ref.version.value_or(active_)) || before_.contains(label);
  }

 private:
  [[nodiscard]] bool is_old(const std::string& name, int version) const { return name == name_ && version != active_; }

  std::string name_;
  int active_;
  std::set<std::string> before_;
};

/// Bundles of the catalog that need an old version of this KEK.
std::vector<op::BundleRecord> dependents(const op::Context& context, const std::string& name, int active) {
  const OldVersions old(context, name, active);
  auto bundles = context.bundles();
  std::erase_if(bundles, [&](const op::BundleRecord& bundle) {
    return std::ranges::none_of(bundle.keks, [&](const auto& kek) { return old.contain(kek); });
  });
  return bundles;
}

/// A file that was named and is a bundle which the catalog has elsewhere, where it is not: it stands under its new name from here
/// on.
void follow_moved(const op::Context& context, const OpenRotation& rotation, std::vector<op::BundleRecord>& bundles) {
  for (const auto& file : rotation.files) {
    if (!op::catalogued_at(context, file).empty()) continue;
    const auto moved =
        std::ranges::find_if(bundles, [&](const auto& bundle) { return op::lies_at(file, bundle.id) && op::moved_away(bundle); });
    if (moved != bundles.end()) moved->path = file;
  }
}

/// What shall be re-wrapped: everything that depends on old versions, or the files that were named (also ones the catalog does not know).
std::vector<op::BundleRecord> wanted(const op::Context& context, const OpenRotation& rotation) {
  auto bundles = dependents(context, rotation.name, rotation.to);
  std::erase_if(bundles, [](const auto& bundle) { return !bundle.kept_for.empty(); });
  follow_moved(context, rotation, bundles);
  std::set<std::string> named(rotation.files.begin(), rotation.files.end());
  // What rotations before this one have put into the home goes along.
  const auto own = own_folder(context);
  std::erase_if(bundles, [&](const auto& bundle) {
    const bool asked = named.erase(bundle.path) > 0 || rotation.rewrap_all;
    return !asked && std::filesystem::path(bundle.path).parent_path() != own;
  });
  for (const auto& file : named) {
    // One that is catalogued and does not depend on old versions is done already.
    if (!op::catalogued_at(context, file).empty()) continue;
    op::BundleRecord unknown;
    unknown.path = file;
    bundles.push_back(std::move(unknown));
  }
  return bundles;
}

bool is_there(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

/// A bundle of the catalog that needs an old version of this KEK, or a file that says so of itself.
bool needs_old(const op::Context& context, const op::BundleRecord& bundle, const OpenRotation& rotation) {
  if (!bundle.id.empty()) return true;
  LineReader reader(bundle.path, bundle::max_line);
  const auto header = bundle::read_header(reader);
  const OldVersions old(context, rotation.name, rotation.to);
  return std::ranges::any_of(header.recipients, [&](const auto& recipient) { return !recipient.is_public() && old.contain(recipient.kek); });
}

/// A settled rotation goes on where bundles are asked for that it left, that are here, and that were not looked at in vain.
bool has_more(const op::Context& context, const Request& request, const OpenRotation& before) {
  if (!request.rewrap_all && request.rewrap.empty()) return false;
  const OpenRotation asked{before.name, before.from, before.to, request.rewrap_all, absolute(context, request.rewrap), false, {}};
  return std::ranges::any_of(wanted(context, asked), [&](const auto& bundle) {
    return is_there(bundle.path) && std::ranges::find(before.stay, bundle.path) == before.stay.end() && needs_old(context, bundle, before);
  });
}

/// A rotation with the version that it made (in a dry run: would make), and whether the files that lie under the old one stay beside.
struct Begun {
  OpenRotation rotation;
  op::VersionRecord to;
  bool backed_up = false;
};

/// A new version. What a rotation before it had still to do is done by this one.
Begun begin(op::Context& context, const Request& request, const std::string& name, const std::optional<OpenRotation>& before, Report& report) {
  const auto key = context.find_key(name);
  if (!key) throw Error::missing("there is no kek " + name, "kmtool list --role kek shows them");
  OpenRotation rotation{name, 0, 0, request.rewrap_all, absolute(context, request.rewrap), false, {}};
  if (before && !before->settled) {
    rotation.rewrap_all = rotation.rewrap_all || before->rewrap_all;
    rotation.files.insert(rotation.files.end(), before->files.begin(), before->files.end());
  }
  keys::SuccessorRequest wanted{*key, keys::predecessor(context, *key), {}, request.overlap, {}, request.to};
  rotation.from = wanted.from.version;
  wanted.backup = request.backup;
  wanted.keks = request.keks;
  wanted.with = [&](const op::VersionRecord& to) {
    rotation.to = to.version;
    return std::vector<journal::Change>{rotation.change()};
  };
  std::optional<share::Maker> maker;
  wanted.no_quorum = request.no_quorum;
  if (request.quorum) {
    wanted.layer = maker.emplace(context, *request.quorum, request.backup.value()).layer();
    wanted.quorum = fmt::format("{}/{}", maker->quorum().needed, maker->quorum().shares);
  }
  auto made = succeed(context, request, std::move(wanted), report);
  rotation.to = made.to.version;
  if (made.backup) report.notes.push_back("the backup of " + made.to.label() + " is " + made.backup->string() + ": to be imported where the one before it was");
  if (maker) {
    maker->keep();
    report.backups.back().shares = maker->shares();
    for (auto& warning : maker->warnings()) report.notes.push_back(std::move(warning));
  }
  return {std::move(rotation), std::move(made.to), made.backup.has_value()};
}

using Labels = std::set<std::string>;

/// Exportable keys that bundles under old versions of this KEK hold.
Labels carried(const op::Context& context, const std::vector<op::BundleRecord>& bundles) {
  Labels labels;
  for (const auto& bundle : bundles) {
    for (auto& label : context.bundle_keys(bundle.id)) labels.insert(std::move(label));
  }
  std::erase_if(labels, [&](const std::string& label) {
    const auto version = op::version_named(context, label);
    return !version || version->role == Role::kek || !version->extractable || version->state == State::destroyed || version->state == State::compromised;
  });
  return labels;
}

std::filesystem::path carry_to(const op::Context& context, const std::string& to) {
  const auto folder = own_folder(context);
  auto path = folder / (to + ".kmb");
  for (int i = 2; std::filesystem::exists(path); ++i) path = folder / fmt::format("{}-{}.kmb", to, i);
  return path;
}

/// Leaves of these keys those that the token has. Others may have been destroyed on it since the backup that the catalog was put
/// back from: nothing can carry them, and each is named.
void only_what_is_there(op::Context& context, const std::string& kek, Labels& labels, Report& report) {
  std::map<std::string, op::VersionRecord> versions;
  std::vector<Bytes> ids;
  for (const auto& label : labels) {
    ids.push_back(versions.emplace(label, context.find_version(label).value()).first->second.id);
  }
  const auto located = context.token().locate(ids);
  for (const auto& [label, version] : versions) {
    const auto found = located.find(version.id);
    const auto there = found == located.end() ? 0 : std::ranges::count_if(found->second, op::may_be_key);
    if (static_cast<std::size_t>(there) >= parts_of(version.role).size()) continue;
    labels.erase(label);
    report.left.push_back(
        {label, "the token does not have it, though the catalog calls it " + std::string(to_text(version.state)) +
                    ": only bundles under the old kek hold it (where a restore forgot what became of them: kmtool bundles "
                    "--verify-all, then kmtool rotate " +
                    kek + " --rewrap-all)"});
  }
}

/// Exportable keys that were kept under the old KEK and are in no bundle under the new one: wrapped from the token into a bundle of the home.
void carry(op::Context& context, const OpenRotation& rotation, Labels labels, const transfer::RewrapResult& result, Report& report) {
  const auto to = label_of(rotation.name, rotation.to);
  for (const auto& bundle : context.bundles()) {
    if (std::find(bundle.keks.begin(), bundle.keks.end(), to) == bundle.keks.end()) continue;
    for (const auto& label : context.bundle_keys(bundle.id)) labels.erase(label);
  }
  for (const auto& done : result.done) {  // of a dry run
    for (const auto& label : done.keys) labels.erase(label);
  }
  if (!labels.empty()) only_what_is_there(context, rotation.name, labels, report);
  if (labels.empty()) return;
  if (context.options.dry_run) {
    report.rewrapped.push_back({carry_to(context, to).string(), labels.size()});
    return;
  }
  make_private_dir(own_folder(context));
  transfer::WrapRequest request;
  request.keys.assign(labels.begin(), labels.end());
  request.keks = {to};
  request.sessions = context.home.policy.sessions;
  request.out = carry_to(context, to);
  const auto made = transfer::wrap(context, request);
  report.rewrapped.push_back({made.bundle.path, made.bundle.records});
}

/// What depends on old versions when all is done: in a dry run what will be re-wrapped does no more, but for the old files that stay beside.
std::vector<op::BundleRecord> still_dependent(const op::Context& context, const OpenRotation& rotation, const transfer::RewrapResult& result) {
  auto bundles = dependents(context, rotation.name, rotation.to);
  follow_moved(context, rotation, bundles);
  if (!context.options.dry_run) return bundles;
  std::vector<op::BundleRecord> left;
  for (auto& bundle : bundles) {
    const auto done = std::find_if(result.done.begin(), result.done.end(), [&](const auto& one) { return one.file == bundle.path; });
    if (done == result.done.end()) {
      left.push_back(std::move(bundle));
    } else if (!done->kept.empty()) {
      bundle.path = done->kept;
      bundle.kept_for = bundle.id;
      left.push_back(std::move(bundle));
    }
  }
  return left;
}

/// What still depends on old versions, with the reason that is known.
void name_what_is_left(const op::Context& context, const OpenRotation& rotation, const transfer::RewrapResult& result, Report& report) {
  const auto& known = result.left;
  for (const auto& bundle : still_dependent(context, rotation, result)) {
    const auto found = std::find_if(known.begin(), known.end(), [&](const auto& left) { return left.file == bundle.path; });
    std::string why = rotation.rewrap_all || !rotation.files.empty() ? "it was not named" : "neither --rewrap-all nor --rewrap named it";
    if (!bundle.kept_for.empty()) why = "it is kept until a drill with its successor is confirmed";
    report.left.push_back(found != known.end() ? *found : transfer::NotRewrapped{bundle.path, why, false});
  }
  for (const auto& left : known) {
    const bool said = std::any_of(report.left.begin(), report.left.end(), [&](const auto& other) { return other.file == left.file; });
    if (!said) report.left.push_back(left);
  }
}

/// Another site opens bundles by its own copy of the KEK: the old ones stay until it has shown that it opens the new.
bool is_elsewhere(const op::Context& context, const std::string& name, int version) {
  const auto found = context.find_version(name, version);
  return found && !op::backups_of_kek(context, *found).empty();
}

void go_on(op::Context& context, const Request& request, OpenRotation& rotation, Report& report) {
  const auto& name = rotation.name;
  const auto made = context.find_version(name, rotation.to);
  if (request.backup && made && op::backups_of_kek(context, *made).empty()) {
    throw Error::usage(made->label() + " exists already, without a backup: --backup would write nothing",
                       "leave out --backup; an exportable KEK is backed up by kmtool export-kek " + made->label());
  }
  if (request.backup) report.notes.push_back(fmt::format("{} exists already: --backup was not needed again; kmtool bundles names its backup", label_of(name, rotation.to)));
  report.notes.push_back(fmt::format("going on with the rotation of {} from version {} to {}", name, rotation.from, rotation.to));
  if (rotation.settled) report.notes.back() += "; kmtool rotate " + name + ", without --rewrap, makes another version";
  rotation.settled = false;
  rotation.rewrap_all = rotation.rewrap_all || request.rewrap_all;
  for (auto& file : absolute(context, request.rewrap)) rotation.files.push_back(std::move(file));
}

/// How the rotation stands on record when everything was tried: gone, where no bundle needs an old version; those that are kept until a drill
/// do not count.
std::optional<Json> what_stays(const op::Context& context, OpenRotation rotation, const transfer::RewrapResult& result) {
  if (std::ranges::any_of(result.left, [](const auto& left) { return left.failed; })) return rotation.change().value;
  auto bundles = dependents(context, rotation.name, rotation.to);
  std::erase_if(bundles, [](const auto& bundle) { return !bundle.kept_for.empty(); });
  if (bundles.empty()) return std::nullopt;
  rotation.settled = true;
  rotation.rewrap_all = false;
  rotation.files.clear();
  for (const auto& left : result.left) {
    if (is_there(left.file) && std::ranges::find(rotation.stay, left.file) == rotation.stay.end()) rotation.stay.push_back(left.file);
  }
  return rotation.change().value;
}

}  // namespace

bool goes_on(op::Context& context, const Request& request, const std::string& name) {
  const auto before = open_rotation(context, name);
  const auto key = context.find_key(name);
  if (!before || !key || key->active != before->to) return false;
  const auto made = context.find_version(name, before->to);
  if (!made || !may_protect(made->state)) return false;
  if (const auto end = made->facts().originator_end; end && *end <= context.now()) return false;
  return !before->settled || has_more(context, request, *before);
}

void rotate_kek(op::Context& context, const Request& request, const std::string& name, Report& report) {
  OpenRotation rotation;
  bool keep = false;
  std::optional<op::VersionRecord> to_come;  // a dry run's, which no catalog has
  if (auto before = open_rotation(context, name); goes_on(context, request, name)) {
    rotation = std::move(before).value();
    go_on(context, request, rotation, report);
    // What is asked for now is on record before it is begun, for the same reason as the new version's.
    if (!context.options.dry_run) context.note("rotation open", label_of(name, rotation.to), {{"rewrapped", 0}}, {rotation.change()});
    // The backup is on record since the moment of the new version.
    keep = is_elsewhere(context, name, rotation.to);
  } else {
    auto begun = begin(context, request, name, before, report);
    rotation = std::move(begun.rotation);
    keep = begun.backed_up;
    if (context.options.dry_run) to_come = std::move(begun.to);
  }
  if (!context.options.dry_run) report.open = name;
  const auto labels = carried(context, dependents(context, name, rotation.to));
  const auto result = transfer::rewrap(context, {wanted(context, rotation), name, keep, request.sessions, to_come});
  report.rewrapped.insert(report.rewrapped.end(), result.done.begin(), result.done.end());
  report.notes.insert(report.notes.end(), result.notes.begin(), result.notes.end());
  carry(context, rotation, labels, result, report);
  name_what_is_left(context, rotation, result, report);
  for (const auto& left : result.left) {
    if (left.failed) report.failed.push_back({left.file, "rewrap", left.why, "it stays under the old kek; see kmtool verify " + left.file});
  }
  if (context.options.dry_run) return;
  const auto stays = what_stays(context, rotation, result);
  context.note(stays ? "rotation open" : "rotation closed", label_of(name, rotation.to),
               {{"rewrapped", result.done.size()}, {"remaining", dependents(context, name, rotation.to).size()}}, {{"rotation", name, stays}});
  report.open.clear();
}

}  // namespace kmtool::rotate
