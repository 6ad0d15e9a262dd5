#include "kmtool/op/bundle_out.hpp"

#include <algorithm>
#include <set>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/host.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/crypto/digest.hpp"
#include "kmtool/domain/name.hpp"

namespace kmtool::op {

std::vector<VersionRecord> resolve_keks(const Context& context, const std::vector<std::string>& names) {
  if (names.empty()) throw Error::usage("no KEK was named", "give --kek NAME; kmtool list --role kek shows them");
  std::vector<VersionRecord> result;
  std::set<std::string> seen;
  for (const auto& name : names) {
    auto version = context.resolve(name);
    if (version.role != Role::kek) {
      throw Error::refused("G-SEALED", version.label() + " is a " + std::string(to_text(version.role)) + " key, not a kek: it cannot wrap",
                           "make a KEK with kmtool gen NAME --role kek; kmtool list --role kek shows those that exist");
    }
    if (!seen.insert(version.label()).second) throw Error::usage("the KEK " + version.label() + " was named twice", "name each KEK once");
    result.push_back(std::move(version));
  }
  return result;
}

std::vector<std::string> differences_of(Context& context, const VersionRecord& version, Part part, const pkcs11::Object& object) {
  const pkcs11::ObjectSpec spec{version.role, version.type, part, version.object_label(), version.id, version.extractable};
  auto differences = context.token().differences(object, spec, version.origin != "generated");
  std::erase_if(differences, [&](const std::string& what) {
    return std::find(version.flaws.begin(), version.flaws.end(), what) != version.flaws.end();  // an adopted key's, known from the start
  });
  return differences;
}

void require_as_recorded(Context& context, const VersionRecord& version, Part part, const pkcs11::Object& object) {
  const auto differences = differences_of(context, version, part, object);
  if (differences.empty()) return;
  throw Error::tampered("the token's " + std::string(to_text(part)) + " object of " + version.label() +
                            " is not what the catalog records: " + join(differences, ", "),
                        "somebody changed it behind kmtool's back; do not use it, look at it with kmtool doctor");
}

std::vector<Kek> keks_on_token(Context& context, const std::vector<VersionRecord>& versions,
                               const std::map<std::string, std::map<Part, pkcs11::Object>>& objects) {
  std::vector<Kek> result;
  for (const auto& version : versions) {
    const auto& parts = objects.at(version.label());
    for (const auto& [part, object] : parts) require_as_recorded(context, version, part, object);
    result.push_back({version, parts.at(Part::kek_wrap), parts.at(Part::kek_seal)});
  }
  return result;
}

Part wrapped_part(Role role) { return role == Role::sign || role == Role::transport ? Part::private_half : Part::value; }

std::filesystem::path temporary_for(Context& context, const std::filesystem::path& target) {
  return target.parent_path() / ("." + target.filename().string() + "." + hex(context.token().random(6)) + ".kmtmp");
}

std::string new_bundle_id(Context& context) { return uuid_text(context.token().random(16)); }

WrapAlgorithm common_algorithm(const pkcs11::Token& token, const std::vector<VersionRecord>& keys) {
  std::optional<WrapAlgorithm> common;
  for (const auto& key : keys) {
    std::string why;
    const auto algorithm = token.wrap_algorithm(key.type, &why);
    if (!algorithm) {
      throw Error::unavailable("this token cannot wrap " + key.label() + " (" + std::string(to_text(key.type)) + "): " + why,
                               "leave it out of the bundle; kmtool token shows what the token can wrap");
    }
    if (!common || *algorithm == WrapAlgorithm::aes_kwp) common = algorithm;
  }
  return common.value_or(WrapAlgorithm::aes_kwp);
}

BundleOut::BundleOut(Context& context, AtomicFile& file, std::vector<Kek> keks, const std::string& id, std::uint64_t records,
                     const std::vector<policy::Waiver>& waivers, WrapAlgorithm algorithm)
    : context_(context), file_(file), keks_(std::move(keks)) {
  const auto& info = context.token().info();
  header_.id = id;
  header_.created = context.now();
  header_.creator = std::string("kmtool ") + KMTOOL_VERSION;
  header_.token = {info.label, info.serial, info.manufacturer, info.model, info.hardware};
  for (const auto& kek : keks_) {
    header_.recipients.push_back({kek.version.label(), kek.version.id, kek.version.type, strength_of(kek.version.type), algorithm,
                                  context.token().wrap_mechanism_name(algorithm)});
    targets_.push_back({kek.wrap.handle, algorithm});
  }
  header_.records = records;
  for (const auto& waiver : waivers) header_.waivers.push_back({waiver.rule, waiver.reason});
  writer_ = std::make_unique<bundle::Writer>(file, header_);
}

bundle::Record BundleOut::record_of(const VersionRecord& version, const pkcs11::Object& object) {
  bundle::Record record;
  record.name = version.name;
  record.version = version.version;
  record.id = version.id;
  record.type = version.type;
  record.role = version.role;
  record.strength = strength_of(version.type);
  record.state = version.state;
  record.created = version.created;
  record.expires = version.expires;
  record.extractable = version.extractable;
  record.local = object.local.value_or(false);
  record.always_sensitive = object.always_sensitive.value_or(false);
  record.never_extractable = object.never_extractable.value_or(false);
  record.usage = usage_of(version.role, version.type, wrapped_part(version.role));
  record.public_spki = version.public_spki;
  if (class_of(version.type) == KeyClass::secret) record.plaintext_length = value_length(version.type);
  return record;
}

void BundleOut::write(const bundle::Record& record) {
  writer_->add(record);
  labels_.push_back(label_of(record.name, record.version));
}

void BundleOut::add(const VersionRecord& version, const pkcs11::Object& object) {
  auto record = record_of(version, object);
  for (const auto& target : targets_) record.wrapped.push_back(context_.token().wrap(target.kek, object.handle, target.algorithm));
  write(record);
}

BundleRecord BundleOut::finish() {
  const auto seal = [this](std::size_t recipient, ByteView message) {
    return context_.token().hmac_sha256(keks_[recipient].seal.handle, message);
  };
  const auto sign = [this](ByteView digest) { return context_.sign_document(digest); };
  BundleRecord record;
  record.digest = writer_->finish(seal, sign, hex(crypto::sha256(context_.active_signer("document").spki)));
  file_.sync();
  record.take(header_);
  record.path = file_.target().string();
  record.host = host_name();
  record.keys = labels_;
  return record;
}

}  // namespace kmtool::op
