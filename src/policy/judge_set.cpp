#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "kmtool/core/text.hpp"
#include "kmtool/policy/objects.hpp"

namespace kmtool::policy {
namespace {

using Found = std::vector<Finding>;
using Group = std::vector<const ObjectFacts*>;

std::string many(std::size_t n, const char* what) { return fmt::format("{} {}", n, what); }

/// The parts of a KEK share label and id: the AES key that wraps, and the HMAC key that seals. So do the two anchors share an id.
bool is_kek_pair(const Group& group) {
  if (group.size() != 2) return false;
  const ObjectFacts *wraps = group[0], *seals = group[1];
  if (wraps->key.family != Family::aes) std::swap(wraps, seals);
  return wraps->key.family == Family::aes && seals->key.family == Family::generic && wraps->usages() == "wrap, unwrap" &&
         seals->usages() == "sign, verify" && wraps->label == seals->label && wraps->id == seals->id;
}

bool is_anchor_pair(const Group& group) {
  return group.size() == 2 && std::all_of(group.begin(), group.end(), [](const ObjectFacts* object) { return object->owner == ObjectFacts::Owner::anchor; });
}

class Index {
 public:
  explicit Index(const std::vector<ObjectFacts>& objects) : objects_(objects) {
    for (const auto& object : objects) {
      if (object.kind == ObjectKind::other) continue;
      if (!object.id.empty()) by_id_[static_cast<int>(object.kind)][object.id].push_back(&object);
      if (!object.label.empty()) by_label_[static_cast<int>(object.kind)][object.label].push_back(&object);
      if (!object.public_id.empty()) by_public_[static_cast<int>(object.kind)][object.public_id].push_back(&object);
    }
  }

  void names(Found& found) const {
    for (const auto& object : objects_) {
      if (object.kind == ObjectKind::other) continue;
      if (object.label.empty()) found.push_back(finding_of("no-label", object, object.id.empty() ? "neither label nor id" : "CKA_LABEL is empty", object.holds_secret() ? Severity::medium : Severity::low));
      if (object.is_key() && object.id.empty()) found.push_back(finding_of("no-id", object, "CKA_ID is empty"));
    }
  }

  void duplicates(Found& found) const {
    for (const auto& [kind, ids] : by_id_) {
      for (const auto& [id, group] : ids) {
        if (kind == static_cast<int>(ObjectKind::data) || group.size() < 2 || is_kek_pair(group) || is_anchor_pair(group)) continue;
        // Renewed certificates of one key share its id by rights.
        if (kind == static_cast<int>(ObjectKind::certificate) && same_public(group)) continue;
        for (const auto* object : group) {
          found.push_back(finding_of("duplicate-id", *object, many(group.size(), "objects of this class carry CKA_ID ") + id + ": " + labels(group)));
        }
      }
    }
    for (const auto& [kind, names] : by_label_) {
      for (const auto& [label, group] : names) {
        if (group.size() < 2 || is_kek_pair(group) || ids_of(group).size() < 2) continue;  // one id: said already
        const bool keys = group.front()->is_key();
        for (const auto* object : group) {
          found.push_back(finding_of("duplicate-label", *object, many(group.size(), "objects of this class carry the label ") + printable(label), keys ? Severity::medium : Severity::low));
        }
      }
    }
  }

  void halves(Found& found) const {
    for (const auto& object : objects_) {
      if (object.kind == ObjectKind::private_half) {
        const auto publics = partners(object, ObjectKind::public_half);
        const bool certified = !partners(object, ObjectKind::certificate).empty();
        if (publics.empty() && !certified) found.push_back(finding_of("public-half-missing", object, "no public key or certificate has its CKA_ID or its numbers"));
      } else if (object.kind == ObjectKind::public_half && partners(object, ObjectKind::private_half).empty() && !object.wrap) {
        found.push_back(finding_of("private-half-missing", object, "no private key has its CKA_ID or its numbers"));
      }
      if (object.kind == ObjectKind::public_half) differing(object, found);
    }
    same_keys(found);
  }

