#include "kmtool/op/objects.hpp"

#include <fmt/format.h>

#include <map>
#include <set>

#include "kmtool/core/count.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/op/bundle_out.hpp"
#include "kmtool/tlog/cosignature.hpp"
#include "op/state.hpp"

namespace kmtool::op {

namespace {

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
  if (version.state == State::destroyed) return "was destroyed, but " + counted(keys, "object") + " of it " + (keys == 1 ? "is" : "are") + " on the token";
  return fmt::format("{} on the token instead of {}", counted(keys, "object"), wanted);
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
