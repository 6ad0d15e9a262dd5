#pragma once
#include <string>

#include "kmtool/op/context.hpp"

namespace kmtool::op {

/// Makes a signing pair on the token (log: Ed25519 where the token does it, else P-256; document: P-256). With `use_now` it becomes
/// the one that the context signs with.
SignerRecord make_signer(Context& context, const std::string& use, int version, bool use_now, const Bytes& id = {});
/// The type make_signer() will choose.
KeyType signer_type(Context& context, const std::string& use);
/// Destroys its objects; never throws (used while another error is under way).
void remove_signer(Context& context, const SignerRecord& signer) noexcept;

}  // namespace kmtool::op
