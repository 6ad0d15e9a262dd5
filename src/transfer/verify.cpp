#include "kmtool/core/encoding.hpp"
#include "kmtool/op/bundle_out.hpp"
#include "kmtool/transfer/transfer.hpp"
#include "transfer/openers.hpp"

namespace kmtool::transfer {

SignerFound find_signer(op::Context* context, const std::optional<std::filesystem::path>& pem, const bundle::Summary& summary,
                        const std::string& file) {
  if (pem) {
    const auto key = crypto::PublicKey::read_pem(*pem);
    if (bundle::signature_by(summary, key, file)) return {true, pem->string()};
    return {false, summary.signature.key};
  }
  if (context != nullptr) {
    for (const auto& signer : context->signers()) {
      if (signer.use != "document" || !bundle::signature_by(summary, crypto::PublicKey::from_spki(signer.spki), file)) continue;
      if (signer.state != "compromised") return {true, "this home"};
      // Anybody may sign as this one now; what the journal recorded before that is what it was.
      if (op::bundle_recorded(*context, summary.header.id, summary.file_digest, signer.compromised_after.value_or(0))) return {true, "this home"};
      return {false, summary.signature.key + ", this home's signer until it was compromised; no entry from before that records this bundle"};
    }
    for (const auto& pinned : context->trusted()) {
      if (bundle::signature_by(summary, crypto::PublicKey::from_spki(pinned.spki), file)) return {true, pinned.name};
    }
  }
  return {false, summary.signature.key};
}

VerifyResult verify(op::Context* context, const std::filesystem::path& file, const std::optional<std::filesystem::path>& signer) {
  LineReader reader(file, bundle::max_line);
  VerifyResult result;
  Bytes kek_id;  // of the KEK in it
  result.summary = bundle::read(reader, [&](const bundle::Record& record, std::size_t) {
    if (record.role == Role::kek) kek_id = record.id;
  });
  result.signer = find_signer(context, signer, result.summary, file.string());
  result.seals.assign(result.summary.seals.size(), "not checked");
  if (context == nullptr || !context->has_token()) return result;
  const auto versions = context->versions();
  for (std::size_t i = 0; i < result.seals.size(); ++i) {
    const auto recipient = result.summary.seals[i].recipient;
    const auto& id = recipient == bundle::Seal::own ? kek_id : result.summary.header.recipients[recipient].id;
    for (const auto& version : versions) {
      if (version.role != Role::kek || version.id != id || version.state == State::destroyed) continue;
      const auto seal = seal_on_token(*context, version);
      if (!seal) continue;  // lost from the token: that makes no bundle a bad one
      const auto expected = context->token().hmac_sha256(seal->handle, result.summary.seal_message);
      bundle::require_seal(result.summary, recipient, expected, file.string());
      result.seals[i] = "ok";
    }
  }
  return result;
}

}  // namespace kmtool::transfer
