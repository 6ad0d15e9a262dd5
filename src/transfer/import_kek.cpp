#include <fmt/format.h>

#include <algorithm>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/policy/incoming.hpp"
#include "kmtool/transfer/kek.hpp"
#include "kmtool/transfer/transfer.hpp"
#include "transfer/compromises.hpp"
#include "transfer/openers.hpp"
#include "transfer/restored.hpp"

namespace kmtool::transfer {

namespace {

/// What was read and proven of the file, before the token has opened anything.
struct Proven {
  bundle::Summary summary;
  bundle::Record wrap, seal;
  SignerFound signer;
  std::size_t recipient = 0;
  op::VersionRecord opener;
  pkcs11::Object key;  ///< the opener's object that unwraps
};

std::string names_of(const bundle::Header& header) {
  std::vector<std::string> names;
  for (const auto& recipient : header.recipients) names.push_back(printable(recipient.name()));
  return join(names, ", ");
}

/// `3/5`; empty: whoever has the opener needs no shares.
std::string quorum_of(const Proven& proven) {
  const auto& quorum = proven.summary.header.quorum;
  return quorum ? fmt::format("{}/{}", quorum->needed, quorum->shares) : "";
}

/// The version that is this recipient's key, if it is on this token.
std::optional<op::VersionRecord> version_of(const std::vector<op::VersionRecord>& versions, const bundle::Recipient& recipient) {
  for (const auto& version : versions) {
    if (version.state == State::destroyed) continue;
    if (recipient.is_public()) {
      if (version.role != Role::transport || !version.public_spki) continue;
      if (crypto::PublicKey::from_spki(*version.public_spki).fingerprint() == recipient.public_key) return version;
    } else if (version.role == Role::kek && version.id == recipient.id) {
      return version;
    }
  }
  return std::nullopt;
}

void find_opener(op::Context& context, const ImportKekRequest& request, Proven& proven) {
  const auto& header = proven.summary.header;
  std::vector<op::VersionRecord> versions;
  if (request.using_key.empty()) {
    versions = context.versions();
  } else {
    versions = {context.resolve(request.using_key)};
  }
  std::vector<op::VersionRecord> lost;
  for (std::size_t i = 0; i < header.recipients.size(); ++i) {
    const auto version = version_of(versions, header.recipients[i]);
    if (!version) continue;
    if (!on_token(context, *version)) {  // the next may open it
      lost.push_back(*version);
      continue;
    }
    proven.recipient = i;
    proven.opener = *version;
    return;
  }
  if (!lost.empty()) static_cast<void>(context.objects_of({lost.front()}));  // says which, and what to do
  if (request.using_key.empty()) {
    throw Error::missing("the bundle is for none of the keys on this token: it is for " + names_of(header),
                         "import it where one of them is, or have the kek exported to a transport key of this token (kmtool show NAME --request)");
  }
  std::string own;
  if (versions.front().public_spki) own = ", whose fingerprint is " + crypto::PublicKey::from_spki(*versions.front().public_spki).fingerprint();
  throw Error::missing("the bundle is not for " + versions.front().label() + own + ": it is for " + names_of(header), "name the key that it is for, or leave --using out");
}

/// The opener's objects as recorded; a parent's seal holds.
void prove_opener(op::Context& context, const ImportKekRequest& request, Proven& proven) {
  const auto objects = context.objects_of({proven.opener});
  if (proven.opener.role == Role::kek) {
    const auto kek = op::keks_on_token(context, {proven.opener}, objects).front();
    bundle::require_seal(proven.summary, proven.recipient, context.token().hmac_sha256(kek.seal.handle, proven.summary.seal_message), request.file.string());
    proven.key = kek.wrap;
    return;
  }
  for (const auto& [part, object] : objects.at(proven.opener.label())) op::require_as_recorded(context, proven.opener, part, object);
  proven.key = objects.at(proven.opener.label()).at(Part::private_half);
  const auto& transport = proven.summary.header.recipients[proven.recipient].transport;
  const auto& opens = context.token().profile().transports_in;
  if (std::ranges::find(opens, to_text(transport)) != opens.end()) return;
  throw Error::unavailable(fmt::format("this token does not open {}: it opens {}", to_text(transport), opens.empty() ? "nothing" : join(opens, ", ")),
                           "have it exported again with one of these: --algorithm, or from this site's request (kmtool show " + proven.opener.label() + " --request)");
}

Proven prove(op::Context& context, const ImportKekRequest& request) {
  LineReader reader(request.file, bundle::max_line);
  Proven proven;
  std::vector<bundle::Record> records;
  if (!bundle::read_header(reader).of_kek()) {
    throw Error::usage(request.file.string() + " holds keys, not a kek", "restore them with kmtool unwrap " + request.file.string());
  }
  proven.summary = bundle::read(reader, [&](const bundle::Record& record, std::size_t) { records.push_back(record); });
  proven.wrap = records.at(0);
  proven.seal = records.at(1);
  proven.signer = find_signer(&context, request.signer, proven.summary, request.file.string());
  if (!proven.signer.trusted) {
    throw Error::refused("G-INTEGRITY", request.file.string() + " is signed by someone unknown (" + proven.signer.who + ")",
                         "get the exporting site's signer over a channel you trust, then --signer PEM or kmtool signer trust PEM --name N");
  }
  find_opener(context, request, proven);
  prove_opener(context, request, proven);
  const auto& quorum = proven.summary.header.quorum;
  if (quorum && !request.take_off) {
    throw Error::refused("quorum", fmt::format("{} of {} shares are needed", quorum->needed, quorum->shares), "give --share FILE for each");
  }
  if (request.before_open) request.before_open(proven.summary.header);
  return proven;
}

/// Names, versions and ids that are taken: nothing is replaced.
void require_free(op::Context& context, const op::VersionRecord& version, const std::vector<op::VersionRecord>& versions) {
  for (const auto& other : versions) {
    if (other.id == version.id && other.state != State::destroyed) {
      if (!on_token(context, other)) {
        throw Error::exists(other.label() + " is this kek: it is on record, and was removed from the token behind kmtool's back",
                            "kmtool state " + other.label() + " destroy --reason TEXT, then import it with --as NEWNAME");
      }
      throw Error::exists("this kek is on this token already, as " + other.label(), "--check compares it with the bundle");
    }
  }
  const bool known = context.find_key(version.name).has_value();
  const bool only_imported = std::ranges::all_of(versions, [&](const auto& other) { return other.name != version.name || other.origin == "imported"; });
  if (known && (!only_imported || context.find_version(version.name, version.version))) {
    throw Error::exists("there is already a key " + (only_imported ? version.label() : version.name), "import it beside that one: --as NEWNAME");
  }
  const auto newer = std::ranges::find_if(versions, [&](const auto& other) { return other.name == version.name && other.version > version.version; });
  if (version.state == State::active && newer != versions.end()) {
    throw Error::refused("G-WORK", version.label() + " cannot be activated: " + newer->label() + ", which succeeded it, is here", "import it without --activate: it then only unwraps");
  }
  auto& token = context.token();
  if (!token.find_by_id(version.id).empty()) {
    throw Error::exists("this kek is on the token already, but this home's record does not know it",
                        "where a restore forgot it: kmtool adopt " + version.name + " --id " + hex(version.id) + " --type " + std::string(to_text(version.type)));
  }
  if (!token.find_by_label(version.label()).empty()) {
    throw Error::exists("the token already has an object labelled " + version.label() + ", which this home does not know",
                        "import under another name (--as NEWNAME), or remove it with the tool that made it");
  }
}

op::VersionRecord version_to_be(op::Context& context, const ImportKekRequest& request, const Proven& proven) {
  if (!request.as.empty()) require_name(request.as, "key name");
  const auto& record = proven.wrap;
  op::VersionRecord version;
  version.name = request.as.empty() ? record.name : request.as;
  version.version = record.version;
  version.id = record.id;
  version.role = Role::kek;
  version.type = record.type;
  version.origin = "imported";
  version.backed_up = true;
  version.created = record.created;
  version.expires = record.expires;
  version.token_serial = context.token().info().serial;
  version.quorum = quorum_of(proven);
  const bool in_period = !record.expires || *record.expires > context.now();
  Compromises known(context);
  auto compromise = known.of(record);
  if (compromise.empty() && !proven.summary.header.quorum) compromise = known.of(proven.summary.header);
  const auto suspended = known.suspended(record), retired = suspended.empty() ? known.retired(record) : "";
  if (request.activate && (record.state != State::active || !in_period || !compromise.empty() || !suspended.empty() || !retired.empty())) {
    std::string why = "it was " + std::string(to_text(record.state)) + " when it was exported";
    if (!in_period) why = "its originator period ended " + rfc3339(*record.expires);
    if (!suspended.empty()) why = suspended + ", the same key, is suspended";
    if (!retired.empty()) why = retired + ", the same key, protects nothing any more: it was deactivated or suspended here";
    if (!compromise.empty()) why = compromise;
    throw Error::refused("G-WORK", label_of(record.name, record.version) + " cannot be activated: " + why, "import it without --activate: it then only unwraps");
  }
  if (request.activate && proven.opener.state == State::compromised) {
    throw Error::refused("G-WORK", label_of(record.name, record.version) + " cannot be activated: " + proven.opener.label() +
                                       ", which the bundle is for, is compromised: whoever has it may have this kek too",
                         "import it without --activate: it then only unwraps");
  }
  const bool compromised = record.state == State::compromised || !compromise.empty();
  version.state = request.activate ? State::active : compromised ? State::compromised : State::deactivated;
  version.reason = compromise;
  if (!request.activate) return version;
  version.activated = context.now();
  if (!version.expires) version.expires = policy::originator_end(context.home.policy, Role::kek, context.now(), std::nullopt);
  return version;
}

/// The KEK as session objects, proven; destroyed with it unless persisted.
class Opened {
 public:
  Opened(op::Context& context, const ImportKekRequest& request, const Proven& proven, const op::VersionRecord& version)
      : token_(context.token()), request_(request), proven_(proven), version_(version) {
    try {
      wrap_ = open(proven.wrap, 0, Part::kek_wrap);
      seal_ = open(proven.seal, 1, Part::kek_seal);
      prove_pair(wrap_->handle, seal_->handle);
    } catch (...) {
      discard();
      throw;
    }
  }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;
  ~Opened() { discard(); }

