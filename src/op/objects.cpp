#include "kmtool/op/objects.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "kmtool/core/count.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/crypto/digest.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/op/bundle_out.hpp"
#include "kmtool/tlog/cosignature.hpp"
#include "kmtool/pkcs11/survey.hpp"
#include "op/state.hpp"

namespace kmtool::op {

namespace {

/// Which object is whose copy tells only who made them: label, id, and whether the token generated it.
std::string each_of(const std::vector<pkcs11::Object>& objects) {
  std::vector<std::string> texts;
  for (const auto& object : objects) {
    const char* local = !object.local ? "CKA_LOCAL not told" : *object.local ? "CKA_LOCAL true" : "CKA_LOCAL false";
    if (is_key(object)) texts.push_back(describe(object) + ", " + local);
  }
  return join(texts, "; ");
}

/// Empty where the version's objects are as the catalog says.
std::string wrong_with(Context& context, const VersionRecord& version, const std::vector<pkcs11::Object>& objects) {
  std::string wrong;
  std::size_t keys = 0;
  for (const auto& object : objects) {
    if (object.object_class == pkcs11::ObjectClass::certificate || object.object_class == pkcs11::ObjectClass::data) continue;
    // A kek that came back from its export carries the id of the version that was destroyed, under its own label.
    if (version.state == State::destroyed && object.label != version.object_label()) continue;
    ++keys;
    std::string nearest_difference = "unknown object";
    for (const Part part : parts_of(version.role)) {
      const auto differences = differences_of(context, version, part, object);
      nearest_difference = differences.empty() ? "" : join(differences, ", ");
      if (differences.empty()) break;
    }
    if (!nearest_difference.empty()) wrong = nearest_difference;
  }
  const auto wanted = version.state == State::destroyed ? 0 : parts_of(version.role).size();
  if (keys == wanted) return version.state == State::destroyed ? std::string() : wrong;
  if (version.state == State::destroyed) {
    return "was destroyed, but " + counted(keys, "object") + " of it " + (keys == 1 ? "is" : "are") + " on the token (kmtool state " + version.label() +
           " destroy --reason TEXT destroys " + (keys == 1 ? "it" : "them") + " again)";
  }
  return fmt::format("{} on the token instead of {}{}", counted(keys, "object"), wanted, keys > wanted ? ": " + each_of(objects) : "");
}

const char* class_word(pkcs11::ObjectClass object_class) {
  switch (object_class) {
    case pkcs11::ObjectClass::secret_key: return "secret key";
    case pkcs11::ObjectClass::private_key: return "private key";
    case pkcs11::ObjectClass::public_key: return "public key";
    case pkcs11::ObjectClass::certificate: return "certificate";
    case pkcs11::ObjectClass::data: return "data object";
    case pkcs11::ObjectClass::other: break;
  }
  return "object";
}

}  // namespace

ObjectReport compare_objects(Context& context) {
  ObjectReport report;
  std::map<Bytes, std::vector<pkcs11::Object>> by_id;
  for (auto& object : context.token().scan()) by_id[object.id].push_back(std::move(object));
  std::set<Bytes> known;
  for (const auto& signer : context.signers()) known.insert(signer.id);
  for (const auto& version : context.versions()) {
    known.insert(version.id);
    auto wrong = wrong_with(context, version, by_id[version.id]);
    if (wrong.empty()) {
      if (version.state != State::destroyed) ++report.good;
    } else {
      report.wrong.emplace_back(version.label(), std::move(wrong));
    }
  }
  const auto anchors = context.home.config.anchor_id();
  for (const auto& [id, objects] : by_id) {
    if (known.contains(id)) continue;
    const auto ours = id == anchors ? anchors_among(context, objects) : std::vector<pkcs11::Object>{};
    for (const auto& object : objects) {
      const bool anchor = std::any_of(ours.begin(), ours.end(), [&](const auto& one) { return one.handle == object.handle; });
      if (anchor) continue;
      (object.nameless() ? report.nameless : report.foreign).push_back(object);
    }
  }
  return report;
}

Part part_of(Role role, const pkcs11::Object& object) {
  if (object.object_class == pkcs11::ObjectClass::private_key) return Part::private_half;
  if (object.object_class == pkcs11::ObjectClass::public_key) return Part::public_half;
  if (role != Role::kek) return Part::value;
  return object.wrap.value_or(false) || object.unwrap.value_or(false) ? Part::kek_wrap : Part::kek_seal;
}

std::string home_named_by(const pkcs11::Object& object) {
  using enum pkcs11::ObjectClass;
  if (object.object_class == secret_key && object.label.starts_with("kmtool-anchor:")) return object.label.substr(14, object.label.find(':', 14) - 14);
  for (const std::string_view prefix : {"kmtool-log-signer-", "kmtool-document-signer-"}) {
    const bool pair = object.object_class == private_key || object.object_class == public_key;
    if (pair && object.label.starts_with(prefix)) return object.label.substr(prefix.size(), object.label.find('@') - prefix.size());
  }
  return {};
}

std::set<std::string> other_homes(const Context& context, const std::vector<pkcs11::Object>& objects) {
  std::set<std::string> found;
  for (const auto& object : objects) {
    auto home = home_named_by(object);
    if (!home.empty() && !context.home.config.home_id.starts_with(home)) found.insert(std::move(home));
  }
  // The short name of a home that has its anchor there too says nothing more.
  std::erase_if(found, [&](const std::string& home) {
    return std::any_of(found.begin(), found.end(), [&](const std::string& other) { return other.size() > home.size() && other.starts_with(home); });
  });
  return found;
}

std::set<std::string> other_homes(Context& context) { return other_homes(context, context.token().scan()); }

std::optional<KeyRef> named_as_version(const pkcs11::Object& object) {
  constexpr std::size_t id_octets = 16;
  if (object.id.size() != id_octets) return std::nullopt;
  if (!is_version_label(object.label)) return std::nullopt;
  return KeyRef::parse(object.label);
}

namespace {

constexpr const char* found_kind = "found";

std::string found_id(const std::string& description) { return hex(crypto::sha256(view(description))); }

}  // namespace

std::map<std::string, std::size_t> found_at_rollback(Context& context) {
  const auto& state = context.state();
  std::map<std::string, std::size_t> found;
  for (const auto& row : state.proven ? state.journal->proven_all(found_kind) : state.journal->items(found_kind)) {
    const Json json = row.json();
    found[json.value("object", "")] = json.value("count", std::size_t{0});
  }
  return found;
}

std::vector<journal::Change> found_rows(const std::vector<pkcs11::Object>& objects) {
  std::map<std::string, std::size_t> count;
  for (const auto& object : objects) ++count[describe(object)];
  std::vector<journal::Change> rows;
  rows.reserve(count.size());
  for (const auto& [text, n] : count) rows.push_back({found_kind, found_id(text), Json{{"object", text}, {"count", n}}});
  return rows;
}

std::vector<journal::Change> found_no_more(Context& context, const std::vector<pkcs11::Object>& objects) {
  const auto found = found_at_rollback(context);
  std::set<std::string> gone;
  for (const auto& object : objects) {
    if (const auto text = describe(object); found.contains(text)) gone.insert(found_id(text));
  }
  std::vector<journal::Change> rows;
  rows.reserve(gone.size());
  for (const auto& id : gone) rows.push_back({found_kind, id, std::nullopt});
  return rows;
}

bool is_key(const pkcs11::Object& object) {
  using enum pkcs11::ObjectClass;
  return object.object_class == secret_key || object.object_class == private_key || object.object_class == public_key;
}

bool may_be_key(const pkcs11::Object& object) {
  using enum pkcs11::ObjectClass;
  return object.object_class != certificate && object.object_class != data;
}

bool passes_for(const pkcs11::Object& object, const VersionRecord& version) { return may_be_key(object) && object.label == version.object_label(); }

std::string kind_text(const pkcs11::Object& object) {
  return is_key(object) ? fmt::format("{} ({})", class_word(object.object_class), pkcs11::kind_of(object).text()) : class_word(object.object_class);
}

bool unreadable(const pkcs11::Object& object) {
  return object.object_class == pkcs11::ObjectClass::other && !object.token && !object.is_private;
}

std::string describe(const pkcs11::Object& object) {
  std::string text = class_word(object.object_class);
  text += object.label.empty() ? " without a label" : " \"" + printable(object.label) + "\"";
  return text + (object.id.empty() ? " and without an id" : " (id " + hex(object.id) + ")");
}

tlog::NoteSignature cosign(Context& context, const std::string& checkpoint_text) {
  const auto signer = log_signer(context);
  if (!signer.key.is_ed25519()) {
    throw Error::unavailable("this home's log signer is " + signer.key.description() + "; C2SP cosignatures are Ed25519",
                             "let a home whose token has Ed25519 be the witness");
  }
  return tlog::cosign(checkpoint_text, signer.name, signer.key, context.now(), signer.sign);
}

}  // namespace kmtool::op
