#pragma once
#include <string>

#include "kmtool/pkcs11/token.hpp"

namespace kmtool::pkcs11 {

/// A parsed RFC 7512 URI, as far as it names a token and a PIN source.
struct TokenUri {
  TokenSelector token;
  std::string module_path;  ///< `module-path` query attribute
  std::string pin_source;   ///< `pin-source`; a `file:` URI or a path
};
/// Throws usage (64) for bad syntax, and for `pin-value` (a secret in argv).
TokenUri parse_token_uri(const std::string& text);
/// `pkcs11:token=…;serial=…;object=payments%403;id=%01%02…;type=secret-key`
std::string key_uri(const TokenInfo& token, const std::string& label, ByteView id, ObjectClass object_class);

/// The name and meaning of a CKR code: `CKR_PIN_INCORRECT`; `the PIN is wrong`.
std::string rv_name(unsigned long rv);
std::string rv_meaning(unsigned long rv);

}  // namespace kmtool::pkcs11
