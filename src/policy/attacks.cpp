#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_set>

#include "kmtool/core/text.hpp"
#include "kmtool/policy/objects.hpp"
#include "policy/tools.hpp"

/// The attacks on PKCS#11's interface as combinations over all keys of a token: Clulow, "On the security of PKCS #11" (CHES
/// 2003); Delaune, Kremer, Steel, "Formal analysis of PKCS#11" (CSF 2008); Bortolozzo, Centenaro, Focardi, Steel, "Attacking and
/// fixing PKCS#11 security tokens" (CCS 2010), whose A1 to A5 the findings name.
namespace kmtool::policy {
namespace {

using Found = std::vector<Finding>;

/// Keys whose value can be asked for under a wrapping key. Every answer is quick: tokens have ten thousand of both.
struct Victims {
  std::vector<const ObjectFacts*> keys;  ///< strongest first
  std::vector<bool> ours;                ///< are all before this one kmtool's own?
  std::unordered_set<const ObjectFacts*> members;
  const ObjectFacts* wraps = nullptr;  ///< the strongest of them that itself wraps

  void add(const ObjectFacts& key) {
    keys.push_back(&key);
    members.insert(&key);
  }
  void finish() {
    std::stable_sort(keys.begin(), keys.end(), [](const ObjectFacts* a, const ObjectFacts* b) { return a->strength > b->strength; });
    ours.assign(keys.size() + 1, true);
    for (std::size_t i = 0; i < keys.size(); ++i) ours[i + 1] = ours[i] && keys[i]->kmtool_made();
    const auto found = std::find_if(keys.begin(), keys.end(), [](const ObjectFacts* key) { return key->wrap; });
    if (found != keys.end()) wraps = *found;
  }
  /// How many there are besides this one.
  [[nodiscard]] std::size_t others(const ObjectFacts* except) const { return keys.size() - members.count(except); }
  [[nodiscard]] const ObjectFacts* first(const ObjectFacts* except) const {
    const auto found = std::find_if(keys.begin(), keys.end(), [&](const ObjectFacts* key) { return key != except; });
    return found == keys.end() ? nullptr : *found;
  }
  [[nodiscard]] std::string text(const ObjectFacts* except) const {
    const std::size_t n = others(except);
    if (n == 0) return "no key may leave the token now; the next one that may falls to it";
    std::vector<std::string> names;
    for (auto key = keys.begin(); key != keys.end() && names.size() < 3; ++key) {
      if (*key != except) names.push_back((*key)->named());
    }
    return fmt::format("{} key{} may leave the token under it: {}{}", n, n == 1 ? "" : "s", join(names, ", "), n > 3 ? ", …" : "");
  }
};

/// What might stand in an attack's way on a token that heeds it. That cannot be seen, so the finding stays.
std::string narrowed(const ObjectFacts& key) {
  std::string text;
  if (!key.mechanisms.empty()) {
    std::vector<std::string> some(key.mechanisms.begin(), key.mechanisms.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(key.mechanisms.size(), 4)));
    text += "; CKA_ALLOWED_MECHANISMS allows " + join(some, ", ") + (some.size() < key.mechanisms.size() ? ", …" : "");
  }
  if (key.wrap && key.wrap_template) text += "; CKA_WRAP_TEMPLATE narrows what it wraps";
  return text.empty() ? text : text + ", if the token heeds it";
}

class Finder {
 public:
  Finder(const TokenTraits& traits, const std::vector<ObjectFacts>& objects) : traits_(traits), objects_(objects) {
    for (const auto& object : objects) {
      if (!object.holds_secret()) continue;
      if (object.kind == ObjectKind::private_half && !object.id.empty()) privates_[object.id].push_back(&object);
      if (object.kind == ObjectKind::private_half && !object.public_id.empty()) privates_[object.public_id].push_back(&object);
      const bool leaves = object.extractable == true || traits.extractable_enforced == false;
      if (!leaves || object.owner == ObjectFacts::Owner::anchor) continue;
      const bool guarded = object.wrap_with_trusted == true && traits.wrap_with_trusted_enforced.value_or(true);
      (guarded ? guarded_ : open_).add(object);
      all_.add(object);
    }
    for (Victims* victims : {&open_, &guarded_, &all_}) victims->finish();
  }

  Found run() {
    for (const auto& object : objects_) {
      if (object.kind == ObjectKind::secret) secret(object);
      if (object.kind == ObjectKind::public_half && object.wrap) public_wrapping(object);
      if (object.kind == ObjectKind::public_half && object.encrypt) public_encrypting(object);
      if (object.wrap) weaker(object);
    }
    copies();
    trusted_chains();
    return std::move(found_);
  }

 private:
  /// What this key can wrap; a trusted one also what only trusted ones may.
  [[nodiscard]] const Victims& victims(const ObjectFacts& key) const { return key.trusted == true ? all_ : open_; }

  void add(const char* check, const ObjectFacts& object, std::string evidence, std::vector<std::string> path, std::optional<Severity> severity = {}) {
    Finding found = finding_of(check, object, std::move(evidence) + narrowed(object), severity);
    found.path = std::move(path);
    found_.push_back(std::move(found));
  }

