#include "keys/succeed_backup.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"

namespace kmtool::keys {

namespace {

/// To whom a KEK's successor goes: whoever the old one's backups are for, parents in their versions of today. Public keys and parents that
/// are brought take the place of the recorded ones, for a transport key elsewhere may have been renewed.
op::KekDestinations destinations_of(const op::Context& context, const op::VersionRecord& from, op::KekDestinations to) {
  const bool parents_named = !to.parents.empty();
  for (const auto& bundle : op::backups_of_kek(context, from)) {
    for (const auto& label : bundle.keks) {
      const auto name = KeyRef::parse(label).name;
      if (!parents_named && name != from.name && std::ranges::find(to.parents, name) == to.parents.end()) to.parents.push_back(name);
    }
    if (!to.public_keys.empty()) continue;
    for (const auto& fingerprint : bundle.public_keys) {
      if (std::ranges::find(to.recorded, fingerprint) == to.recorded.end()) to.recorded.push_back(fingerprint);
    }
  }
  return to;
}

/// `3/5`, empty for none. Rows of older homes do not say: the file tells, but only the one whose digest is on record. nullopt: nobody knows.
std::optional<std::string> quorum_of(const op::BundleRecord& bundle) {
  if (bundle.quorum) return bundle.quorum;
  std::error_code error;
  if (!std::filesystem::is_regular_file(bundle.path, error)) return std::nullopt;
  try {
    LineReader reader(bundle.path, bundle::max_line);
    const auto summary = bundle::read(reader, {});
    if (summary.file_digest != bundle.digest) return std::nullopt;
    op::BundleRecord told;
    told.take(summary.header);
    return told.quorum;
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// M of `M/N`.
unsigned needed_of(const std::string& quorum) {
  unsigned needed = 0;
  std::from_chars(quorum.data(), quorum.data() + quorum.size(), needed);
  return needed;
}

/// `3 of 5 shares`
std::string in_words(const std::string& quorum) {
  const auto slash = quorum.find('/');
  return quorum.substr(0, slash) + " of " + (slash == std::string::npos ? "" : quorum.substr(slash + 1)) + " shares";
}

/// A bundle that custodians' shares open.
struct Guarded {
  std::string what;
  std::optional<std::string> quorum;  ///< nullopt: nobody knows whether it needs one
  std::string why = {}, how = {};     ///< why not, and what tells it
};

/// The newest restore of the home that was accepted. Backups that were made before may be forgotten.
struct Restore {
  std::uint64_t seq;  ///< the entry that accepted it
  UnixTime when;

  /// What was made at `created` and is on record by the entry `set_by` came later. Times have a resolution of a second: within it the entries tell.
  [[nodiscard]] bool precedes(UnixTime created, std::uint64_t set_by) const { return created > when || (created == when && set_by > seq); }
};

/// nullopt: none was.
std::optional<Restore> last_restore(op::Context& context) {
  const auto row = context.journal().proven("rollback", "accepted");
  if (!row) return std::nullopt;
  Restore restore{row->seq, std::numeric_limits<UnixTime>::max()};
  context.journal().each_entry(row->seq, [&](const journal::Entry& entry) {
    restore.when = parse_rfc3339(entry.json().value("time", "")).value_or(restore.when);
    return false;
  });
  return restore;
}

/// This home's record of the KEK's backups may have a gap that no backup made since has closed.
bool backups_forgotten(op::Context& context, const op::VersionRecord& kek, const std::vector<op::BundleRecord>& backups) {
  const auto restore = last_restore(context);
  const bool older = kek.origin == "generated" && restore && !restore->precedes(kek.created, kek.seq);
  if (kek.role != Role::kek || !(older || kek.origin == "adopted")) return false;
  return std::ranges::none_of(backups, [&](const auto& bundle) { return !restore || restore->precedes(bundle.created, bundle.seq); });
}

/// What of this KEK lies behind a quorum: where it came from, and its backups.
std::vector<Guarded> guarded(op::Context& context, const op::VersionRecord& kek) {
  std::vector<Guarded> found;
  if (!kek.quorum.empty()) {
    const bool imported = kek.origin == "imported";
    found.push_back({imported ? "what " + kek.label() + " was imported from" : "a backup of " + kek.label() + ", which is on record as lost,", kek.quorum});
  }
  const auto backups = op::backups_of_kek(context, kek);
  for (const auto& bundle : backups) {
    auto quorum = quorum_of(bundle);
    if (quorum && quorum->empty()) continue;
    found.push_back({"the backup " + printable(bundle.path) + " of " + kek.label(), std::move(quorum),
                     "for an earlier kmtool wrote it, and that file is not there", "put it back under that name for the rotation, or"});
  }
  if (backups_forgotten(context, kek, backups)) {
    found.push_back({std::string(backups.empty() ? "the" : "the newest") + " backup that " + kek.label() + " may have", std::nullopt, "for it is older than a restore of the home, or another home made it",
                     "kmtool inspect FILE tells of such a bundle;"});
  }
  return found;
}

/// Custodians' shares open a value that a layer lies over: a successor without it would be worth less than the old one.
void require_quorum(op::Context& context, const SuccessorRequest& request, std::vector<std::string>& notes) {
  for (const auto& [what, quorum, why, how] : guarded(context, request.from)) {
    if (!request.quorum.empty()) {
      if (quorum && needed_of(request.quorum) < needed_of(*quorum)) {
        notes.push_back("the backup of the new version opens with " + in_words(request.quorum) + "; " + what + " needs " + in_words(*quorum));
      }
      continue;
    }
    const std::string rotate = "kmtool rotate " + request.key.name + " --backup FILE --quorum " + quorum.value_or("M/N") + " --shares DIR";
    if (quorum) throw Error::refused("G-VAULT", what + " opens with " + in_words(*quorum) + ", and so must its successor's backup", rotate);
    if (request.no_quorum) {
      notes.push_back("whether " + what + " opens with a quorum is not on record; the new one's opens without one, as --quorum none says");
      continue;
    }
    throw Error::refused("G-VAULT", fmt::format("whether {} opens with a quorum of custodians is not on record, {}", what, why),
                         fmt::format("{} give the new one a quorum: {}; or --quorum none where you know that the old one had none", how, rotate));
  }
}

void require_not_itself(const SuccessorRequest& request, const op::KekDestinations& to) {
  for (const auto& parent : to.parents) {
    if (KeyRef::parse(parent).name != request.key.name) continue;
    throw Error::usage(request.key.name + " would be backed up under itself", "name another parent kek");
  }
}

}  // namespace

std::vector<op::VersionRecord> recipients_of(const op::Context& context, const SuccessorRequest& request) {
  if (!request.keks.empty()) return op::resolve_keks(context, request.keks);
  const auto& from = request.from;
  auto bundles = context.bundles_of(from);
  std::erase_if(bundles, [](const op::BundleRecord& bundle) { return bundle.kind != "keys" || !bundle.kept_for.empty(); });
  if (bundles.empty()) {
    throw Error::missing("the catalog knows no bundle that holds " + from.label() + ", so it is not known under which kek to back up its successor",
                         "kmtool rotate " + request.key.name + " --backup FILE --kek KEK");
  }
  const auto first = std::min_element(bundles.begin(), bundles.end(), [](const auto& a, const auto& b) { return a.created < b.created; });
  std::vector<op::VersionRecord> keks;
  for (const auto& label : first->keks) {
    auto kek = context.resolve(KeyRef::parse(label).name);
    const bool twice = std::any_of(keks.begin(), keks.end(), [&](const auto& other) { return other.id == kek.id; });
    if (!twice) keks.push_back(std::move(kek));
  }
  return keks;
}

std::vector<op::KekRecipient> kek_recipients_of(op::Context& context, const SuccessorRequest& request, std::vector<std::string>& notes) {
  require_quorum(context, request, notes);
  auto named = request.to;
  named.parents = request.keks;
  require_not_itself(request, named);
  const auto to = destinations_of(context, request.from, std::move(named));
  for (const auto& fingerprint : to.recorded) {
    if (op::public_key_recorded(context, fingerprint)) continue;
    throw Error::refused("G-VAULT", "the backup of " + request.from.label() + " is for the public key " + fingerprint + ", of which only the fingerprint is on record",
                         "kmtool rotate " + request.key.name + " --backup FILE --to-public-key PEM --fingerprint " + fingerprint);
  }
  if (to.empty()) {
    throw Error::missing("the catalog knows no bundle that holds " + request.from.label() + ", so it is not known to whom its successor goes",
                         "kmtool rotate " + request.key.name + " --backup FILE --to-public-key PEM --fingerprint HEX, or --kek PARENT");
  }
  return op::resolve_recipients(context, to);
}

void refuse_without_backup(op::Context& context, const SuccessorRequest& request) {
  const auto& from = request.from;
  std::string how = " was exported";
  if (from.origin == "unwrapped") how = " was restored from a bundle";
  if (from.origin == "imported") how = " was imported from a bundle";
  if (from.backed_up && from.origin == "generated") how = " was backed up at birth";
  if (from.backed_up && from.origin == "adopted") how = " could leave the token for a backup at birth";
  std::string what = from.label() + how + ": its successor needs a backup too";
  std::string hint = "kmtool rotate " + request.key.name + " --backup FILE";
  const auto to = destinations_of(context, from, {});
  std::vector<std::string> names = to.parents;
  for (const auto& fingerprint : to.recorded) {
    names.push_back("the public key " + fingerprint);
    if (!op::public_key_recorded(context, fingerprint)) hint += " --to-public-key PEM --fingerprint " + fingerprint;
  }
  if (!names.empty()) what += ", for " + join(names, ", ");
  auto behind = guarded(context, from);
  const auto known = std::ranges::find_if(behind, [](const auto& one) { return one.quorum.has_value(); });
  if (known != behind.end()) {
    what += ", behind a quorum";
    hint += " --quorum " + *known->quorum + " --shares DIR";
  } else if (!behind.empty()) {
    what += ", and whether the old one's needs a quorum is not on record";
    hint += " (--quorum M/N --shares DIR | --quorum none)";
  }
  if (names.empty() && from.role == Role::kek) hint += " --to-public-key PEM --fingerprint HEX, or --kek PARENT";
  if (from.role != Role::kek && context.bundles_of(from).empty()) hint += " --kek KEK";
  throw Error::refused("G-VAULT", what, hint);
}

}  // namespace kmtool::keys
