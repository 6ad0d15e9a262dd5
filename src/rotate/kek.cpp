#include "rotate/kek.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "kmtool/core/file.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/keys/succeed.hpp"
#include "kmtool/transfer/transfer.hpp"

namespace kmtool::rotate {

namespace {

/// A rotation whose bundles are not all done.
struct OpenRotation {
  std::string name;
  int from = 0, to = 0;
  bool rewrap_all = false;
  std::vector<std::string> files;  ///< absolute

  [[nodiscard]] journal::Change change() const {
    Json json{{"from", from}, {"to", to}, {"rewrap_all", rewrap_all}, {"files", files}};
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

bool is_old_version(const std::string& label, const std::string& name, int active) {
  const auto ref = KeyRef::parse(label);
  return ref.name == name && ref.version.value_or(active) != active;
}

/// Bundles of the catalog that need an old version of this KEK.
std::vector<op::BundleRecord> dependents(const op::Context& context, const std::string& name, int active) {
  auto bundles = context.bundles();
  std::erase_if(bundles, [&](const op::BundleRecord& bundle) {
    return std::none_of(bundle.keks.begin(), bundle.keks.end(), [&](const auto& kek) { return is_old_version(kek, name, active); });
  });
  return bundles;
}

/// What shall be re-wrapped: everything that depends on old versions, or the files that were named (also ones the catalog does not know).
std::vector<op::BundleRecord> wanted(const op::Context& context, const OpenRotation& rotation) {
  auto bundles = dependents(context, rotation.name, rotation.to);
  std::erase_if(bundles, [](const auto& bundle) { return !bundle.kept_for.empty(); });
  if (rotation.rewrap_all) return bundles;
  std::set<std::string> named(rotation.files.begin(), rotation.files.end());
  // What rotations before this one have put into the home goes along.
  const auto own = own_folder(context);
  std::erase_if(bundles, [&](const auto& bundle) { return named.erase(bundle.path) == 0 && std::filesystem::path(bundle.path).parent_path() != own; });
  for (const auto& file : named) {
    // One that is catalogued and does not depend on old versions is done already.
    if (!op::catalogued_at(context, file).empty()) continue;
    op::BundleRecord unknown;
    unknown.path = file;
    bundles.push_back(std::move(unknown));
  }
  return bundles;
}

OpenRotation begin(op::Context& context, const Request& request, const std::string& name, Report& report) {
  const auto key = context.find_key(name);
  if (!key) throw Error::missing("there is no kek " + name, "kmtool list --role kek shows them");
  const auto from = keys::predecessor(context, *key);
  OpenRotation rotation{name, from.version, key->latest + 1, request.rewrap_all, absolute(context, request.rewrap)};
  keys::SuccessorRequest wanted{*key, from, {}, request.overlap, {}, request.to};
  wanted.backup = request.backup;
  wanted.with = [&](const op::VersionRecord& to) {
    auto rows = hook_rows(context, request, from, to);
    rows.push_back(rotation.change());
    return rows;
  };
  const auto made = keys::succeed(context, wanted);
  report.rotated.push_back({name, made.from.version, made.to.version});
  if (!made.kept.empty()) report.notes.push_back("the backup of " + made.from.label() + " that lay there is kept as " + made.kept);
  if (made.bundle) report.notes.push_back("the backup of " + made.to.label() + " is " + made.bundle->path + ": to be imported where the one before it was");
  owe_hook(context, request, made.from, made.to, report);
  return rotation;
}

using Labels = std::set<std::string>;

/// Exportable keys that bundles under old versions of this KEK hold.
Labels carried(const op::Context& context, const std::vector<op::BundleRecord>& bundles) {
  Labels labels;
  for (const auto& bundle : bundles) {
    for (auto& label : context.bundle_keys(bundle.id)) labels.insert(std::move(label));
  }
  std::erase_if(labels, [&](const std::string& label) {
    const auto ref = KeyRef::parse(label);
    const auto version = context.find_version(ref.name, ref.version.value_or(0));
    return !version || version->role == Role::kek || !version->extractable || version->state == State::destroyed || version->state == State::compromised;
  });
  return labels;
}

/// Exportable keys that were kept under the old KEK and are in no bundle under the new one: wrapped from the token into a bundle of the home.
std::filesystem::path carry_to(const op::Context& context, const std::string& to) {
  const auto folder = own_folder(context);
  auto path = folder / (to + ".kmb");
  for (int i = 2; std::filesystem::exists(path); ++i) path = folder / fmt::format("{}-{}.kmb", to, i);
  return path;
}

void carry(op::Context& context, const OpenRotation& rotation, Labels labels, Report& report) {
  const auto to = label_of(rotation.name, rotation.to);
  for (const auto& bundle : context.bundles()) {
    if (std::find(bundle.keks.begin(), bundle.keks.end(), to) == bundle.keks.end()) continue;
    for (const auto& label : context.bundle_keys(bundle.id)) labels.erase(label);
  }
  if (labels.empty()) return;
  make_private_dir(own_folder(context));
  transfer::WrapRequest request;
  request.keys.assign(labels.begin(), labels.end());
  request.keks = {to};
  request.sessions = context.home.policy.sessions;
  request.out = carry_to(context, to);
  const auto made = transfer::wrap(context, request);
  report.rewrapped.push_back({made.bundle.path, made.bundle.records});
}

/// What still depends on old versions, with the reason that is known.
void name_what_is_left(const op::Context& context, const OpenRotation& rotation, std::vector<transfer::NotRewrapped> known, Report& report) {
  for (const auto& bundle : dependents(context, rotation.name, rotation.to)) {
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

/// In a dry run there is no new version yet: what depends on any version of the KEK will be meant.
void preview(op::Context& context, const OpenRotation& rotation, Report& report) {
  auto labels = carried(context, dependents(context, rotation.name, rotation.to));
  for (auto& bundle : wanted(context, rotation)) {
    std::error_code error;
    if (std::filesystem::is_regular_file(bundle.path, error)) {
      for (const auto& label : context.bundle_keys(bundle.id)) labels.erase(label);
      report.rewrapped.push_back({bundle.path, bundle.records});
    } else {
      report.left.push_back({bundle.path, "it is not there: moved, or on offline media", false});
    }
  }
  const auto to = label_of(rotation.name, rotation.to);
  if (!labels.empty()) report.rewrapped.push_back({carry_to(context, to).string(), labels.size()});
}

}  // namespace

namespace {

/// Another site opens bundles by its own copy of the KEK: the old ones stay until it has shown that it opens the new.
bool is_elsewhere(const op::Context& context, const std::string& name, int version) {
  const auto found = context.find_version(name, version);
  return found && !op::backups_of_kek(context, *found).empty();
}

}  // namespace

void rotate_kek(op::Context& context, const Request& request, const std::string& name, Report& report) {
  const auto before = open_rotation(context, name);
  auto rotation = before ? *before : begin(context, request, name, report);
  if (context.options.dry_run) {
    preview(context, rotation, report);
    return;
  }
  if (before) {
    const auto made = context.find_version(name, rotation.to);
    if (request.backup && made && op::backups_of_kek(context, *made).empty()) {
      throw Error::usage(made->label() + " exists already, without a backup: --backup would write nothing",
                         "leave out --backup; an exportable KEK is backed up by kmtool export-kek " + made->label());
    }
    if (request.backup) report.notes.push_back(fmt::format("{} exists already: --backup was not needed again; kmtool bundles names its backup", label_of(name, rotation.to)));
    report.notes.push_back(fmt::format("going on with the rotation of {} from version {} to {}", name, rotation.from, rotation.to));
    rotation.rewrap_all = rotation.rewrap_all || request.rewrap_all;
    for (auto& file : absolute(context, request.rewrap)) rotation.files.push_back(std::move(file));
  }
  const auto labels = carried(context, dependents(context, name, rotation.to));
  // The backup is on record since the moment of the new version: also where an interrupted rotation goes on.
  const bool keep = is_elsewhere(context, name, rotation.to);
  transfer::RewrapRequest wanted_bundles{wanted(context, rotation), name, keep, request.sessions};
  const auto result = transfer::rewrap(context, wanted_bundles);
  report.rewrapped.insert(report.rewrapped.end(), result.done.begin(), result.done.end());
  carry(context, rotation, labels, report);
  name_what_is_left(context, rotation, result.left, report);
  const bool failed = std::any_of(result.left.begin(), result.left.end(), [](const auto& left) { return left.failed; });
  for (const auto& left : result.left) {
    if (left.failed) report.failed.push_back({left.file, "rewrap", left.why, "it stays under the old kek; see kmtool verify " + left.file});
  }
  const auto remaining = dependents(context, name, rotation.to).size();
  context.note(failed ? "rotation open" : "rotation closed", label_of(name, rotation.to), {{"rewrapped", result.done.size()}, {"remaining", remaining}},
               {failed ? rotation.change() : journal::Change{"rotation", name, std::nullopt}});
}

}  // namespace kmtool::rotate
