#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/op/objects.hpp"
#include "op/state.hpp"

namespace kmtool::op {

namespace {

std::optional<journal::Item> row(const Context::State& state, const std::string& kind, const std::string& id) {
  return state.proven ? state.journal->proven(kind, id) : state.journal->item(kind, id);
}

std::vector<journal::Item> rows(const Context::State& state, const std::string& kind) {
  return state.proven ? state.journal->proven_all(kind) : state.journal->items(kind);
}

template <class Record>
std::vector<Record> records(const Context::State& state, const std::string& kind) {
  std::vector<Record> result;
  for (const auto& item : rows(state, kind)) result.push_back(Record::from(item));
  return result;
}

/// The record of a proven row.
template <class Record>
const Record& decoded(std::unordered_map<std::string, Context::State::Decoded<Record>>& read, const journal::Item& item) {
  const auto known = read.find(item.id);
  if (known != read.end() && known->second.value == item.value) return known->second.record;
  return (read[item.id] = {item.value, Record::from(item)}).record;
}

}  // namespace

std::optional<KeyRecord> Context::find_key(const std::string& name) const {
  const auto item = row(*state_, "key", name);
  return item ? std::optional(KeyRecord::from(*item)) : std::nullopt;
}

std::optional<VersionRecord> Context::find_version(const std::string& name, int version) const {
  const auto item = row(*state_, "version", label_of(name, version));
  if (!item) return std::nullopt;
  return state_->proven ? decoded(state_->versions, *item) : VersionRecord::from(*item);
}

std::vector<KeyRecord> Context::keys() const { return records<KeyRecord>(*state_, "key"); }
std::vector<VersionRecord> Context::versions() const {
  if (!state_->proven) return records<VersionRecord>(*state_, "version");
  std::vector<VersionRecord> result;
  state_->journal->each_proven("version", [&](const journal::Item& item) { result.push_back(decoded(state_->versions, item)); });
  return result;
}
std::vector<SignerRecord> Context::signers() const {
  // Their versions are consecutive: asked for one by one, a decision proves few buckets of the catalog and not all of it.
  std::vector<SignerRecord> result;
  for (const std::string use : {"document", "log"}) {
    for (int version = 1;; ++version) {
      const auto item = row(*state_, "signer", label_of(use, version));
      if (!item) break;
      result.push_back(SignerRecord::from(*item));
    }
  }
  return result;
}
std::vector<TrustRecord> Context::trusted() const { return records<TrustRecord>(*state_, "trust"); }
std::vector<BundleRecord> Context::bundles() const {
  std::vector<BundleRecord> bundles;
  if (state_->proven) {
    state_->journal->each_proven("bundle", [&](const journal::Item& item) { bundles.push_back(decoded(state_->bundles, item)); });
  } else {
    bundles = records<BundleRecord>(*state_, "bundle");
  }
  std::sort(bundles.begin(), bundles.end(), [](const auto& a, const auto& b) { return std::tie(a.path, a.id) < std::tie(b.path, b.id); });
  return bundles;
}

std::vector<std::string> Context::bundle_keys(const std::string& bundle) const {
  std::vector<std::string> labels;
  for (std::size_t i = 0;; ++i) {
    const auto part = row(*state_, "bundle-part", fmt::format("{}/{:06}", bundle, i));
    if (!part) return labels;
    for (const auto& label : part->json()) labels.push_back(name_now(*this, *state_, label.get<std::string>()));
  }
}

std::vector<BundleRecord> Context::bundles_of(const VersionRecord& version) const {
  std::vector<BundleRecord> found;
  for (auto& bundle : bundles()) {
    const auto& labels = version.role == Role::kek ? bundle.keks : bundle_keys(bundle.id);
    if (std::find(labels.begin(), labels.end(), version.label()) != labels.end()) found.push_back(std::move(bundle));
  }
  return found;
}

std::string catalogued_at(const Context& context, const std::filesystem::path& path) {
  for (const auto& bundle : context.bundles()) {
    if (bundle.path == path.string() && bundle.kept_for.empty()) return bundle.id;
  }
  return {};
}

std::size_t destroy_objects(Context& context, const VersionRecord& version) {
  std::size_t count = 0;
  for (const auto& object : context.token().find_by_id(version.id)) {
    if (!passes_for(object, version)) continue;
    context.token().destroy(object.handle);
    ++count;
  }
  for (const auto& object : context.token().find_by_id(version.id)) {
    if (!passes_for(object, version)) continue;
    throw Error::unavailable("the token still shows an object of " + version.label() + " after destroying it", "look at it with kmtool doctor");
  }
  return count;
}

std::optional<VersionRecord> Context::find_version(const std::string& label) const {
  const auto ref = KeyRef::parse(label);
  return ref.version ? find_version(ref.name, *ref.version) : std::nullopt;
}

VersionRecord Context::resolve(const std::string& reference) const {
  const auto ref = KeyRef::parse(reference);
  const auto key = find_key(ref.name);
  if (!key) {
    std::vector<std::string> names;
    for (const auto& item : state_->journal->items("key")) names.push_back(item.id);
    const auto near = nearest(ref.name, names);
    throw Error::missing("there is no key " + ref.name,
                         near.empty() ? "kmtool list shows the keys of this home" : "did you mean " + near);
  }
  if (!ref.version && !key->active) {
    throw Error::missing("key " + ref.name + " has no active version", "name the version that you mean, such as " + label_of(ref.name, key->latest) + ", or make one that is active: kmtool rotate " + ref.name);
  }
  const int number = ref.version ? *ref.version : *key->active;
  const auto version = find_version(ref.name, number);
  if (!version) {
    throw Error::missing("key " + ref.name + " has no version " + std::to_string(number),
                         "its newest version is " + label_of(ref.name, key->latest));
  }
  return *version;
}

SignerRecord Context::active_signer(const std::string& use) const {
  std::optional<SignerRecord> found;
  for (auto& signer : signers()) {
    if (signer.use == use && signer.state == "active") found = std::move(signer);
  }
  if (!found) throw Error::tampered("the home has no active " + use + " signer", "run kmtool doctor");
  return *found;
}

namespace {

std::map<Part, pkcs11::Object> parts_among(const VersionRecord& version, std::vector<pkcs11::Object> objects) {
  std::map<Part, pkcs11::Object> found;
  for (auto& object : objects) {
    if (object.object_class == pkcs11::ObjectClass::certificate || object.object_class == pkcs11::ObjectClass::data) continue;
    if (object.label != version.object_label()) {
      throw Error::tampered("an object on the token carries the id of " + version.label() + " but another label",
                            "it was not made by kmtool; look at it with kmtool doctor");
    }
    const Part part = part_of(version.role, object);
    if (!found.emplace(part, std::move(object)).second) {
      throw Error::tampered("the token has several objects for " + version.label() + "; kmtool does not guess",
                            "look at them with kmtool doctor and remove the foreign one");
    }
  }
  return found;
}

}  // namespace

std::map<std::string, std::map<Part, pkcs11::Object>> Context::objects_of(const std::vector<VersionRecord>& versions) {
  std::vector<Bytes> ids;
  std::set<Bytes> asked;
  for (const auto& version : versions) {
    if (asked.insert(version.id).second) ids.push_back(version.id);
  }
  auto located = token().locate(ids);
  std::map<std::string, std::map<Part, pkcs11::Object>> result;
  for (const auto& version : versions) {
    if (result.contains(version.label())) continue;
    const auto found = located.find(version.id);
    auto parts = parts_among(version, found == located.end() ? std::vector<pkcs11::Object>{} : std::move(found->second));
    for (const Part part : parts_of(version.role)) {
      if (parts.contains(part)) continue;
      throw Error::missing("the token has no " + std::string(to_text(part)) + " object for " + version.label() + ": it was removed behind kmtool's back",
                           "kmtool state " + version.label() + " destroy --reason TEXT, then kmtool " +
                               (version.role == Role::kek ? "import-kek BUNDLE" : "unwrap BUNDLE " + version.name) + " --as NEWNAME");
    }
    result[version.label()] = std::move(parts);
  }
  return result;
}

}  // namespace kmtool::op