  /// Copies both to the token, reads them back, and proves them once more.
  void persist() {
    const auto wrap = token_.persist(*std::exchange(wrap_, std::nullopt), false);
    const auto seal = token_.persist(*std::exchange(seal_, std::nullopt), false);
    prove_pair(wrap.handle, seal.handle);
  }

  bool same_as(const std::map<Part, pkcs11::Object>& original) {
    return token_.same_key(token_.read(wrap_->handle), original.at(Part::kek_wrap), Role::kek, Part::kek_wrap) &&
           token_.same_key(token_.read(seal_->handle), original.at(Part::kek_seal), Role::kek, Part::kek_seal);
  }

 private:
  pkcs11::FreshObject open(const bundle::Record& record, std::size_t number, Part part) {
    const auto& header = proven_.summary.header;
    const auto& recipient = header.recipients[proven_.recipient];
    Bytes value = record.wrapped[proven_.recipient];
    if (request_.take_off) value = request_.take_off(header, number, proven_.recipient, value);
    const pkcs11::ObjectSpec spec{Role::kek, version_.type, part, version_.label(), version_.id, false};
    if (recipient.is_public()) return token_.unwrap_from(proven_.key, proven_.opener.type, recipient.transport, value, spec, false);
    return token_.unwrap(proven_.key.handle, recipient.algorithm, value, spec, false);
  }

