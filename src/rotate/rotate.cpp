#include "kmtool/rotate/rotate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "kmtool/bundle/bundle.hpp"
#include "kmtool/core/count.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/keys/gen.hpp"
#include "kmtool/keys/state.hpp"
#include "kmtool/keys/succeed.hpp"
#include "rotate/bundled.hpp"
#include "rotate/kek.hpp"
#include "rotate/needed.hpp"

namespace kmtool::rotate {

namespace {

/// What is wrong with one key stays with that key; what is wrong with the token, the disk or the machine is everybody's.
bool ends_everything(const Error& error) {
  switch (error.exit()) {
    case ExitCode::unavailable:
    case ExitCode::internal:
    case ExitCode::io:
    case ExitCode::busy:
      return true;
    default:
      return false;
  }
}

class Run {
 public:
  Run(op::Context& context, const Request& request, Report& report) : context_(context), request_(request), report_(report) {}

  void go() {
    // A clock that was set back makes nothing due twice: what was rotated has a period that ends later still. It is said, though.
    if (auto oddity = clock_oddity(context_); !oddity.empty()) report_.notes.push_back(std::move(oddity));
    if (request_.due) settle_due();
    const auto keys = chosen();
    rotate_all(keys);
    name_unbundled();
    if (request_.due) {
      finish_open_rotations();
      destroy_due();
      owe_hooks();
    }
    if (!untried_.empty()) report_.notes.push_back("stopped after " + counted(report_.failed.size(), "failure") + " (--max-failures); not tried: " + join(untried_, ", "));
  }

 private:
  void rotate_all(const std::vector<op::KeyRecord>& keys) {
    std::size_t i = 0;
    try {
      for (; i < keys.size(); ++i) {
        context_.check_stop();
        attempt(keys[i].name, [&] { rotate_key(keys[i]); });
        if (keys.size() > 1) context_.progress("rotating", i + 1, keys.size());
      }
    } catch (const Error&) {  // the report says what was done before
      for (; i < keys.size(); ++i) {
        if (!done(keys[i].name)) report_.not_tried.push_back(keys[i].name);
      }
      name_unbundled();
      throw;
    }
  }

  [[nodiscard]] bool done(const std::string& name) const {
    return std::any_of(report_.rotated.begin(), report_.rotated.end(), [&](const auto& one) { return one.name == name; }) ||
           std::any_of(report_.failed.begin(), report_.failed.end(), [&](const auto& failed) { return failed.name == name; });
  }

  /// Those of earlier rotations too. --hook takes the place of one that cannot be started any more, which else nothing but another rotation ends.
  void owe_hooks() {
    for (auto& hook : owed_hooks(context_)) {
      const bool new_one = std::any_of(report_.owed.begin(), report_.owed.end(), [&](const auto& other) { return other.key == hook.key; });
      if (new_one) continue;
      if (!request_.hook.empty() && !can_start(hook.command)) {
        report_.notes.push_back("the hook for " + hook.key + " cannot be started any more (" + hook.command + "): " + request_.hook + " takes its place");
        hook.command = request_.hook;
      }
      report_.owed.push_back(std::move(hook));
    }
  }

  template <class F>
  void attempt(const std::string& name, F&& act) {
    if (request_.max_failures > 0 && report_.failed.size() >= static_cast<std::size_t>(request_.max_failures)) {
      untried_.push_back(name);
      return;
    }
    try {
      act();
    } catch (const Error& error) {
      if (ends_everything(error)) throw;
      if (error.exit() == ExitCode::refused) context_.refused("rotate", name, error);
      report_.failed.push_back({name, error.code(), error.message(), error.hint()});
    }
  }

  bool due(const op::VersionRecord& version) const {
    const auto end = version.facts().originator_end;
    return end && *end <= context_.now() + request_.within;
  }

  /// Where a dry run has only said what it would activate or deactivate: as it would be then.
  std::optional<op::VersionRecord> active_of(const op::KeyRecord& key) const {
    if (const auto settled = settled_.find(key.name); context_.options.dry_run && settled != settled_.end()) {
      if (settled->second.state == State::active) return settled->second;
      if (key.active == settled->second.version) return std::nullopt;
    }
    return key.active ? context_.find_version(key.name, *key.active) : std::nullopt;
  }

