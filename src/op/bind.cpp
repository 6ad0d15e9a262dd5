#include "kmtool/core/file.hpp"
#include "op/state.hpp"

namespace kmtool::op {

namespace {

crypto::PublicKey read_signer_pem(const Context& context, const std::string& use) {
  const auto path = context.home.paths.signers() / (use + ".pem");
  return crypto::PublicKey::from_pem(read_trusted(path), path.string());
}

pkcs11::Handle private_half(const std::map<Bytes, std::vector<pkcs11::Object>>& located, const SignerRecord& signer,
                            const std::string& label) {
  const auto found = located.find(signer.id);
  std::optional<pkcs11::Handle> handle;
  if (found != located.end()) {
    for (const auto& object : found->second) {
      if (object.object_class != pkcs11::ObjectClass::private_key || object.label != label) continue;
      if (handle) throw Error::tampered("the token has several objects for the " + signer.use + " signer; kmtool does not guess");
      handle = object.handle;
    }
  }
  if (!handle) {
    throw Error::tampered("the token has no " + signer.use + " signer of this home (" + label + ")",
                          "this home belongs to another token, or the signer was removed behind kmtool's back");
  }
  return *handle;
}

/// True when the entry that set this row is in the journal as `known` signed it: the newer log signer was vouched for by the older one.
bool vouched_for(const journal::Journal& journal, const std::string& origin, const crypto::PublicKey& known, const journal::Item& row) {
  const auto checkpoint = journal.last_checkpoint_by(origin, known);
  if (!checkpoint || row.seq >= checkpoint->size || !journal.contains_root(checkpoint->size, checkpoint->root)) return false;
  for (const auto& change : journal.entry(row.seq).json().value("changes", Json::array())) {
    if (change.value("kind", "") == row.kind && change.value("id", "") == row.id) return change.at("value") == row.json();
  }
  return false;
}

void require_known_log_pem(Context& context, const SignerRecord& active, const crypto::PublicKey& found) {
  if (equal(active.spki, found.spki())) return;
  for (const auto& signer : context.signers()) {
    if (signer.use != "log" || signer.version >= active.version || !equal(signer.spki, found.spki())) continue;
    if (context.state().mutation.held()) write_signer_files(context);  // a rotation was cut off before this
    return;
  }
  throw Error::tampered("signers/log.pem is not the log signer that the journal names", "restore the file from the home's backup");
}

}  // namespace

journal::Head trust_journal(journal::Journal& journal, const std::string& origin, const crypto::PublicKey& in_file) {
  const auto note = journal.last_note();
  if (note && !tlog::verify_note(*note, origin, in_file)) {
    for (const auto& row : journal.items("signer", "log@")) {
      const auto key = crypto::PublicKey::from_spki(SignerRecord::from(row).spki);
      if (!tlog::verify_note(*note, origin, key) || !vouched_for(journal, origin, in_file, row)) continue;
      auto head = journal.check_head(origin, key);
      journal.trust_head(head);
      return head;
    }
  }
  auto head = journal.check_head(origin, in_file);
  journal.trust_head(head);
  return head;
}

void prove_reader(Context& context) {
  context.journal().begin_reading();
  context.state().head = trust_journal(context.journal(), context.home.config.origin(), read_signer_pem(context, "log"));
  context.state().proven = true;
}

void write_signer_files(Context& context) {
  make_private_dir(context.home.paths.signers());
  for (const std::string use : {"document", "log"}) {
    const auto pem = crypto::PublicKey::from_spki(context.active_signer(use).spki).pem();
    write_private_file(context.home.paths.signers() / (use + ".pem"), view(pem), true);
  }
}

void bind_token(Context& context) {
  auto& state = context.state();
  const auto log_key = read_signer_pem(context, "log");
  state.head = trust_journal(*state.journal, context.home.config.origin(), log_key);
  state.proven = true;
  const auto log = context.active_signer("log");
  const auto document = context.active_signer("document");
  require_known_log_pem(context, log, log_key);
  const auto anchor_id = context.home.config.anchor_id();
  const auto located = context.token().locate({log.id, document.id, anchor_id});
  state.signer_handles["log"] = private_half(located, log, log.label(context.home.config.home_id));
  state.signer_handles["document"] = private_half(located, document, document.label(context.home.config.home_id));
  // Decoding a key costs OpenSSL more than a signature; the file's is the catalog's own, except right after a rotation.
  state.keys.emplace("log", equal(log.spki, log_key.spki()) ? log_key : crypto::PublicKey::from_spki(log.spki));
  state.keys.emplace("document", crypto::PublicKey::from_spki(document.spki));
  if (const auto found = located.find(anchor_id); found != located.end()) state.anchors = anchors_among(context, found->second);
}

}  // namespace kmtool::op