  void certificates(Found& found) const {
    for (const auto& object : objects_) {
      if (!object.certificate || !object.certificate->readable) continue;
      const auto privates = with(by_id_, ObjectKind::private_half, object.id), publics = with(by_id_, ObjectKind::public_half, object.id);
      const bool matches = !with(by_public_, ObjectKind::private_half, object.public_id).empty() || !with(by_public_, ObjectKind::public_half, object.public_id).empty();
      const bool contradicted = contradicts(object, privates) || contradicts(object, publics);
      if (contradicted) {
        found.push_back(finding_of("certificate-mismatch", object, fmt::format("the key with CKA_ID {} is another one than {} certifies", object.id, printable(object.certificate->subject))));
      } else if (!matches && privates.empty() && !object.certificate->authority) {
        found.push_back(finding_of("certificate-no-key", object, fmt::format("{}: no key with its CKA_ID, none with its public key", printable(object.certificate->subject))));
      }
    }
  }

 private:
  using Lookup = std::map<int, std::unordered_map<std::string, Group>>;

  static const Group& with(const Lookup& lookup, ObjectKind kind, const std::string& what) {
    static const Group none;
    const auto of_kind = lookup.find(static_cast<int>(kind));
    if (what.empty() || of_kind == lookup.end()) return none;
    const auto found = of_kind->second.find(what);
    return found == of_kind->second.end() ? none : found->second;
  }

  [[nodiscard]] Group partners(const ObjectFacts& object, ObjectKind kind) const {
    Group out = with(by_id_, kind, object.id);
    const Group& more = with(by_public_, kind, object.public_id);
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }

  static std::set<std::string> ids_of(const Group& group) {
    std::set<std::string> out;
    for (const auto* object : group) out.insert(object->id);
    return out;
  }
  static bool same_public(const Group& group) {
    return std::all_of(group.begin(), group.end(), [&](const ObjectFacts* object) { return object->public_id == group.front()->public_id; });
  }
  static std::string labels(const Group& group) {
    std::vector<std::string> out;
    for (const auto* object : group) {
      if (out.size() == 5) break;
      out.push_back(object->label.empty() ? "(no label)" : printable(object->label));
    }
    return join(out, ", ") + (group.size() > out.size() ? ", …" : "");
  }
  static bool contradicts(const ObjectFacts& object, const Group& group) {
    return std::any_of(group.begin(), group.end(), [&](const ObjectFacts* other) {
      return !other->public_id.empty() && !object.public_id.empty() && other->public_id != object.public_id;
    });
  }

  void differing(const ObjectFacts& object, Found& found) const {
    for (const auto* half : with(by_id_, ObjectKind::private_half, object.id)) {
      const bool other_kind = half->key.family != object.key.family || (half->key.bits != 0 && object.key.bits != 0 && half->key.bits != object.key.bits);
      const bool other_numbers = !half->public_id.empty() && !object.public_id.empty() && half->public_id != object.public_id;
      if (other_kind || other_numbers) {
        found.push_back(finding_of("halves-differ", object, fmt::format("CKA_ID {}: the private half is {}, the public half is another {}", object.id, half->key.text(), object.key.text())));
      }
    }
  }

  void same_keys(Found& found) const {
    const auto privates = by_public_.find(static_cast<int>(ObjectKind::private_half));
    if (privates == by_public_.end()) return;
    for (const auto& [id, group] : privates->second) {
      if (group.size() < 2) continue;
      std::set<std::string> usages;
      for (const auto* object : group) usages.insert(object->usages());
      for (const auto* object : group) {
        found.push_back(finding_of("same-key-twice", *object, fmt::format("{} private keys have the same numbers ({}); usages: {}", group.size(), labels(group), join({usages.begin(), usages.end()}, " / ")),
                                   usages.size() > 1 ? Severity::high : Severity::medium));
      }
    }
  }

  const std::vector<ObjectFacts>& objects_;
  Lookup by_id_, by_label_, by_public_;
};

}  // namespace

std::vector<Finding> audit_set(const std::vector<ObjectFacts>& objects) {
  Found found;
  const Index index(objects);
  index.names(found);
  index.duplicates(found);
  index.halves(found);
  index.certificates(found);
  return found;
}

}  // namespace kmtool::policy
