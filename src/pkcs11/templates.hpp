#pragma once
#include "cryptoki.hpp"
#include "kmtool/pkcs11/token.hpp"

/// Templates come from role, type and part, by usage_of(), and from nothing else.
namespace kmtool::pkcs11 {

enum class Lifetime { session, token };

/// The type of the object itself: a KEK's seal and the anchor are 32-byte HMAC keys whatever the key's type is.
KeyType object_type(const ObjectSpec& spec);
ObjectClass class_of_part(Role role, Part part);
CK_KEY_TYPE ckk_of(KeyType type);
CK_OBJECT_CLASS cko_of(ObjectClass object_class);
ObjectClass class_from(CK_OBJECT_CLASS number);
/// CKA_ID as it stands on the token: with a suffix where one id cannot name two objects of a class (Profile). The anchor's
/// second object has another one than its first.
Bytes stored_id(const ObjectSpec& spec, const Profile& profile, bool second_anchor = false);
/// Every CKA_ID that the objects of one id can have on the token.
std::vector<Bytes> stored_ids(const Bytes& id, const Profile& profile);
/// The id without the suffix.
Bytes visible_id(const Bytes& stored);
/// DER namedCurve (Ed25519: the PrintableString that tokens of its draft time want); empty for other types.
Bytes ec_params_of(KeyType type);
std::optional<KeyType> type_of_ec_params(ByteView params);
CK_MECHANISM_TYPE generation_mechanism(KeyType type);

/// For C_GenerateKey: with CKA_VALUE_LEN.
Attributes secret_template(const ObjectSpec& spec, Lifetime lifetime, const Profile& profile);
/// For C_GenerateKeyPair: with modulus size and exponent, or curve.
Attributes public_template(const ObjectSpec& spec, Lifetime lifetime, const Profile& profile);
Attributes private_template(const ObjectSpec& spec, Lifetime lifetime, const Profile& profile);
/// For C_UnwrapKey: without lengths; the class by the part.
Attributes unwrap_template(const ObjectSpec& spec, const Profile& profile);
/// For C_CreateObject of a public half, without its numbers.
Attributes create_public_template(const ObjectSpec& spec, const Profile& profile);
/// The anchor's template is the only one that a caller may want under another id.
Attributes anchor_template(const ObjectSpec& spec, const Bytes& stored, Lifetime lifetime);
/// For C_CopyObject from the session to the token. `lock`: with CKA_MODIFIABLE false, as the last attribute.
Attributes persist_template(const ObjectSpec& spec, bool extractable, bool lock, const Profile& profile);

}  // namespace kmtool::pkcs11
