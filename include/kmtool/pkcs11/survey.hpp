#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "kmtool/domain/key_kind.hpp"
#include "kmtool/pkcs11/token.hpp"

namespace kmtool::pkcs11 {

/// What an object is: for every kind that PKCS#11 has, not only kmtool's.
KeyKind kind_of(const Object& object);

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
