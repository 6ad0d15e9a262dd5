#pragma once
#include "cryptoki.hpp"
#include "kmtool/pkcs11/survey.hpp"

namespace kmtool::pkcs11 {

/// What a token does not show counts as not set.
Limits read_limits(const Session& session, CK_OBJECT_HANDLE key);

}  // namespace kmtool::pkcs11
