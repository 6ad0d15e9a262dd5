#ifndef __clang__  // GCC 12 takes the lengths of compared byte strings for negative
#pragma GCC diagnostic ignored "-Wstringop-overread"
#endif
#include "objects.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "templates.hpp"

namespace kmtool::pkcs11 {
namespace {

constexpr CK_BYTE unwritten = 0xA5;  // neither true nor false: a module that stops at the first bad attribute leaves it

enum Classes : unsigned { secret = 1, priv = 2, pub = 4, any_key = 7, any_object = 15 };

struct FlagField {
  CK_ATTRIBUTE_TYPE type;
  unsigned classes;
  std::optional<bool> Object::*field;
};
constexpr std::array flag_fields{
    FlagField{CKA_TOKEN, any_object, &Object::token},
    FlagField{CKA_PRIVATE, any_object, &Object::is_private},
    FlagField{CKA_MODIFIABLE, any_object, &Object::modifiable},
    FlagField{CKA_COPYABLE, any_object, &Object::copyable},
    FlagField{CKA_SENSITIVE, secret | priv, &Object::sensitive},
    FlagField{CKA_EXTRACTABLE, secret | priv, &Object::extractable},
    FlagField{CKA_LOCAL, any_key, &Object::local},
    FlagField{CKA_ALWAYS_SENSITIVE, secret | priv, &Object::always_sensitive},
    FlagField{CKA_NEVER_EXTRACTABLE, secret | priv, &Object::never_extractable},
    FlagField{CKA_WRAP_WITH_TRUSTED, secret | priv, &Object::wrap_with_trusted},
    FlagField{CKA_TRUSTED, secret | pub, &Object::trusted},
    FlagField{CKA_ENCRYPT, secret | pub, &Object::encrypt},
    FlagField{CKA_DECRYPT, secret | priv, &Object::decrypt},
    FlagField{CKA_SIGN, secret | priv, &Object::sign},
    FlagField{CKA_VERIFY, secret | pub, &Object::verify},
    FlagField{CKA_WRAP, secret | pub, &Object::wrap},
    FlagField{CKA_UNWRAP, secret | priv, &Object::unwrap},
    FlagField{CKA_DERIVE, any_key, &Object::derive},
    FlagField{CKA_SIGN_RECOVER, priv, &Object::sign_recover},
    FlagField{CKA_VERIFY_RECOVER, pub, &Object::verify_recover},
};

struct BytesField {
  CK_ATTRIBUTE_TYPE type;
  unsigned classes;
  std::size_t capacity;
  Bytes Object::*field;  // nullptr: the label
};
constexpr std::array bytes_fields{
    BytesField{CKA_LABEL, any_object, 512, nullptr},
    BytesField{CKA_ID, any_object, 64, &Object::id},
    BytesField{CKA_MODULUS, priv | pub, 1024, &Object::modulus},
    BytesField{CKA_PUBLIC_EXPONENT, priv | pub, 64, &Object::public_exponent},
    BytesField{CKA_EC_PARAMS, priv | pub, 256, &Object::ec_params},
    BytesField{CKA_EC_POINT, pub, 256, &Object::ec_point},
};
constexpr std::size_t bytes_room = 512 + 64 + 1024 + 64 + 256 + 256;
constexpr std::size_t longest_value = 65536;

unsigned mask_of(std::optional<ObjectClass> known) {
  if (!known) return any_object;
  switch (*known) {
    case ObjectClass::secret_key:
      return secret;
    case ObjectClass::private_key:
      return priv;
    case ObjectClass::public_key:
      return pub;
    default:
      return any_object;
  }
}

bool attribute_trouble(CK_RV rv) {
  return rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE || rv == CKR_BUFFER_TOO_SMALL;
}

Bytes read_long(const Session& session, CK_OBJECT_HANDLE handle, CK_ATTRIBUTE_TYPE type) {
  CK_ATTRIBUTE attribute{type, nullptr, 0};
  CK_RV rv = session.get_attributes(handle, {&attribute, 1});
  if (rv != CKR_OK || attribute.ulValueLen == 0 || attribute.ulValueLen > longest_value) return {};
  Bytes value(attribute.ulValueLen);
  attribute.pValue = value.data();
  rv = session.get_attributes(handle, {&attribute, 1});
  if (rv != CKR_OK || attribute.ulValueLen > value.size()) return {};
  value.resize(attribute.ulValueLen);
  return value;
}

/// One reading of one object: buffers and the list that points into them.
class Reader {
 public:
  Reader(const Session& session, CK_OBJECT_HANDLE handle, std::optional<ObjectClass> known)
      : session_(session), handle_(handle), mask_(mask_of(known)) {
    room_.fill(unwritten);
    std::memset(numbers_.data(), unwritten, sizeof numbers_);
  }

