#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "kmtool/domain/key_kind.hpp"
#include "kmtool/pkcs11/token.hpp"

namespace kmtool::pkcs11 {

/// Asked before a PIN is: throws missing (66) and unavailable (69) where the file is no library that could be a PKCS#11 module. It is not
/// loaded for that (a process must not fork after it, and a PIN may come from a command).
void require_module_file(const std::string& path);

/// What an object is: for every kind that PKCS#11 has, not only kmtool's.
KeyKind kind_of(const Object& object);

/// What narrows a key besides its usages. Whether the token heeds it, nobody knows.
struct Limits {
  std::string start_date, end_date;      ///< CKA_START_DATE, CKA_END_DATE as YYYY-MM-DD; empty: none
  std::vector<std::string> mechanisms;   ///< CKA_ALLOWED_MECHANISMS; empty: any
  bool wrap_template = false;            ///< CKA_WRAP_TEMPLATE says what the keys that it wraps must be
};

/// One thing that was tried on the token.
struct Trial {
  std::string id;        ///< `wrap-unextractable`
  std::string question;  ///< `can a non-extractable key be wrapped?`
  enum class Answer { allowed, refused, not_tried } answer = Answer::not_tried;
  std::string detail;  ///< the mechanism that did it, or the CKR name that refused
  bool bad = true;     ///< allowed is the bad answer (else it only says what the token can)
};

/// What try_attacks() found out.
struct Trials {
  std::vector<Trial> trials;
  std::size_t objects_before = 0, objects_after = 0;  ///< of the token and the session
};

}  // namespace kmtool::pkcs11
