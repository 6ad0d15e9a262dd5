#include "kmtool/rotate/monitor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "kmtool/core/count.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/host.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/op/copies.hpp"
#include "kmtool/op/exposed.hpp"
#include "kmtool/rotate/rotate.hpp"
#include "rotate/bundled.hpp"
#include "rotate/monitor_home.hpp"

namespace kmtool::rotate {

namespace {

constexpr int warning = 1, critical = 2;

struct Finding {
  int status;
  std::string what;
  std::vector<std::string> lines;
};

/// What is wrong with the record itself; nothing else can be believed then.
std::optional<std::string> broken(op::Context& context) {
  try {
    op::prove_reader(context);
    return std::nullopt;
  } catch (const Error& error) {
    return error.message();
  }
}

class Look {
 public:
  Look(op::Context& context, const MonitorRequest& request) : context_(context), request_(request), now_(context.now()) {}

  MonitorReport report() {
    if (const auto what = broken(context_)) {
      return {critical, "the journal is broken: " + *what, fmt::format("journal={}", context_.journal().size()), {}};
    }
    keys();
    compromised();
    exposed();
    bundles();
    unbundled();
    owed();
    for (auto& found : home_findings(context_)) add(found.status, std::move(found.what), std::move(found.lines));
    if (const auto oddity = clock_oddity(context_); !oddity.empty()) add(warning, "the clock is behind the journal", {oddity});
    MonitorReport out;
    std::stable_sort(findings_.begin(), findings_.end(), [](const auto& a, const auto& b) { return a.status > b.status; });
    std::vector<std::string> texts;
    for (const auto& finding : findings_) {
      out.status = std::max(out.status, finding.status);
      texts.push_back(finding.what);
      out.lines.insert(out.lines.end(), finding.lines.begin(), finding.lines.end());
    }
    out.text = texts.empty() ? counted(keys_, "key", "keys") + ", " + counted(bundles_, "bundle", "bundles") + ": everything is in order" : join(texts, ", ");
    out.performance = fmt::format("keys={} expiring={} expired={} bundles={} unverified={} missing={} hooks={} journal={}", keys_, expiring_, expired_, bundles_,
                                  unverified_, missing_, hooks_, context_.journal().size());
    return out;
  }

 private:
  void add(int status, std::string what, std::vector<std::string> lines) {
    if (!lines.empty()) findings_.push_back({status, std::move(what), std::move(lines)});
  }

  void keys() {
    std::vector<std::string> expired, soon, later, overdue;
    for (const auto& version : context_.versions()) {
      const bool activate = version.state == State::pre_activation && version.activate_at && *version.activate_at <= now_;
      const bool deactivate = version.state == State::active && version.deactivate_at && *version.deactivate_at <= now_;
      if (activate || deactivate) overdue.push_back(version.label() + (activate ? " was to be activated" : " was to be deactivated"));
      if (version.state != State::active) continue;
      ++keys_;
      if (!version.expires || version.deactivate_at) continue;
      const auto line = version.label() + " until " + rfc3339(*version.expires);
      if (*version.expires <= now_) {
        expired.push_back(line);
      } else if (*version.expires <= now_ + request_.critical) {
        soon.push_back(line);
      } else if (*version.expires <= now_ + request_.warning) {
        later.push_back(line);
      }
    }
    expired_ = expired.size();
    expiring_ = soon.size() + later.size();
    add(critical, counted(expired.size(), "key has", "keys have") + " expired", expired);
    add(critical, counted(soon.size(), "key expires", "keys expire") + " within " + duration_text(request_.critical), soon);
    add(warning, counted(later.size(), "key expires", "keys expire") + " within " + duration_text(request_.warning), later);
    add(warning, counted(overdue.size(), "change of state is", "changes of state are") + " overdue", overdue);
  }

  /// Keys that were in use and were called compromised: none took their place, a copy goes on, or bundles are under them still.
  void compromised() {
    const auto versions = context_.versions();
    if (std::none_of(versions.begin(), versions.end(), [](const auto& version) { return version.state == State::compromised; })) return;
    const op::Copies copies(context_);
    std::set<std::string> ids, labels;
    for (const auto& version : versions) {
      if (version.state != State::compromised) continue;
      ids.merge(copies.same_key(version.id));
    }
    for (const auto& version : versions) {  // a destroyed one's label too: bundles keep it
      if (version.role == Role::kek && ids.contains(hex(version.id))) labels.insert(version.label());
    }
    std::vector<std::string> alone, going_on, under;
    for (const auto& version : versions) {
      if (version.state == State::active && ids.contains(hex(version.id))) going_on.push_back(version.label() + " is the same key as one that is compromised");
      if (version.state != State::compromised || !version.activated) continue;
      const auto key = context_.find_key(version.name);
      if (key && !key->active && key->latest == version.version) alone.push_back(version.label() + " is compromised: kmtool rotate " + version.name);
    }
    for (const auto& bundle : context_.bundles()) {
      const auto found = std::find_if(bundle.keks.begin(), bundle.keks.end(), [&](const auto& kek) { return labels.contains(kek); });
      if (found != bundle.keks.end()) under.push_back(bundle.path + " is under " + *found);
    }
    add(critical, counted(alone.size(), "compromised key has", "compromised keys have") + " no successor", alone);
    add(critical, counted(going_on.size(), "copy", "copies") + " of compromised keys " + (going_on.size() == 1 ? "is" : "are") + " active", going_on);
    add(warning, counted(under.size(), "bundle is", "bundles are") + " under a compromised kek", under);
  }