  /// The HMAC key makes the seal that the exporter's made, and so does the one that the AES key opens: both are right, and belong together.
  void prove_pair(pkcs11::Handle wrap, pkcs11::Handle seal) {
    const auto& summary = proven_.summary;
    const auto* own = bundle::seal_of(summary, bundle::Seal::own);
    if (own == nullptr) throw Error::internal("a bundle of a kek without its own seal was accepted");
    bundle::require_seal(summary, bundle::Seal::own, token_.hmac_sha256(seal, summary.seal_message), request_.file.string());
    const pkcs11::ObjectSpec spec{Role::kek, version_.type, Part::kek_seal, version_.label(), version_.id, false};
    const auto again = token_.unwrap(wrap, own->pair_algorithm, own->pair, spec, false);
    const auto tag = token_.hmac_sha256(again.handle, summary.seal_message);
    token_.destroy(again.handle);
    bundle::require_seal(summary, bundle::Seal::own, tag, request_.file.string());
  }

  void discard() noexcept {
    for (auto* fresh : {&wrap_, &seal_}) {
      if (!*fresh) continue;
      try {
        token_.destroy((*fresh)->handle);
      } catch (const std::exception&) {  // a session object: it goes with the session
      }
      fresh->reset();
    }
  }

  pkcs11::Token& token_;
  const ImportKekRequest& request_;
  const Proven& proven_;
  const op::VersionRecord& version_;
  std::optional<pkcs11::FreshObject> wrap_, seal_;
};

Json details_of(const op::Context& context, const Proven& proven) {
  const auto& header = proven.summary.header;
  Json details{{"bundle", header.id}, {"digest", proven.summary.file_digest}, {"signer", proven.summary.signature.key}, {"opened_by", proven.opener.label()}};
  details["algorithm"] = header.recipients[proven.recipient].algorithm_text();
  details["creator_token"] = header.token.serial;
  details["quorum"] = quorum_of(proven);
  details.update(recipients_json(context, header));
  details["waived_there"] = Json::array();
  for (const auto& waiver : header.waivers) details["waived_there"].push_back({{"rule", waiver.rule}, {"reason", waiver.reason}});
  return details;
}

/// A drill: opened, proven, compared where the KEK is here, and gone again.
bool drill(op::Context& context, const ImportKekRequest& request, const Proven& proven, const op::VersionRecord& version,
           const std::vector<op::VersionRecord>& versions) {
  bool compared = false;
  {
    Opened opened(context, request, proven, version);
    for (const auto& original : versions) {
      if (original.id != version.id || original.state == State::destroyed || !on_token(context, original)) continue;
      compared = true;
      if (opened.same_as(context.objects_of({original}).at(original.label()))) continue;
      throw Error::tampered(original.label() + " in the bundle is not the kek that is on the token", "the backup does not restore this kek; export it again");
    }
  }
  std::vector<journal::Change> changes;
  for (auto bundle : context.bundles()) {
    if (bundle.id != proven.summary.header.id) continue;
    bundle.verified = context.now();
    changes = bundle.changes();
  }
  auto details = details_of(context, proven);
  details["compared"] = compared;
  context.note("import-kek --check", version.label(), std::move(details), std::move(changes));
  return compared;
}

/// This site's rules. What crossed under a waiver that is forbidden here would weaken everything that is ever put under it.
std::vector<policy::Waiver> judge(op::Context& context, const ImportKekRequest& request, const Proven& proven, ImportKekResult& result) {
  const auto& rules = context.home.policy;
  auto violations = policy::judge_token(rules, context.token_facts());
  const auto add = [&violations](std::vector<policy::Violation> more) {
    for (auto& violation : more) violations.push_back(std::move(violation));
  };
  auto of_kek = policy::judge_import(rules, proven.opener.facts(), result.kek.facts());
  std::ranges::copy_if(of_kek, std::back_inserter(result.reported), [](const auto& violation) { return !violation.refuses; });
  add(std::move(of_kek));
  if (request.activate) add(policy::judge_activation(rules, result.kek.facts(), context.now()));
  std::vector<policy::Waiver> waived;
  for (const auto& waiver : proven.summary.header.waivers) waived.push_back({waiver.rule, waiver.reason});
  add(policy::judge_waived(rules, request.file.string(), waived, "have it exported anew, to a key that is as strong as it and without the waiver"));
  return policy::enforce(rules, violations, context.options.waivers);
}

}  // namespace

ImportKekResult import_kek(op::Context& context, const ImportKekRequest& request) {
  const auto proven = prove(context, request);
  ImportKekResult result;
  result.opened_by = proven.opener.label();
  result.signer = proven.signer.who;
  result.pinned = !request.signer || find_signer(&context, std::nullopt, proven.summary, request.file.string()).trusted;
  result.waived = proven.summary.header.waivers;
  result.kek = version_to_be(context, request, proven);
  const auto versions = context.versions();
  if (!request.check) require_free(context, result.kek, versions);
  result.kek.waivers = judge(context, request, proven, result);
  if (context.options.dry_run) return result;
  if (request.check) {
    result.checked = true;
    result.compared = drill(context, request, proven, result.kek, versions);
    return result;
  }
  op::Plan plan;
  plan.command = "import-kek";
  plan.target = result.kek.label();
  plan.keys.push_back({result.kek.label(), result.kek.id, Role::kek, result.kek.type, false, true});
  plan.details = details_of(context, proven);
  context.run(plan, [&] {
    Opened opened(context, request, proven, result.kek);
    opened.persist();
    return op::Outcome{rows_of(context, {result.kek}), {{"proven", "seal and pair"}}};
  });
  return result;
}

}  // namespace kmtool::transfer