  /// Nothing when the object turns out to be of a class that these attributes were not meant for.
  std::optional<Object> read_as_known() {
    const CK_RV rv = ask();
    Object out;
    take_numbers(out, rv);
    if (mask_of(out.object_class) != mask_) return std::nullopt;
    return rest_of(std::move(out), rv);
  }

  Object read() {
    const CK_RV rv = ask();
    Object out;
    take_numbers(out, rv);
    return rest_of(std::move(out), rv);
  }

 private:
  CK_RV ask() {
    lay_out();
    const CK_RV rv = session_.get_attributes(handle_, {list_.data(), used_});
    if (rv != CKR_OK && !attribute_trouble(rv)) fail(rv, "C_GetAttributeValue");
    return rv;
  }

  Object rest_of(Object out, CK_RV rv) {
    out.handle = {handle_};
    for (const auto& field : flag_fields) {
      if ((field.classes & mask_) != 0) out.*field.field = take_flag(rv);
    }
    // A value that did not fit cannot be told from one that does not exist: those that must exist are asked for again.
    const unsigned found = mask_of(out.object_class);
    for (const auto& field : bytes_fields) {
      if ((field.classes & mask_) != 0) take_bytes(out, field, rv, (field.classes & found) != 0);
    }
    if (out.object_class == ObjectClass::secret_key && out.key_type == CKK_GENERIC_SECRET) out.id = visible_id(out.id);
    return out;
  }

  void lay_out() {
    for (std::size_t i = 0; i < number_types.size(); ++i) {
      if (number_types[i] == CKA_VALUE_LEN && (mask_ & secret) == 0) continue;
      add(number_types[i], &numbers_[i], sizeof(CK_ULONG));
    }
    numbers_used_ = used_;
    std::size_t at = 0;
    for (const auto& field : flag_fields) {
      if ((field.classes & mask_) != 0) add(field.type, &flags_[at++], 1);
    }
    at = 0;
    for (const auto& field : bytes_fields) {
      if ((field.classes & mask_) == 0) continue;
      add(field.type, room_.data() + at, field.capacity);
      at += field.capacity;
    }
  }

  void add(CK_ATTRIBUTE_TYPE type, void* to, std::size_t capacity) {
    if (capacity == 1) *static_cast<CK_BYTE*>(to) = unwritten;
    list_[used_++] = {type, to, capacity};
  }

  /// A module that stops at the first attribute it does not have leaves the rest as it was: asked for one by one.
  bool present(CK_ATTRIBUTE& attribute, std::size_t capacity, CK_RV rv) {
    if (attribute.ulValueLen == unavailable_length) return false;
    const auto* octets = static_cast<const CK_BYTE*>(attribute.pValue);
    const bool untouched = rv != CKR_OK && attribute.ulValueLen == capacity &&
                           std::all_of(octets, octets + capacity, [](CK_BYTE octet) { return octet == unwritten; });
    if (untouched) {
      const CK_RV again = session_.get_attributes(handle_, {&attribute, 1});
      if (again != CKR_OK) {
        if (!attribute_trouble(again)) fail(again, "C_GetAttributeValue");
        return false;
      }
    }
    if (attribute.ulValueLen > capacity) {
      throw Error::internal("C_GetAttributeValue: the module gives a length beyond the buffer",
                            "the PKCS#11 module breaks its contract; do not use it");
    }
    return true;
  }