  /// Keys that a KEK was over which is compromised: as good as known until another version has taken their place.
  void exposed() {
    const op::Exposed known(context_);
    if (known.empty()) return;
    const op::Copies copies(context_);
    constexpr std::size_t most_named = 5;
    std::vector<std::string> lines, names;
    for (const auto& version : context_.versions()) {
      if (version.state != State::active) continue;
      const auto kek = known.by(version.label(), copies.same_key(version.id));
      if (kek.empty()) continue;
      const bool replaced = version.deactivate_at.has_value();
      lines.push_back(version.label() + " was under " + kek + ", which is compromised: kmtool " +
                      (replaced ? "state " + version.label() + " deactivate --reason TEXT" : "rotate " + version.name));
      if (!replaced) names.push_back(version.name);
    }
    auto what = counted(lines.size(), "key was", "keys were") + " under a compromised kek";
    if (names.size() > most_named) names.resize(most_named), names.emplace_back("...");
    if (!names.empty()) what += ": kmtool rotate " + join(names, " ");
    add(critical, std::move(what), std::move(lines));
  }

  void bundles() {
    const auto host = host_name();
    std::vector<std::string> unverified, missing, bad;
    for (const auto& bundle : context_.bundles()) {
      ++bundles_;
      std::error_code error;
      if (bundle.host == host && bundle.offline.empty() && !std::filesystem::exists(bundle.path, error))
        missing.push_back(bundle.path + " is missing (moved: kmtool bundles --moved FILE; on other media: with --offline PLACE; lost: --lost FILE)");
      if (!bundle.bad.empty()) bad.push_back(bundle.path + ": " + bundle.bad);
      const auto last = bundle.verified.value_or(bundle.created);
      if (request_.unverified > 0 && last + request_.unverified <= now_) unverified.push_back(bundle.path + " last verified " + rfc3339(last));
    }
    unverified_ = unverified.size();
    missing_ = missing.size();
    add(critical, counted(bad.size(), "bundle is", "bundles are") + " not what was written", bad);
    add(warning, counted(missing.size(), "bundle is", "bundles are") + " missing", missing);
    add(warning, counted(unverified.size(), "bundle", "bundles") + " unverified for " + duration_text(request_.unverified), unverified);
  }

  /// Keys that were wrapped once and rotated since: what is lost with the token is the version in use. Keys that no bundle ever held are kept
  /// so on purpose.
  void unbundled() {
    const Bundled bundled(context_);
    std::vector<std::string> lines;
    for (const auto& version : context_.versions()) {
      if (version.state != State::active || version.role == Role::kek) continue;
      const auto before = bundled.left_behind(version);
      if (!before) continue;
      const auto how = version.extractable ? "wrap " + (version.deactivate_at ? version.label() : version.name) + " --kek KEK --out FILE"
                                           : "rotate " + version.name + " --backup FILE";
      lines.push_back(version.label() + " is in no bundle; " + before->label() + " is: kmtool " + how);
    }
    add(warning, counted(lines.size(), "active key is", "active keys are") + " in no bundle, an older version is", lines);
  }

  void owed() {
    std::vector<std::string> hooks, rotations, intents;
    for (const auto& item : context_.journal().proven_all("hook")) hooks.push_back("the hook for " + item.id + " has not succeeded yet");
    for (const auto& item : context_.journal().proven_all("rotation")) {
      if (item.json().value("settled", false)) continue;  // what was asked for is done
      rotations.push_back("the rotation of " + item.id + " is not finished");
    }
    if (!context_.journal().items("intent").empty()) intents.push_back("a command was interrupted: the next one, or kmtool doctor --repair, finishes it");
    hooks_ = hooks.size();
    add(warning, counted(hooks.size(), "hook is", "hooks are") + " owed", hooks);
    add(warning, counted(rotations.size(), "rotation is", "rotations are") + " open", rotations);
    add(warning, "unfinished work", intents);
  }

  op::Context& context_;
  const MonitorRequest& request_;
  UnixTime now_;
  std::vector<Finding> findings_;
  std::size_t keys_ = 0, expiring_ = 0, expired_ = 0, bundles_ = 0, unverified_ = 0, missing_ = 0, hooks_ = 0;
};

}  // namespace

MonitorReport monitor(op::Context& reader, const MonitorRequest& request) { return Look(reader, request).report(); }

}  // namespace kmtool::rotate
