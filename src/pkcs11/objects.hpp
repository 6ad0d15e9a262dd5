#pragma once
#include <functional>

#include "cryptoki.hpp"
#include "kmtool/pkcs11/token.hpp"

namespace kmtool::pkcs11 {

/// So many are looked for one by one; for more the token is read once.
constexpr std::size_t few_finds = 8;
/// One C_GetAttributeValue; knowing the class keeps the list short. A second call only for what did not fit or was skipped.
Object read_object(const Session& session, CK_OBJECT_HANDLE handle, std::optional<ObjectClass> known = std::nullopt);
/// The same with the attributes of that class alone; nothing where the object turns out to be of another.
std::optional<Object> read_object_as(const Session& session, CK_OBJECT_HANDLE handle, ObjectClass expected);
/// CKA_VALUE of what must be a certificate.
Bytes read_certificate(const Session& session, CK_OBJECT_HANDLE handle);
/// All that match, read; a CKA_CLASS in the filter keeps the reading short.
std::vector<Object> find_objects(const Session& session, Attributes filter);
using OpenSession = std::function<Session()>;
/// All token objects, by CKA_ID, with one find; nullopt where the token has more than `most` (then none was read). They are read by
/// `sessions` sessions at once, of which `open` opens all but the first, each on a thread of its own.
std::optional<std::map<Bytes, std::vector<Object>>> all_objects(const Session& session, std::size_t most, std::size_t sessions,
                                                                const OpenSession& open);
std::map<Bytes, std::vector<Object>> locate_objects(const Session& session, const Profile& profile,
                                                    const std::vector<Bytes>& ids);
crypto::PublicKey public_key_of(const Object& object);
/// See Token::differences.
std::vector<std::string> object_differences(const Object& object, const ObjectSpec& spec, bool imported, const Profile& profile);

}  // namespace kmtool::pkcs11