  void take_numbers(Object& out, CK_RV rv) {
    for (; next_ < numbers_used_; ++next_) {
      CK_ATTRIBUTE& attribute = list_[next_];
      if (!present(attribute, sizeof(CK_ULONG), rv) || attribute.ulValueLen != sizeof(CK_ULONG)) continue;
      CK_ULONG number = 0;
      std::memcpy(&number, attribute.pValue, sizeof number);
      if (attribute.type == CKA_CLASS) out.object_class = class_from(number);
      if (attribute.type == CKA_KEY_TYPE) out.key_type = number;
      // SoftHSM says 0 of unwrapped keys, and of copies of them.
      if (attribute.type == CKA_VALUE_LEN && number != 0) out.value_length = number;
    }
  }

  std::optional<bool> take_flag(CK_RV rv) {
    CK_ATTRIBUTE& attribute = list_[next_++];
    if (!present(attribute, 1, rv) || attribute.ulValueLen != 1) return std::nullopt;
    return *static_cast<const CK_BYTE*>(attribute.pValue) != 0;
  }

  void take_bytes(Object& out, const BytesField& field, CK_RV rv, bool applies) {
    CK_ATTRIBUTE& attribute = list_[next_++];
    Bytes value;
    if (present(attribute, field.capacity, rv)) {
      const auto* octets = static_cast<const CK_BYTE*>(attribute.pValue);
      value.assign(octets, octets + attribute.ulValueLen);
    } else if (applies && may_be_long(out, field)) {
      value = read_long(session_, handle_, field.type);
    } else {
      return;
    }
    if (field.field == nullptr) {
      out.label = to_text(value);
    } else {
      out.*field.field = std::move(value);
    }
  }

  static bool may_be_long(const Object& object, const BytesField& field) {
    switch (field.type) {
      case CKA_LABEL:
        return object.object_class != ObjectClass::other;
      case CKA_ID:
        return object.object_class != ObjectClass::other && object.object_class != ObjectClass::data;
      case CKA_MODULUS:
        return object.key_type == CKK_RSA;
      case CKA_EC_POINT:
      case CKA_EC_PARAMS:
        return object.key_type == CKK_EC;
      default:
        return false;
    }
  }

  static constexpr std::array<CK_ATTRIBUTE_TYPE, 3> number_types{CKA_CLASS, CKA_KEY_TYPE, CKA_VALUE_LEN};
  const Session& session_;
  CK_OBJECT_HANDLE handle_;
  unsigned mask_;
  std::array<CK_ULONG, 3> numbers_{};
  std::array<CK_BYTE, flag_fields.size()> flags_{};
  std::array<CK_BYTE, bytes_room> room_{};
  std::array<CK_ATTRIBUTE, 3 + flag_fields.size() + bytes_fields.size()> list_{};
  std::size_t used_ = 0, numbers_used_ = 0, next_ = 0;
};

}  // namespace

Object read_object(const Session& session, CK_OBJECT_HANDLE handle, std::optional<ObjectClass> known) {
  return Reader(session, handle, known).read();
}

Bytes read_certificate(const Session& session, CK_OBJECT_HANDLE handle) { return read_long(session, handle, CKA_VALUE); }

std::optional<Object> read_object_as(const Session& session, CK_OBJECT_HANDLE handle, ObjectClass expected) {
  if (mask_of(expected) == any_object) return std::nullopt;
  return Reader(session, handle, expected).read_as_known();
}

}  // namespace kmtool::pkcs11
