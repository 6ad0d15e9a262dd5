#include <algorithm>
#include <tuple>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/notices.hpp"
#include "kmtool/crypto/digest.hpp"
#include "kmtool/op/objects.hpp"
#include "op/state.hpp"

/// Objects without label and id: a kill inside some tokens' generating calls leaves such, and other programs make them too.
namespace kmtool::op {

namespace {

std::string fingerprint(const pkcs11::Object& object) {
  crypto::Digest hash(crypto::Hash::sha256);
  hash.update(big_endian(static_cast<std::uint64_t>(object.object_class), 8));
  hash.update(big_endian(object.key_type, 8));
  for (const auto* bytes : {&object.modulus, &object.ec_params, &object.ec_point}) {
    hash.update(big_endian(bytes->size(), 8));
    hash.update(*bytes);
  }
  return hex(hash.value()).substr(0, 16);
}

/// Nothing but label and id may be missing of what the command asks the token for: every other attribute is held against it.
bool is_rest_of(Context& context, const pkcs11::Object& object, const Unmade& unmade) {
  auto spec = unmade.spec;
  spec.label.clear();
  spec.id.clear();
  return context.token().differences(object, spec, unmade.imported).empty();
}

}  // namespace

std::map<std::string, std::size_t> nameless_objects(Context& context) {
  std::map<std::string, std::size_t> found;
  for (const auto& object : context.token().find_nameless()) {
    if (may_be_key(object)) ++found[fingerprint(object)];
  }
  return found;
}

std::vector<Unmade> unmade_of(const Plan& plan, const std::map<Bytes, std::vector<pkcs11::Object>>& located) {
  std::vector<Unmade> unmade;
  for (const auto& key : plan.keys) {
    const auto found = located.find(key.id);
    for (const Part part : parts_of(key.role)) {
      const bool there = found != located.end() && std::ranges::any_of(found->second, [&](const auto& object) { return part_of(key.role, object) == part; });
      if (!there) unmade.push_back({{key.role, key.type, part, key.label, key.id, key.extractable && part != Part::public_half}, key.imported});
    }
  }
  return unmade;
}

void destroy_nameless(Context& context, const Plan& plan, std::vector<Unmade> unmade, Undone& undone) {
  auto before = plan.nameless;
  std::map<std::string, std::size_t> destroyed, left;
  for (const auto& object : context.token().scan()) {
    if (!object.nameless() || !may_be_key(object)) continue;
    if (auto& count = before[fingerprint(object)]; count > 0) {
      --count;
      continue;
    }
    const auto what = kind_text(object);
    const auto rest = std::ranges::find_if(unmade, [&](const Unmade& one) { return is_rest_of(context, object, one); });
    if (rest == unmade.end()) {
      ++left[what];
      continue;
    }
    unmade.erase(rest);  // each key leaves one at most
    context.token().destroy(object.handle);
    undone.done.push_back("destroyed a nameless object that an interrupted " + plan.command + " left");
    ++destroyed[what];
  }
  for (const auto& [what, count] : destroyed) {
    undone.nameless.push_back({{"object", what}, {"count", count}});
    notice("destroyed on the token, as what an interrupted " + plan.command + " left without label and id: " + std::to_string(count) + " of " + what);
  }
  for (const auto& [what, count] : left) {
    notice("left on the token: " + std::to_string(count) + " of " + what + " without label and id, made while " + plan.command +
           " was unfinished, but not as it makes its keys");
  }
}

}  // namespace kmtool::op
