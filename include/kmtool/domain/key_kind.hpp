#pragma once
#include <string>

namespace kmtool {

/// Kinds of keys that stand on tokens, kmtool's own and others.
enum class Family { aes, des, des3, rc2, rc4, cipher, generic, rsa, dsa, dh, ec, edwards, montgomery, certificate, data, unknown };

/// What a key object is, whoever made it.
struct KeyKind {
  Family family = Family::unknown;
  unsigned long bits = 0;  ///< of the key, modulus or field; 0: the token does not tell
  std::string name;        ///< the curve (`p256`, `secp256k1`), or the token's number for what has no family

  /// `aes-256`, `rsa-2048`, `ec-p256`, `3des-168`, `generic-256`; without the size where it is not known.
  [[nodiscard]] std::string text() const;
  /// Security strength in bits (SP 800-57 part 1 r5, tables 2 and 3); -1 where it cannot be told.
  [[nodiscard]] int strength() const;
};

}  // namespace kmtool
