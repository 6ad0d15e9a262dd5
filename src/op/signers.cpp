#include <algorithm>
#include <map>
#include <set>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/domain/reason.hpp"
#include "kmtool/op/admin.hpp"
#include "kmtool/op/kek_out.hpp"
#include "op/signer_keys.hpp"
#include "op/state.hpp"

namespace kmtool::op {

KeyType signer_type(Context& context, const std::string& use) {
  return use == "log" && context.token().profile().ed25519 ? KeyType::ed25519 : KeyType::ec_p256;
}

SignerRecord make_signer(Context& context, const std::string& use, int version, bool use_now, const Bytes& id) {
  auto& token = context.token();
  SignerRecord signer;
  signer.use = use;
  signer.version = version;
  signer.id = id.empty() ? token.random(16) : id;
  signer.type = signer_type(context, use);
  const auto label = signer.label(context.home.config.home_id);
  std::vector<pkcs11::Object> objects;
  if (token.profile().private_pairs_copy) {
    for (const auto& fresh : token.generate(Role::sign, signer.type, label, signer.id, false)) {
      objects.push_back(token.persist(fresh, false));
    }
  } else {
    objects = token.generate_on_token(Role::sign, signer.type, label, signer.id, false);
  }
  auto& state = context.state();
  for (const auto& object : objects) {
    if (object.object_class == pkcs11::ObjectClass::public_key) signer.spki = token.public_key(object).spki();
    if (use_now && object.object_class == pkcs11::ObjectClass::private_key) state.signer_handles[use] = object.handle;
  }
  if (use_now) state.keys.insert_or_assign(use, crypto::PublicKey::from_spki(signer.spki));
  return signer;
}

void remove_signer(Context& context, const SignerRecord& signer) noexcept {
  try {
    for (const auto& object : context.token().find_by_id(signer.id)) context.token().destroy(object.handle);
  } catch (const std::exception&) {  // the error that led here is the one to report
  }
}

namespace {

/// Signers that were still signing after that tree size and have been retired since: what they signed then counts for nothing either.
std::vector<SignerRecord> retired_after(Context& context, std::optional<std::uint64_t> compromised_after) {
  std::vector<SignerRecord> found;
  if (!compromised_after) return found;
  for (const auto& row : context.journal().proven_all("signer")) {
    auto signer = SignerRecord::from(row);
    const bool more = signer.state == "retired" || (signer.state == "compromised" && signer.compromised_after.value_or(0) > *compromised_after);
    if (!more || row.seq < *compromised_after) continue;
    signer.state = "compromised";
    signer.compromised_after = compromised_after;
    found.push_back(std::move(signer));
  }
  return found;
}

}  // namespace

std::vector<SignerRecord> rotate_signers(Context& context, std::optional<std::uint64_t> compromised_after) {
  const std::vector<std::string> uses{"log", "document"};
  Plan plan;
  plan.command = compromised_after ? "signer compromise" : "signer rotate";
  plan.target = "log, document";
  std::vector<SignerRecord> old_signers, new_signers;
  for (const auto& use : uses) {
    old_signers.push_back(context.active_signer(use));
    SignerRecord next;
    next.use = use;
    next.version = old_signers.back().version + 1;
    next.id = context.token().random(16);
    plan.keys.push_back({next.label(context.home.config.home_id), next.id, Role::sign, signer_type(context, use), false, false});
    new_signers.push_back(std::move(next));
  }
  auto earlier = retired_after(context, compromised_after);
  context.run(plan, [&] {
    Outcome outcome;
    for (std::size_t i = 0; i < uses.size(); ++i) {
      new_signers[i] = make_signer(context, uses[i], new_signers[i].version, false, new_signers[i].id);
      old_signers[i].state = compromised_after ? "compromised" : "retired";
      old_signers[i].compromised_after = compromised_after;
      outcome.changes.push_back(old_signers[i].change());
      outcome.changes.push_back(new_signers[i].change());
    }
    for (auto& signer : earlier) outcome.changes.push_back(signer.change());
    return outcome;
  });
  // The outcome, under the old log signer, vouches for the new ones; from here on these sign.
  auto& state = context.state();
  for (const auto& signer : new_signers) {
    for (const auto& object : context.token().find_by_id(signer.id)) {
      if (object.object_class == pkcs11::ObjectClass::private_key) state.signer_handles[signer.use] = object.handle;
    }
    state.keys.insert_or_assign(signer.use, crypto::PublicKey::from_spki(signer.spki));
  }
  context.note(plan.command, "first checkpoint of the new log signer", Json::object(), {});
  write_signer_files(context);
  return new_signers;
}

crypto::PublicKey read_signer(const std::filesystem::path& pem) {
  auto key = crypto::PublicKey::read_pem(pem);
  if (key.type() == KeyType::ec_p256) return key;
  throw Error::usage(pem.string() + " is a " + key.description() + " key; document signers are ec-p256",
                     "ask the other site for its signers/document.pem");
}

std::optional<TrustRecord> pinned_as(const Context& context, const crypto::PublicKey& key, const std::string& name) {
  require_name(name, "signer name");
  auto trusted = context.trusted();
  for (auto& pinned : trusted) {
    if (pinned.name != name) continue;
    if (pinned.spki == key.spki()) return std::move(pinned);
    throw Error::exists("another signer is already trusted under the name " + name,
                        "choose another --name; where it took that one's place: kmtool signer distrust " + name + " --reason TEXT");
  }
  return std::nullopt;
}

TrustRecord trust_signer(Context& context, const crypto::PublicKey& key, const std::string& name) {
  if (auto pinned = pinned_as(context, key, name)) return *std::move(pinned);
  TrustRecord record{name, key.spki(), context.now()};
  if (!context.options.dry_run) context.note("signer trust", name, {{"fingerprint", key.fingerprint()}}, {record.change()});
  return record;
}

namespace {

/// Looks through the journal for what rests on a pinned signer's word.
void find_what_rests(Context& context, const std::string& fingerprint, Distrusted& found) {
  std::set<std::string> vouched;
  for (const auto& name : found.names) vouched.insert("the request that " + name + " signed");
  std::map<std::uint64_t, std::string> open;  // intents to take something, by their number
  std::set<std::string> keys;
  context.journal().each_entry(0, [&](const journal::Entry& entry) {
    const bool names_it = entry.bytes.find(fingerprint) != std::string::npos ||
                          std::ranges::any_of(vouched, [&](const auto& text) { return entry.bytes.find(text) != std::string::npos; });
    if (open.empty() && !names_it) return true;
    const auto json = entry.json();
    const auto command = json.value("command", "");
    const auto details = json.value("details", Json::object());
    if (json.value("phase", "") == "outcome") {
      const auto intent = open.find(json.value("intent", std::uint64_t{0}));
      if (intent == open.end()) return true;
      if (json.value("result", "") == "done") found.taken.push_back(intent->second);
      open.erase(intent);
    } else if (json.value("phase", "") == "intent") {
      if (details.value("signer", "") == fingerprint) open[entry.seq] = command + " " + json.value("target", "");
      for (const auto& recipient : details.value("recipients", Json::array())) {
        if (recipient.is_object() && vouched.contains(recipient.value("pinned_by", ""))) keys.insert(recipient.value("public_key", ""));
      }
    }
    return true;
  });
  for (const auto& key : keys) {
    if (public_key_recorded(context, key)) found.public_keys.push_back(key);
  }
}

}  // namespace

Distrusted distrust_signer(Context& context, const std::string& name, const std::string& reason) {
  require_name(name, "signer name");
  require_reason(reason);
  const auto trusted = context.trusted();
  const auto pinned = std::ranges::find(trusted, name, &TrustRecord::name);
  if (pinned == trusted.end()) throw Error::missing("no signer is trusted under the name " + name, "kmtool signer list shows those that are");
  Distrusted found{*pinned, {name}, {}, {}};
  for (const auto& other : trusted) {
    if (other.spki == pinned->spki && other.name != name) found.names.push_back(other.name);
  }
  const auto fingerprint = crypto::PublicKey::from_spki(pinned->spki).fingerprint();
  find_what_rests(context, fingerprint, found);
  if (context.options.dry_run) return found;
  Json details{{"fingerprint", fingerprint}, {"reason", reason}};
  if (found.names.size() > 1) details["names"] = found.names;
  std::vector<journal::Change> changes;
  for (const auto& each : found.names) changes.push_back({"trust", each, std::nullopt});
  context.note("signer distrust", name, std::move(details), std::move(changes));
  return found;
}

std::uint64_t checkpoint_size(Context& context, const std::filesystem::path& file) {
  const auto note = tlog::Note::parse(read_file(file, 65536));
  const auto checkpoint = tlog::parse_checkpoint(note.text);
  bool known = false;
  for (const auto& signer : context.signers()) {
    if (signer.use == "log") known = known || tlog::verify_note(note, checkpoint.origin, crypto::PublicKey::from_spki(signer.spki));
  }
  if (!known || checkpoint.origin != context.home.config.origin() || !context.journal().contains_root(checkpoint.size, checkpoint.root)) {
    throw Error::tampered(file.string() + " is not a checkpoint of this home's journal");
  }
  return checkpoint.size;
}

}  // namespace kmtool::op