  static std::string prey(const Victims& victims, const ObjectFacts* except) {
    const auto* key = victims.first(except);
    return key != nullptr ? key->named() : "any key that may leave";
  }

  void secret(const ObjectFacts& key) {
    const auto& under = victims(key);
    const std::string name = key.named(), victim = prey(under, &key);
    const bool falls = under.first(&key) != nullptr;
    if (key.wrap && key.decrypt) {
      add("wrap-decrypt", key, fmt::format("WRAP and DECRYPT are both set; {}", under.text(&key)),
          {fmt::format("C_WrapKey: {} wraps {}", name, victim), fmt::format("C_Decrypt: {} decrypts the wrapped key", name), fmt::format("the value of {} is in the clear", victim)},
          falls ? Severity::critical : Severity::high);
    } else if (key.wrap && key.modifiable == true) {
      add("drift", key, fmt::format("WRAP is set and CKA_MODIFIABLE is true; {}", under.text(&key)),
          {fmt::format("C_SetAttributeValue: CKA_DECRYPT of {} becomes true", name), fmt::format("C_WrapKey: {} wraps {}", name, victim), fmt::format("C_Decrypt: {} decrypts the wrapped key", name), fmt::format("the value of {} is in the clear", victim)},
          falls ? Severity::high : Severity::medium);
    } else if (key.decrypt && key.modifiable == true && falls && !key.unwrap) {
      add("drift", key, fmt::format("DECRYPT is set and CKA_MODIFIABLE is true: WRAP can be added; {}", under.text(&key)),
          {fmt::format("C_SetAttributeValue: CKA_WRAP of {} becomes true", name), fmt::format("C_WrapKey: {} wraps {}", name, victim), fmt::format("C_Decrypt: {} decrypts the wrapped key", name), fmt::format("the value of {} is in the clear", victim)},
          Severity::medium);
    }
    if (key.encrypt && key.unwrap) {
      add("encrypt-unwrap", key, fmt::format("ENCRYPT and UNWRAP are both set; {}", under.text(&key)),
          {fmt::format("C_Encrypt: {} encrypts a value that the attacker chose", name), fmt::format("C_UnwrapKey: {} unwraps it as a wrap key whose value he knows", name), fmt::format("C_WrapKey: the new key wraps {}", victim), fmt::format("he decrypts {} on his own machine", victim)});
    }
    if (key.derive) derive(key);
    if (key.wrap && key.key.family != Family::aes && key.key.family != Family::unknown) {
      add("kek-algorithm", key, fmt::format("WRAP is set on a key of kind {}", key.key.text()), {});
    }
  }

  void derive(const ObjectFacts& key) {
    std::string evidence = key.sensitive == false ? "DERIVE is set" : "DERIVE is set on a sensitive key";
    std::vector<std::string> path{fmt::format("C_DeriveKey: {} derives a key; the template says SENSITIVE=false", key.named()), "C_GetAttributeValue: its CKA_VALUE is in the clear"};
    if (!traits_.cutting.empty()) {
      evidence += "; the token offers " + join(traits_.cutting, ", ");
      path = {fmt::format("C_DeriveKey: {} of {} gives a key of one octet", traits_.cutting.front(), key.named()), "a MAC or a wrapped value under it is searched in 256 tries", fmt::format("again for the next octet, until {} is known", key.named())};
    }
    add("derive", key, evidence, path, traits_.cutting.empty() ? Severity::medium : Severity::high);
  }

  void public_wrapping(const ObjectFacts& key) {
    const auto& under = victims(key);
    const std::string victim = prey(under, nullptr);
    std::set<const ObjectFacts*> halves;
    for (const auto& name : {key.id, key.public_id}) {
      if (const auto at = privates_.find(name); !name.empty() && at != privates_.end()) halves.insert(at->second.begin(), at->second.end());
    }
    for (const auto* half : halves) {
      if (!half->decrypt) continue;
      add("public-wrap-decrypt", key, fmt::format("the public half has WRAP, the private half DECRYPT; {}", under.text(half)),
          {fmt::format("C_WrapKey: {} wraps {}", key.named(), victim), fmt::format("C_Decrypt: {} decrypts the wrapped key", half->named()), fmt::format("the value of {} is in the clear", victim)},
          under.first(half) != nullptr ? Severity::critical : Severity::high);
    }
    if (halves.empty()) {
      add("foreign-wrapping-key", key, fmt::format("the public half has WRAP, and no private half is on the token; {}", under.text(nullptr)),
          {fmt::format("C_WrapKey: {} wraps {}", key.named(), victim), "whoever holds the private half opens it elsewhere"}, under.keys.empty() ? Severity::medium : Severity::high);
    }
  }

  void public_encrypting(const ObjectFacts& key) {
    const auto halves = privates_.find(key.id);
    if (key.id.empty() || halves == privates_.end()) return;
    for (const auto* half : halves->second) {
      if (!half->unwrap) continue;
      add("encrypt-unwrap", key, "the public half has ENCRYPT, the private half UNWRAP",
          {fmt::format("C_Encrypt: {} encrypts a value that the attacker chose", key.named()), fmt::format("C_UnwrapKey: {} unwraps it as a key whose value he knows", half->named()), "what is wrapped under that key he decrypts on his own machine"}, Severity::medium);
    }
  }

