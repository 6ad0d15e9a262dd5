#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "objects.hpp"
#include "templates.hpp"

namespace kmtool::pkcs11 {
namespace {

const char* word(bool value) { return value ? "true" : "false"; }

unsigned long bit_length(ByteView number) {
  const auto first = std::ranges::find_if(number, [](std::uint8_t octet) { return octet != 0; });
  if (first == number.end()) return 0;
  return static_cast<unsigned long>(number.end() - first) * 8 - static_cast<unsigned long>(std::countl_zero(*first));
}

class Comparison {
 public:
  explicit Comparison(std::vector<std::string>& out) : out_(out) {}

  /// What does not show counts as a difference unless `absent_ok`.
  void flag(const char* name, std::optional<bool> value, bool wanted, bool absent_ok) {
    if (!value) {
      if (!absent_ok) out_.push_back(fmt::format("{} cannot be read, wanted {}", name, word(wanted)));
    } else if (*value != wanted) {
      out_.push_back(fmt::format("{} is {}, wanted {}", name, word(*value), word(wanted)));
    }
  }
  /// A usage that an object of its class does not have is not set.
  void usage(const char* name, std::optional<bool> value, bool wanted) { flag(name, value, wanted, !wanted); }
  void text(const char* name, const std::string& value, const std::string& wanted) {
    if (value != wanted) out_.push_back(fmt::format("{} is {}, wanted {}", name, value.empty() ? "empty" : value, wanted));
  }

 private:
  std::vector<std::string>& out_;
};

const char* class_word(ObjectClass object_class) {
  switch (object_class) {
    case ObjectClass::secret_key:
      return "secret key";
    case ObjectClass::private_key:
      return "private key";
    case ObjectClass::public_key:
      return "public key";
    case ObjectClass::certificate:
      return "certificate";
    case ObjectClass::data:
      return "data";
    case ObjectClass::other:
      break;
  }
  return "something else";
}

void compare_kind(Comparison& compare, const Object& object, const ObjectSpec& spec, std::vector<std::string>& out) {
  const KeyType type = object_type(spec);
  const ObjectClass object_class = class_of_part(spec.role, spec.part);
  compare.text("CKA_CLASS", class_word(object.object_class), class_word(object_class));
  compare.text("CKA_KEY_TYPE", fmt::format("0x{:x}", object.key_type), fmt::format("0x{:x}", ckk_of(type)));
  if (object_class == ObjectClass::secret_key) {
    if (object.value_length && *object.value_length != value_length(type)) {
      out.push_back(fmt::format("CKA_VALUE_LEN is {}, wanted {}", *object.value_length, value_length(type)));
    }
  } else if (is_rsa(type)) {
    const bool readable = !object.modulus.empty() || object_class == ObjectClass::public_key;
    const unsigned long bits = bit_length(object.modulus);
    if (readable && bits != modulus_bits(type)) {
      out.push_back(fmt::format("CKA_MODULUS has {} bits, wanted {}", bits, modulus_bits(type)));
    }
  } else if (!object.ec_params.empty() || object_class == ObjectClass::public_key) {
    if (type_of_ec_params(object.ec_params) != type) {
      out.push_back(fmt::format("CKA_EC_PARAMS is {}, wanted {}", hex(object.ec_params), to_text(type)));
    }
  }
}

void compare_usage(Comparison& compare, const Object& object, const ObjectSpec& spec) {
  const Usage wanted = usage_of(spec.role, spec.type, spec.part);
  compare.usage("CKA_ENCRYPT", object.encrypt, wanted.encrypt);
  compare.usage("CKA_DECRYPT", object.decrypt, wanted.decrypt);
  compare.usage("CKA_SIGN", object.sign, wanted.sign);
  compare.usage("CKA_VERIFY", object.verify, wanted.verify);
  compare.usage("CKA_WRAP", object.wrap, wanted.wrap);
  compare.usage("CKA_UNWRAP", object.unwrap, wanted.unwrap);
  compare.usage("CKA_DERIVE", object.derive, wanted.derive);
  compare.usage("CKA_SIGN_RECOVER", object.sign_recover, false);
  compare.usage("CKA_VERIFY_RECOVER", object.verify_recover, false);
}

void compare_provenance(Comparison& compare, const Object& object, const ObjectSpec& spec, bool imported,
                        const Profile& profile) {
  if (profile.local_correct) compare.flag("CKA_LOCAL", object.local, !imported, true);
  if (spec.part == Part::public_half) return;
  if (imported) {
    compare.flag("CKA_ALWAYS_SENSITIVE", object.always_sensitive, false, true);
  } else if (profile.local_correct) {
    compare.flag("CKA_ALWAYS_SENSITIVE", object.always_sensitive, true, true);
  }
  // False is right for a key that was backed up at birth, so only a claim that cannot be true counts.
  if (imported || spec.extractable) compare.flag("CKA_NEVER_EXTRACTABLE", object.never_extractable, false, true);
}

}  // namespace

std::vector<std::string> object_differences(const Object& object, const ObjectSpec& spec, bool imported, const Profile& profile) {
  std::vector<std::string> out;
  Comparison compare(out);
  compare_kind(compare, object, spec, out);
  compare.text("CKA_LABEL", printable(object.label), spec.label);
  compare.text("CKA_ID", hex(object.id), hex(spec.id));
  compare.flag("CKA_TOKEN", object.token, true, false);
  if (spec.part != Part::public_half) {
    compare.flag("CKA_PRIVATE", object.is_private, true, false);
    compare.flag("CKA_SENSITIVE", object.sensitive, true, false);
    compare.flag("CKA_EXTRACTABLE", object.extractable, spec.extractable, false);
  }
  compare_usage(compare, object, spec);
  const bool locked = spec.part != Part::anchor;
  if (profile.modifiable_enforced) compare.flag("CKA_MODIFIABLE", object.modifiable, !locked, false);
  if (profile.copyable_known && locked) compare.flag("CKA_COPYABLE", object.copyable, false, false);
  compare_provenance(compare, object, spec, imported, profile);
  return out;
}

}  // namespace kmtool::pkcs11
