#pragma once
#include <optional>

#include "kmtool/bundle/bundle.hpp"
#include "kmtool/op/bundle_out.hpp"

namespace kmtool::transfer {

/// The objects of a KEK that is on record; nullopt where the token has lost one of them: another recipient's may open the bundle then.
std::optional<op::Kek> kek_on_token(op::Context& context, const op::VersionRecord& version);

/// As kek_on_token(), its seal's object alone and as it is: to look at a bundle.
std::optional<pkcs11::Object> seal_on_token(op::Context& context, const op::VersionRecord& version);

/// True unless the token has lost one of the objects that are on record.
bool on_token(op::Context& context, const op::VersionRecord& version);

/// Throws missing (66): these are on record, and the token has them no more.
[[noreturn]] void refuse_lost_keks(const std::vector<op::VersionRecord>& lost);

/// Throws missing (66) where the token has a KEK of the bundle that this home's record does not know: made before a restore, or by another home.
void require_not_forgotten(op::Context& context, const bundle::Header& header);

/// All that a bundle is for, for the intent of what opens it: `keks` as this home calls them, `kek_ids` (CKA_ID in hex) whether it knows
/// them or not, `public_keys` by fingerprint.
Json recipients_json(const op::Context& context, const bundle::Header& header);

}  // namespace kmtool::transfer