  /// The order of wrapping: a key is as safe as the weakest that can wrap it.
  void weaker(const ObjectFacts& kek) {
    if (kek.strength < 0) return;
    const auto& under = victims(kek);
    // Strongest first: those that it does not carry stand at the beginning.
    const auto end = std::find_if(under.keys.begin(), under.keys.end(), [&](const ObjectFacts* key) { return carries(kek.strength, key->strength); });
    const auto n = static_cast<std::size_t>(end - under.keys.begin());
    const auto* best = under.first(&kek);
    const bool own_half = n == 1 && !kek.public_id.empty() && best != nullptr && best->public_id == kek.public_id;
    if (n == 0 || best == nullptr || own_half) return;
    std::vector<std::string> path{fmt::format("C_WrapKey: {} ({} bits) wraps {} ({} bits)", kek.named(), kek.strength, best->named(), best->strength)};
    if (under.wraps != nullptr && !carries(kek.strength, under.wraps->strength)) {
      path.push_back(fmt::format("C_WrapKey: {} wraps {}, which wraps others: what is under that one is under this one", kek.named(), under.wraps->named()));
    }
    path.push_back(fmt::format("to break {} takes no more than to break {}", best->named(), kek.named()));
    // Between its own keys kmtool refuses at the door (G-KEK); somebody else with the PIN can.
    const bool ours = kek.kmtool_made() && under.ours[n];
    if (ours && kek.kind == ObjectKind::public_half) return;  // nothing but keks goes to a transport key, each pinned by a person
    add("weaker-kek", kek, fmt::format("{} bits; it can wrap {} stronger key{}, such as {} ({} bits){}", kek.strength, n, n == 1 ? "" : "s", best->named(), best->strength, ours ? "; kmtool itself refuses to" : ""),
        std::move(path), ours ? Severity::low : Severity::high);
  }

  /// Two objects that may hold one value: where one wraps and the other decrypts, they are A1 together.
  void copies() {
    std::map<std::string, std::vector<const ObjectFacts*>> groups;
    for (const auto& object : objects_) {
      if (object.kind != ObjectKind::secret || (!object.wrap && !object.decrypt)) continue;
      if (!object.id.empty()) groups["CKA_ID " + object.id + "\n" + object.key.text()].push_back(&object);
      if (!object.label.empty()) groups["label " + printable(object.label) + "\n" + object.key.text()].push_back(&object);
    }
    std::set<std::pair<const ObjectFacts*, const ObjectFacts*>> said;
    for (const auto& [name, group] : groups) {
      for (const auto* wraps : group) {
        if (!wraps->wrap || wraps->decrypt) continue;
        const auto opens = std::find_if(group.begin(), group.end(), [](const ObjectFacts* key) { return key->decrypt && !key->wrap; });
        if (opens == group.end() || !said.insert({wraps, *opens}).second) continue;
        const auto& under = victims(*wraps);
        add("wrap-decrypt-copies", *wraps, fmt::format("two keys share {}: one has WRAP, the other DECRYPT; {}", name.substr(0, name.find('\n')), under.text(wraps)),
            {fmt::format("C_WrapKey: {} with WRAP wraps {}", wraps->named(), prey(under, wraps)), fmt::format("C_Decrypt: {} with DECRYPT decrypts the wrapped key", (*opens)->named()), fmt::format("the value of {} is in the clear", prey(under, wraps))});
      }
    }
  }

  /// WRAP_WITH_TRUSTED keeps a key from ordinary wrap keys, unless a trusted one may itself leave under an ordinary one.
  void trusted_chains() {
    if (guarded_.keys.empty()) return;
    const auto ordinary = std::find_if(objects_.begin(), objects_.end(), [](const ObjectFacts& key) { return key.wrap && key.trusted != true; });
    if (ordinary == objects_.end()) return;
    for (const auto* trusted : open_.keys) {
      if (!trusted->wrap || trusted->trusted != true || trusted == &*ordinary) continue;
      const auto* guarded = guarded_.keys.front();
      add("trusted-chain", *guarded, fmt::format("only trusted keys may wrap it; the trusted key {} may itself leave under {}", trusted->named(), ordinary->named()),
          {fmt::format("C_WrapKey: {} wraps {}", ordinary->named(), trusted->named()), fmt::format("C_WrapKey: {} wraps {}", trusted->named(), guarded->named()), fmt::format("whoever knows {} opens both", ordinary->named())});
      return;
    }
  }

  const TokenTraits& traits_;
  const std::vector<ObjectFacts>& objects_;
  Victims open_, guarded_, all_;  ///< for any wrap key; for trusted ones only; for those
  std::map<std::string, std::vector<const ObjectFacts*>> privates_;  ///< by CKA_ID, and by public key
  Found found_;
};

}  // namespace

std::vector<Finding> find_attacks(const TokenTraits& traits, const std::vector<ObjectFacts>& objects) { return Finder(traits, objects).run(); }

}  // namespace kmtool::policy
