#include <cstring>

#include "pkcs11/cryptoki.hpp"
#include "pkcs11/objects.hpp"
#include "soft_token.hpp"

// A module made of lies: what kmtool makes of one that does less, or other, than PKCS#11 asks.

using namespace kmtool;
using namespace kmtool::test;
using namespace kmtool::pkcs11;

namespace {

struct Behaviour {
  bool stops_early = false;  ///< leaves everything after the first attribute that it does not have
  bool long_label = false;   ///< the label does not fit any buffer set beforehand
  bool lies_about_length = false;
  CK_RV rv = CKR_OK;  ///< for every call that it is given for
  int reads = 0, wraps = 0;
};
Behaviour behaviour;

constexpr std::size_t long_length = 2000;

CK_RV give(CK_ATTRIBUTE& attribute, const void* value, CK_ULONG length) {
  if (attribute.pValue == nullptr) {
    attribute.ulValueLen = length;
    return CKR_OK;
  }
  if (attribute.ulValueLen < length) {
    attribute.ulValueLen = unavailable_length;
    return CKR_BUFFER_TOO_SMALL;
  }
  std::memcpy(attribute.pValue, value, length);
  attribute.ulValueLen = behaviour.lies_about_length && attribute.type == CKA_LABEL ? 60000 : length;
  return CKR_OK;
}

/// An AES key that knows a few attributes.
CK_RV give_known(CK_ATTRIBUTE& attribute) {
  static const CK_ULONG object_class = CKO_SECRET_KEY, key_type = CKK_AES, length = 32;
  static const CK_BYTE yes = 1, no = 0;
  static const std::string short_label = "key@1", long_label(long_length, 'L');
  const std::string& label = behaviour.long_label ? long_label : short_label;
  switch (attribute.type) {
    case CKA_CLASS:
      return give(attribute, &object_class, sizeof object_class);
    case CKA_KEY_TYPE:
      return give(attribute, &key_type, sizeof key_type);
    case CKA_VALUE_LEN:
      return give(attribute, &length, sizeof length);
    case CKA_TOKEN:
    case CKA_WRAP:
    case CKA_UNWRAP:
      return give(attribute, &yes, 1);
    case CKA_EXTRACTABLE:
      return give(attribute, &no, 1);
    case CKA_LABEL:
      return give(attribute, label.data(), label.size());
    default:
      attribute.ulValueLen = unavailable_length;
      return CKR_ATTRIBUTE_TYPE_INVALID;
  }
}

CK_RV get_attribute_value(CK_SESSION_HANDLE, CK_OBJECT_HANDLE, CK_ATTRIBUTE* list, CK_ULONG count) {
  ++behaviour.reads;
  if (behaviour.rv != CKR_OK) return behaviour.rv;
  CK_RV worst = CKR_OK;
  for (CK_ULONG i = 0; i < count; ++i) {
    const CK_RV rv = give_known(list[i]);
    if (rv == CKR_OK) continue;
    worst = rv;
    if (behaviour.stops_early) return rv;
  }
  return worst;
}

CK_RV wrap_key(CK_SESSION_HANDLE, CK_MECHANISM*, CK_OBJECT_HANDLE, CK_OBJECT_HANDLE, CK_BYTE*, CK_ULONG* length) {
  ++behaviour.wraps;
  if (behaviour.lies_about_length) *length = 1000000;
  return behaviour.rv;
}

CK_RV open_session(CK_SLOT_ID, CK_FLAGS, void*, CK_NOTIFY, CK_SESSION_HANDLE* handle) {
  *handle = 1;
  return CKR_OK;
}
CK_RV close_session(CK_SESSION_HANDLE) { return CKR_OK; }
CK_RV find_init(CK_SESSION_HANDLE, CK_ATTRIBUTE*, CK_ULONG) { return CKR_OK; }
CK_RV find_next(CK_SESSION_HANDLE, CK_OBJECT_HANDLE*, CK_ULONG most, CK_ULONG* count) {
  *count = most + 1;
  return CKR_OK;
}
CK_RV find_final(CK_SESSION_HANDLE) { return CKR_OK; }
CK_RV generate_nothing(CK_SESSION_HANDLE, CK_MECHANISM*, CK_ATTRIBUTE*, CK_ULONG, CK_OBJECT_HANDLE*) { return CKR_OK; }

CK_FUNCTION_LIST* fake() {
  static CK_FUNCTION_LIST list{};
  list.C_OpenSession = open_session;
  list.C_CloseSession = close_session;
  list.C_GetAttributeValue = get_attribute_value;
  list.C_WrapKey = wrap_key;
  list.C_FindObjectsInit = find_init;
  list.C_FindObjects = find_next;
  list.C_FindObjectsFinal = find_final;
  list.C_GenerateKey = generate_nothing;
  behaviour = {};
  return &list;
}

void check_object(const Object& object) {
  CHECK(object.object_class == ObjectClass::secret_key);
  CHECK(object.key_type == CKK_AES);
  CHECK(object.value_length == 32);
  CHECK(object.token == true);
  CHECK(object.wrap == true);
  CHECK(object.unwrap == true);
  CHECK(object.extractable == false);
  CHECK_FALSE(object.sensitive);
  CHECK_FALSE(object.modifiable);
  CHECK(object.id.empty());
  CHECK(object.modulus.empty());
}

}  // namespace

TEST_CASE("attributes that a token does not have are not there, and the rest is") {
  const Session session(fake(), 0, true);
  const Object object = read_object(session, 7, ObjectClass::secret_key);
  check_object(object);
  CHECK(object.label == "key@1");
  CHECK(object.handle.value == 7);
}

TEST_CASE("a token that stops at the first attribute it does not have is asked for the rest") {
  const Session session(fake(), 0, true);
  behaviour.stops_early = true;
  const Object object = read_object(session, 7);
  check_object(object);
  CHECK(object.label == "key@1");
}

TEST_CASE("a label that does not fit is read again") {
  const Session session(fake(), 0, true);
  behaviour.long_label = true;
  CHECK(read_object(session, 7).label == std::string(long_length, 'L'));
}

TEST_CASE("lengths beyond the buffer are never believed") {
  const Session session(fake(), 0, true);
  behaviour.lies_about_length = true;
  CHECK(exit_of([&] { (void)read_object(session, 7); }) == ExitCode::internal);
  CHECK(exit_of([&] { (void)session.wrap({mech_aes_kw, nullptr, 0}, 1, 2); }) == ExitCode::internal);
  CHECK(behaviour.wraps == 1);
  CHECK(exit_of([&] { (void)session.find({}); }) == ExitCode::internal);
  CHECK(exit_of([&] { (void)session.generate(CKM_AES_KEY_GEN, {}); }) == ExitCode::internal);
}

TEST_CASE("functions that a module leaves out, and its errors, have names") {
  const Session session(fake(), 0, true);
  CHECK(error_of([&] { (void)session.random(8); }).code() == "CKR_FUNCTION_NOT_SUPPORTED");
  behaviour.rv = CKR_DEVICE_REMOVED;
  const auto gone = error_of([&] { (void)read_object(session, 7); });
  CHECK(gone.exit() == ExitCode::unavailable);
  CHECK(gone.code() == "CKR_DEVICE_REMOVED");
  CHECK(is_fatal(gone));
  behaviour.rv = CKR_BUFFER_TOO_SMALL;
  CHECK(exit_of([&] { (void)session.wrap({mech_aes_kw, nullptr, 0}, 1, 2); }) == ExitCode::internal);
}
