#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "kmtool/domain/name.hpp"
#include "kmtool/op/context.hpp"
#include "kmtool/tlog/note.hpp"

namespace kmtool::op {

/// The token's objects held against the catalog.
struct ObjectReport {
  std::size_t good = 0;                                     ///< key versions whose objects are as recorded
  std::vector<std::pair<std::string, std::string>> wrong;   ///< `payments@1`, and what is wrong with it
  std::vector<pkcs11::Object> foreign;                      ///< what this home's record does not explain
  std::vector<pkcs11::Object> nameless;                     ///< of these, without label and id
};
/// Reads every object of the token once.
ObjectReport compare_objects(Context& context);
/// Which part of a key of this role an object is: by its class, and for a KEK by its usages. Its type does not tell: the seal of a KEK that was
/// unwrapped is a generic secret of unknown length on SoftHSM.
Part part_of(Role role, const pkcs11::Object& object);
/// The home whose rollback anchor or signer a key object is named as: its id, of signers the first eight characters. Empty: none.
std::string home_named_by(const pkcs11::Object& object);
/// The other homes that have an anchor or a signer among these objects, or on the token (`init --join`): ids as home_named_by() gives them.
std::set<std::string> other_homes(const Context& context, const std::vector<pkcs11::Object>& objects);
std::set<std::string> other_homes(Context& context);
/// Keys that `doctor --accept-rollback` found on the token and that the older record does not explain: as describe() gives them, and how many
/// of each. They are on record, so that they are told from what is planted later.
std::map<std::string, std::size_t> found_at_rollback(Context& context);
/// The rows that record them, kind `found`; and for those of these objects that are recorded, their removal.
std::vector<journal::Change> found_rows(const std::vector<pkcs11::Object>& objects);
std::vector<journal::Change> found_no_more(Context& context, const std::vector<pkcs11::Object>& objects);

/// Secret, private or public key.
bool is_key(const pkcs11::Object& object);
/// Neither a certificate nor data: an object without a class may be a key whose class a kill inside the token left unwritten.
bool may_be_key(const pkcs11::Object& object);
/// It may be a key, and bears this version's label; for one of the objects with its CKA_ID.
bool passes_for(const pkcs11::Object& object, const VersionRecord& version);
/// Named and numbered as homes do with their keys: label `payments@3`, and a CKA_ID of 16 octets. Says nothing of whose it is.
std::optional<KeyRef> named_as_version(const pkcs11::Object& object);
/// `private key (p256)`: class and kind.
std::string kind_text(const pkcs11::Object& object);
/// Not one attribute of it can be read.
bool unreadable(const pkcs11::Object& object);
/// `secret key "label" (id 0a0b)`, safe to print.
std::string describe(const pkcs11::Object& object);

/// This home as a witness of another's log: a C2SP cosignature of a checkpoint's text by the log signer. Throws unavailable (69) where that
/// is not Ed25519.
tlog::NoteSignature cosign(Context& context, const std::string& checkpoint_text);

}  // namespace kmtool::op
