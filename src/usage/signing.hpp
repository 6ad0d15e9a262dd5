#pragma once
#include "kmtool/op/context.hpp"

namespace kmtool::usage {

/// One signature in the token, over a digest or (Ed25519) the text itself, verified under the catalog's public key before it is given out.
Bytes sign_with(op::Context& context, const op::VersionRecord& version, ByteView signed_over);

}  // namespace kmtool::usage
