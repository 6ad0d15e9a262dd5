#pragma once
#include <string>

namespace kmtool::pkcs11 {

/// `CKM_AES_KEY_WRAP_KWP`; `CKM_0x…` for numbers nobody has named, `CKM_VENDOR_DEFINED+0x…` for a vendor's own.
std::string mechanism_name(unsigned long number);
/// `wrap,unwrap`
std::string mechanism_flags(unsigned long flags);

}  // namespace kmtool::pkcs11
