#pragma once
#include "kmtool/crypto/reference.hpp"

namespace kmtool::pkcs11 {
/// Host-side sums that a token's answers are held against.
namespace host = crypto::reference;
}  // namespace kmtool::pkcs11
