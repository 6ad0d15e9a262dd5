#include <algorithm>
#include <filesystem>
#include <set>

#include "kmtool/core/count.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/keys/state.hpp"
#include "kmtool/op/bundle_out.hpp"
#include "kmtool/op/copies.hpp"
#include "kmtool/op/dependents.hpp"
#include "kmtool/op/openers.hpp"

namespace kmtool::keys {

namespace {

/// Why this bundle gives nothing back, as far as this host can tell; empty: it does.
std::string gone(const op::BundleRecord& bundle) {
  if (!bundle.bad.empty()) return "the last verification found: " + bundle.bad;
  if (!op::moved_away(bundle) || !bundle.offline.empty()) return {};
  std::error_code error;
  return std::filesystem::exists(bundle.path, error) ? "what lies there is not that bundle" : "it is not there: moved, or lost";
}

/// Is one of them there, and somebody can open it? Why those are not there, in `why`.
bool gives_back(const std::vector<op::BundleRecord>& bundles, const op::Openers& openers, std::vector<std::string>& why) {
  bool given = false;
  for (const auto& bundle : bundles) {
    const auto reason = gone(bundle);
    if (!reason.empty()) why.push_back(bundle.path + ": " + reason);
    given = given || (reason.empty() && openers.open(bundle));
  }
  return given;
}

constexpr std::size_t most_named = 10;

std::string some_of(std::vector<std::string> names) {
  const auto all = names.size();
  if (all <= most_named) return join(names, ", ");
  names.resize(most_named);
  return join(names, ", ") + " and " + std::to_string(all - most_named) + " more";
}

/// Backups of KEKs that came here with this transport key or KEK: other sites wrote them, for it alone as far as is known.
std::vector<std::string> losses_of_opener(op::Context& context, const op::VersionRecord& opener) {
  const auto keks = op::OpenedKeks(context).with(opener);
  if (keks.empty()) return {};
  return {opener.label() + " opens the backup of " + some_of({keks.begin(), keks.end()}) +
          ": that bundle, wherever it is, may open with no other key; have such a kek exported anew first, to a key that stays"};
}

/// Keys that `apikey store` keeps sealed under this version. From a bundle it comes back under another name, and opens them again.
std::vector<std::string> losses_of_store(op::Context& context, const op::VersionRecord& version, const std::set<std::string>& labels, bool comes_back) {
  const auto stored = op::stored_under(context, labels);
  if (stored.empty()) return {};
  return {counted(stored.size(), "stored key is", "stored keys are") + " sealed under " + version.label() + " and " +
          (comes_back ? "cannot be opened until it is restored: " : "lost with it: ") + some_of(stored) +
          " (kmtool apikey store --reseal seals by the active version what can be opened)"};
}

std::vector<std::string> losses_of_kek(op::Context& context, const op::VersionRecord& kek) {
  std::vector<std::string> found, why;
  const auto labels = op::labels_of_key(context, kek);
  const op::Openers others(context, &kek.id);
  if (gives_back(op::bundles_with(context, labels, "kek"), others, why)) return found;  // it comes back with import-kek, and opens them again
  for (const auto& bundle : op::bundles_under(context, labels)) {
    if (others.open(bundle)) continue;
    found.push_back(bundle.path + " (" + std::to_string(bundle.records) + (bundle.records == 1 ? " key" : " keys") + ") opens under no other kek");
  }
  for (auto& loss : losses_of_opener(context, kek)) found.push_back(std::move(loss));
  if (!found.empty()) found.insert(found.end(), why.begin(), why.end());
  return found;
}

}  // namespace

std::vector<std::string> losses(op::Context& context, const op::VersionRecord& version) {
  if (version.role == Role::kek) return losses_of_kek(context, version);
  if (!op::same_key(context, version).empty()) return {};
  std::vector<std::string> why;
  const auto labels = op::labels_of_key(context, version);
  const bool comes_back = gives_back(op::bundles_with(context, labels, "keys"), op::Openers(context, nullptr), why);
  auto found = losses_of_store(context, version, labels, comes_back);
  if (comes_back) return found;
  for (auto& loss : losses_of_opener(context, version)) found.push_back(std::move(loss));
  if (why.empty()) {
    found.push_back("no bundle holds " + version.label() + ": what it protects is lost for ever");
  } else {
    found.push_back("no bundle of " + version.label() + " is left, and what it protects is lost for ever, unless it is elsewhere (" + join(why, "; ") + ")");
  }
  return found;
}

bool only_bad_bundles(op::Context& context, const op::VersionRecord& version) {
  if (version.role == Role::kek) return false;
  const auto bundles = op::bundles_with(context, op::labels_of_key(context, version), "keys");
  return !bundles.empty() && std::ranges::all_of(bundles, [](const auto& bundle) { return !bundle.bad.empty(); });
}

}  // namespace kmtool::keys