  std::vector<op::KeyRecord> chosen() {
    std::vector<op::KeyRecord> keys;
    if (!request_.names.empty()) {
      std::set<std::string> seen;
      for (const auto& name : request_.names) {
        if (name.find('@') != std::string::npos) throw Error::usage(name + ": a key is rotated, not a version of it", "kmtool rotate " + name_in(name));
        const auto known = context_.find_key(name);
        if (!known) (void)context_.resolve(name);  // says what is near
        if (!seen.insert(name).second) throw Error::usage("the key " + name + " was named twice");
        keys.push_back(known.value());
      }
      return keys;
    }
    for (auto& key : context_.keys()) {
      const auto active = active_of(key);
      if (!active) continue;
      if (request_.all || due(*active)) {
        keys.push_back(std::move(key));
      } else {
        ++report_.not_due;
      }
    }
    // KEKs last: what is wrapped anew goes under the newest versions of everything.
    std::stable_partition(keys.begin(), keys.end(), [](const auto& key) { return key.role != Role::kek; });
    return keys;
  }

  void rotate_key(const op::KeyRecord& key) {
    if (key.role == Role::kek) {
      rotate_kek(context_, request_, key.name, report_);
      return;
    }
    const auto from = keys::predecessor(context_, key);
    if (request_.quorum || request_.no_quorum) throw Error::usage("--quorum goes with the --backup of a kek", "keys are backed up under a kek, which has the quorum");
    keys::SuccessorRequest wanted{key, from, {}, request_.overlap, {}};
    wanted.keks = request_.keks;
    const bool backed_up = keys::needs_backup(context_, from);
    if (backed_up) wanted.backup = request_.backup;
    if (!backed_up && request_.backup && !request_.names.empty()) {
      throw Error::usage(from.label() + " was not backed up at birth: --backup would write nothing", "leave out --backup; an exportable key goes into a bundle by kmtool wrap");
    }
    const auto made = succeed(context_, request_, std::move(wanted), report_);
    if (made.backup) return;
    if (!bundled_) bundled_.emplace(context_);
    if (auto before = bundled_->left_behind(made.to)) unbundled_.emplace_back(made.to.label(), before->label());
  }

  /// No rotation puts an exportable key into a bundle: the copy that there is would be of the old version for ever.
  void name_unbundled() {
    if (unbundled_.empty()) return;
    std::vector<std::string> names, labels, before;
    for (const auto& [label, old] : unbundled_) {
      names.push_back(name_in(label));
      labels.push_back(label);
      before.push_back(old);
    }
    const bool one = labels.size() == 1;
    report_.notes.push_back(join(labels, ", ") + (one ? " is" : " are") + " in no bundle; " + join(before, ", ") + (one ? " is" : " are") + ": kmtool wrap " +
                            join(names, " ") + " --kek KEK --out FILE");
  }

  /// Activations and ends of overlaps whose time has come.
  void settle_due() {
    const UnixTime now = context_.now();
    for (const auto& version : context_.versions()) {
      const bool activate = version.state == State::pre_activation && version.activate_at && *version.activate_at <= now;
      const bool deactivate = version.state == State::active && version.deactivate_at && *version.deactivate_at <= now;
      if (!activate && !deactivate) continue;
      attempt(version.label(), [&] {
        const auto verb = activate ? keys::Transition::activate : keys::Transition::deactivate;
        const auto changed = keys::change_state(context_, {version.label(), verb, activate ? "its time of activation has come" : "its overlap has ended"});
        settled_.insert_or_assign(version.name, changed.version);
        (activate ? report_.activated : report_.deactivated).push_back(version.label());
      });
    }
  }

  void finish_open_rotations() {
    for (const auto& item : context_.journal().proven_all("rotation")) {
      if (!done(item.id) && goes_on(context_, request_, item.id)) attempt(item.id, [&] { rotate_kek(context_, request_, item.id, report_); });
    }
  }

  /// policy `destroy_after`, counted from the deactivation; never a key that something needs.
  void destroy_due() {
    for (const auto& version : context_.versions()) {
      const auto after = context_.home.policy.destroy_after.find(version.role);
      if (after == context_.home.policy.destroy_after.end() || version.state != State::deactivated || !version.changed) continue;
      if (*version.changed + after->second > context_.now()) continue;
      if (needed_.is(version)) continue;
      attempt(version.label(), [&] {
        if (keys::only_bad_bundles(context_, version)) {  // who made a backup counts on it
          throw Error::refused("G-VAULT", "it is due to be destroyed, but the last verification found every bundle that holds it bad",
                               "bring a good one back and run kmtool bundles --verify-all, or kmtool state " + version.label() + " destroy --reason TEXT");
        }
        keys::change_state(context_, {version.label(), keys::Transition::destroy, "policy: destroyed " + duration_text(after->second) + " after its deactivation"});
        report_.destroyed.push_back(version.label());
      });
    }
  }

