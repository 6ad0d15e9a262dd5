#include "kmtool/core/file.hpp"
#include "op/state.hpp"

namespace kmtool::op {

namespace {

std::filesystem::path signer_pem(const Context& context, const std::string& use) { return context.home.paths.signers() / (use + ".pem"); }

bool is_lost(const std::filesystem::path& file) {
  std::error_code error;
  return std::filesystem::symlink_status(file, error).type() == std::filesystem::file_type::not_found;
}

crypto::PublicKey read_log_pem(const Context& context) {
  const auto path = signer_pem(context, "log");
  if (is_lost(path)) {
    throw Error::missing("this home has lost " + path.string() + ", without which its journal cannot be trusted",
                         "kmtool doctor --repair writes it anew if the token holds the key that signed the journal");
  }
  return crypto::PublicKey::from_pem(read_trusted(path), path.string());
}

/// For a home that lost log.pem: the key its database names. Not yet trusted: the token must prove that it holds it.
crypto::PublicKey claimed_log_key(Context& context) {
  std::optional<SignerRecord> newest;
  for (const auto& row : context.state().journal->items("signer", "log@")) {
    auto signer = SignerRecord::from(row);
    if (signer.state == "active") newest = std::move(signer);
  }
  if (!newest) throw Error::tampered("the journal names no log signer", "restore the home from its backup (kmtool home restore)");
  return crypto::PublicKey::from_spki(newest->spki);
}

std::optional<pkcs11::Handle> private_half(const std::map<Bytes, std::vector<pkcs11::Object>>& located, const SignerRecord& signer,
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
  return handle;
}

/// True when the entry that set this row is in the journal as `known` signed it: the newer log signer was vouched for by the older one.
bool vouched_for(const journal::Journal& journal, const std::string& origin, const crypto::PublicKey& known, const journal::Item& row) {
  const auto checkpoint = journal.last_checkpoint_by(origin, known);
  if (!checkpoint || row.seq >= checkpoint->size || !journal.contains_root(checkpoint->size, checkpoint->root)) return false;
  journal.check_entries();  // a root speaks of stored hashes: the entry itself must be what they were made from
  for (const auto& change : journal.entry(row.seq).json().value("changes", Json::array())) {
    if (change.value("kind", "") == row.kind && change.value("id", "") == row.id) return change.at("value") == row.json();
  }
  return false;
}

/// True where log.pem is an older log signer's: a rotation was cut off before the file was renewed.
bool require_known_log_pem(Context& context, const SignerRecord& active, const crypto::PublicKey& found) {
  if (equal(active.spki, found.spki())) return false;
  for (const auto& signer : context.signers()) {
    if (signer.use == "log" && signer.version < active.version && equal(signer.spki, found.spki())) return true;
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
  context.state().head = trust_journal(context.journal(), context.home.config.origin(), read_log_pem(context));
  context.state().proven = true;
}

UnixTime recorded_at(Context& context) {
  const auto number = context.state().head.value().checkpoint.size - 1;  // what is proven has an entry: init's
  const auto time = parse_rfc3339(context.journal().entry(number).json().value("time", ""));
  if (!time) throw Error::tampered("journal entry " + std::to_string(number) + " does not say when it was made", "run kmtool doctor");
  return *time;
}

std::optional<std::string> signer_file_differs(Context& context, const std::string& use) {
  const auto path = signer_pem(context, use);
  if (is_lost(path)) return path.string() + " is lost";
  try {
    const auto key = crypto::PublicKey::from_pem(read_trusted(path), path.string());
    if (equal(key.spki(), context.active_signer(use).spki)) return std::nullopt;
  } catch (const Error& error) {
    return error.message();
  }
  return path.string() + " is not this home's " + use + " signer";
}

void write_signer_files(Context& context) {
  make_private_dir(context.home.paths.signers());
  for (const std::string use : {"document", "log"}) {
    const auto pem = crypto::PublicKey::from_spki(context.active_signer(use).spki).pem();
    write_private_file(context.home.paths.signers() / (use + ".pem"), view(pem), true);
  }
}

namespace {

void mend_signer_files(Context& context) {
  std::vector<std::string> wrong;
  for (const std::string use : {"document", "log"}) {
    if (signer_file_differs(context, use)) wrong.push_back("wrote signers/" + use + ".pem anew");
  }
  if (wrong.empty()) return;
  prove_log_signer(context);  // the token vouches for the journal that names them
  write_signer_files(context);
  for (auto& line : wrong) context.state().repaired.push_back(std::move(line));
}

}  // namespace

void trust_home_journal(Context& context) {
  auto& state = context.state();
  const bool lost = context.options.repair && is_lost(signer_pem(context, "log"));
  state.keys.insert_or_assign("log", lost ? claimed_log_key(context) : read_log_pem(context));
  state.head = trust_journal(*state.journal, context.home.config.origin(), state.keys.at("log"));
  state.proven = true;
}

void bind_token(Context& context) {
  auto& state = context.state();
  const auto log_key = state.keys.at("log");
  const auto log = context.active_signer("log");
  const auto document = context.active_signer("document");
  state.rotation_cut_off = require_known_log_pem(context, log, log_key);
  const auto anchor_id = context.home.config.anchor_id();
  const auto located = context.token().locate({log.id, document.id, anchor_id});
  const auto log_label = log.label(context.home.config.home_id);
  const auto log_handle = private_half(located, log, log_label);
  if (!log_handle) {
    throw Error::tampered("the token has no log signer of this home (" + log_label + ")",
                          "this home belongs to another token, or the signer was removed behind kmtool's back");
  }
  state.signer_handles["log"] = *log_handle;
  // Without the document signer nothing can be written that others trust, but signer rotate makes a new one.
  if (const auto handle = private_half(located, document, document.label(context.home.config.home_id))) state.signer_handles["document"] = *handle;
  // Decoding a key costs OpenSSL more than a signature; the file's is the catalog's own, except right after a rotation.
  if (!equal(log.spki, log_key.spki())) state.keys.insert_or_assign("log", crypto::PublicKey::from_spki(log.spki));
  if (const auto found = located.find(anchor_id); found != located.end()) state.anchors = anchors_among(context, found->second);
  if (context.options.repair && !state.rotation_cut_off) mend_signer_files(context);
}

void finish_signer_rotation(Context& context, std::vector<std::string>& done) {
  auto& state = context.state();
  if (!state.rotation_cut_off) return;
  const auto newest = context.journal().last_note();
  if (!newest || !tlog::verify_note(*newest, context.home.config.origin(), state.keys.at("log"))) {
    journal::Draft draft;
    draft.phase = journal::Phase::note;
    draft.command = "signer rotate";
    draft.target = "first checkpoint of the new log signer";
    draft.result = "done";
    append(context, std::move(draft));
  }
  write_signer_files(context);
  state.rotation_cut_off = false;
  done.push_back("finished the rotation of the signers");
}

}  // namespace kmtool::op
