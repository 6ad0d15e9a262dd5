#pragma once
#include <string>
#include <utility>
#include <vector>

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
/// `secret key "label" (id 0a0b)`, safe to print.
std::string describe(const pkcs11::Object& object);

/// This home as a witness of another's log: a C2SP cosignature of a checkpoint's text by the log signer. Throws unavailable (69) where that
/// is not Ed25519.
tlog::NoteSignature cosign(Context& context, const std::string& checkpoint_text);

}  // namespace kmtool::op