  op::Context& context_;
  const Request& request_;
  Report& report_;
  Needed needed_{context_, report_};
  std::map<std::string, op::VersionRecord> settled_;
  std::vector<std::string> untried_;
  std::optional<Bundled> bundled_;  ///< as it was before the first key was rotated
  std::vector<std::pair<std::string, std::string>> unbundled_;  ///< new versions that are in no bundle, and the older ones that are
};

/// A mistyped path must not be a failure of every later run: that a file was a bundle once, only the catalog can know.
void require_bundle(const std::filesystem::path& file) try {
  LineReader reader(file, bundle::max_line);
  bundle::read_header(reader);
} catch (const Error& error) {
  if (error.exit() != ExitCode::damaged) throw;
  throw Error::tampered("--rewrap: " + file.string() + " is no bundle: " + error.message(), "nothing was rotated; kmtool bundles lists those that were written");
}

void check_request(const op::Context& context, const Request& request) {
  const int ways = static_cast<int>(!request.names.empty()) + static_cast<int>(request.all) + static_cast<int>(request.due);
  if (ways != 1) throw Error::usage(ways == 0 ? "which keys?" : "name keys, or say --all, or --due: one of them", "kmtool rotate NAME… | --due | --all");
  if (request.within != 0 && !request.due) throw Error::usage("--within goes with --due");
  if (request.backup && request.names.size() != 1) throw Error::usage("--backup is for one key", "kmtool rotate NAME --backup FILE");
  if (!request.to.public_keys.empty() && !request.backup) throw Error::usage("--to-public-key goes with --backup FILE", "it is for a kek that was backed up at birth");
  if (!request.keks.empty() && !request.backup) throw Error::usage("--kek goes with --backup FILE", "it is the kek of the new version's backup");
  if ((request.quorum || request.no_quorum) && !request.backup) throw Error::usage("--quorum goes with --backup FILE", "the shares open the new version's backup");
  const auto is_kek = [&](const std::string& name) {
    const auto key = context.find_key(name);
    return !key || key->role == Role::kek;  // an unknown one is refused with what is near
  };
  const bool bundles = request.rewrap_all || !request.rewrap.empty();
  if (bundles && !request.names.empty() && std::none_of(request.names.begin(), request.names.end(), is_kek)) {
    throw Error::usage(join(request.names, ", ") + (request.names.size() == 1 ? " is no kek" : ": none is a kek") + ": there are no bundles to re-wrap",
                       std::string("leave out ") + (request.rewrap_all ? "--rewrap-all" : "--rewrap") + "; an exportable key's new version goes into a bundle by kmtool wrap");
  }
  for (const auto& file : request.rewrap) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(file, error)) throw Error::missing("--rewrap: there is no bundle " + file.string(), "kmtool bundles lists those that were written");
    if (op::catalogued_at(context, std::filesystem::absolute(file).lexically_normal()).empty()) require_bundle(file);
  }
  if (!request.hook.empty()) hook_words(request.hook);
}

}  // namespace

std::string clock_oddity(op::Context& context) {
  constexpr UnixTime everyday = 60;  // a clock that is being disciplined
  constexpr std::uint64_t looked_at = 1000;  // one command under the wrong clock must not hide what those before it say
  const auto size = context.journal().size();
  std::optional<UnixTime> newest;
  std::uint64_t number = 0;
  context.journal().each_entry(size > looked_at ? size - looked_at : 0, [&](const journal::Entry& entry) {
    const auto time = parse_rfc3339(entry.json().value("time", ""));
    if (time && (!newest || *time >= *newest)) {
      newest = time;
      number = entry.seq;
    }
    return true;
  });
  if (!newest || *newest <= context.now() + everyday) return {};
  return "the clock says " + rfc3339(context.now()) + ", but the journal's entry " + std::to_string(number) + " was made at " + rfc3339(*newest) + ": was the clock set back?";
}

void rotate(op::Context& context, const Request& request, Report& report) {
  check_request(context, request);
  Run(context, request, report).go();
}

keys::Successor succeed(op::Context& context, const Request& request, keys::SuccessorRequest wanted, Report& report) {
  HookDebt debt;
  const auto with = std::move(wanted.with);
  wanted.with = [&](const op::VersionRecord& to) {
    debt = hook_debt(context, request.hook, wanted.from, to);
    auto rows = debt.rows;
    if (with) {
      for (auto& row : with(to)) rows.push_back(std::move(row));
    }
    return rows;
  };
  auto made = keys::succeed(context, wanted);
  if (context.options.dry_run) debt = hook_debt(context, request.hook, made.from, made.to);
  report.rotated.push_back({made.to.name, made.from.version, made.to.version});
  for (const auto& text : made.notes) report.notes.push_back(text);
  if (made.from.state == State::suspended) {
    report.notes.push_back(made.from.label() + " stays suspended and does nothing; when it is settled: kmtool state " + made.from.label() + " deactivate (it then processes), or compromise");
  }
  if (made.backup) report.backups.push_back({made.to.label(), made.backup->string(), made.kept});
  if (debt.hook) report.owed.push_back(*std::move(debt.hook));
  return made;
}

}  // namespace kmtool::rotate
