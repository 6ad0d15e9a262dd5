#include "transfer/rewrap_prepare.hpp"

#include <algorithm>
#include <set>
#include <tuple>

#include "kmtool/core/file.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/op/workers.hpp"
#include "kmtool/transfer/transfer.hpp"
#include "transfer/openers.hpp"

namespace kmtool::transfer {

namespace {

/// Why a bundle stays as it is, though nothing is wrong with it.
struct Stays {
  std::string why;
};

bool protects(const op::VersionRecord& version, UnixTime now) {
  const auto end = version.facts().originator_end;
  return may_protect(version.state) && (!end || *end > now);
}

/// Is this recipient a version of that KEK? The version may be destroyed: the token has it again under another name then.
bool is_version_of(const op::Context& context, const bundle::Recipient& recipient, const std::string& name) {
  if (name_in(recipient.kek) != name) return false;
  const auto version = context.find_version(recipient.kek);
  return version && version->id == recipient.id;
}

/// The KEK that takes a recipient's place: itself while it may wrap, else its key's active version.
op::VersionRecord successor_of(const op::Context& context, const RewrapRequest& request, const KekObjects& keks, const bundle::Recipient& recipient) {
  const auto* version = keks.version_with(recipient.id);
  if (version == nullptr) throw Stays{"its recipient " + recipient.kek + " is not on this token and could not seal it again"};
  const bool rotated = version->name == request.kek || is_version_of(context, recipient, request.kek);
  const auto name = rotated ? request.kek : version->name;
  const auto key = context.find_key(name);
  if (!rotated && protects(*version, context.now())) return *version;
  if (rotated && request.to_come) return *request.to_come;
  const auto active = key && key->active ? context.find_version(name, *key->active) : std::nullopt;
  if (!active || !protects(*active, context.now())) throw Stays{"no version of " + name + " may wrap now"};
  return *active;
}

void find_keks(op::Context& context, const RewrapRequest& request, KekObjects& keks, const bundle::Header& header, Prepared& prepared) {
  bool changes = false;
  for (const auto& recipient : header.recipients) {
    const auto kek = successor_of(context, request, keks, recipient);
    changes = changes || kek.id != recipient.id;
    const bool to_come = request.to_come && request.to_come->label() == kek.label();
    if (!to_come && keks.find(kek) == nullptr) throw Stays{kek.label() + " was removed from the token behind kmtool's back and could not seal it again"};
    const bool twice = std::any_of(prepared.keks.begin(), prepared.keks.end(), [&](const auto& other) { return other.id == kek.id; });
    if (!twice) prepared.keks.push_back(kek);
  }
  if (!changes) throw Stays{"it is under the active version already"};
}

/// The first recipient whose KEK may still unwrap; its seal is still to be proven.
void open_with(const bundle::Summary& summary, KekObjects& keks, Prepared& prepared) {
  const auto& recipients = summary.header.recipients;
  std::string suspended;
  for (std::size_t i = 0; i < recipients.size(); ++i) {
    const auto* version = keks.version_with(recipients[i].id);
    if (version != nullptr && version->state == State::suspended) suspended = version->label();
    if (version == nullptr || !may_process(version->state)) continue;
    const auto* kek = keks.find(*version);
    if (kek == nullptr) continue;  // lost from the token: the next may open it
    prepared.seal = kek->seal.handle;
    prepared.recipient = i;
    prepared.opens = kek->wrap.handle;
    prepared.opens_by = recipients[i].algorithm;
    return;
  }
  throw Stays{"none of its KEKs may unwrap on this token" +
              (suspended.empty() ? "" : ": " + suspended + " is suspended, and unwraps when it is deactivated (kmtool state " + suspended + " deactivate --reason TEXT)")};
}

std::vector<policy::Waiver> judge(op::Context& context, const bundle::Header& header, const std::vector<op::VersionRecord>& keks,
                                  const std::map<std::string, policy::KeyFacts>& kinds) {
  std::vector<policy::Violation> violations;
  for (const auto& kek : keks) {
    for (const auto& [name, facts] : kinds) {
      for (auto& violation : policy::judge_backup(context.home.policy, kek.facts(), facts, context.now())) violations.push_back(std::move(violation));
    }
  }
  auto waivers = context.options.waivers;
  for (const auto& waiver : header.waivers) waivers.push_back({waiver.rule, waiver.reason});  // what was waived once stays on record
  return policy::enforce(context.home.policy, violations, waivers);
}

Prepared prove(op::Context& context, const RewrapRequest& request, const op::BundleRecord& bundle, KekObjects& keks, Today& today) {
  Prepared prepared;
  prepared.old = bundle;
  LineReader reader(bundle.path, bundle::max_line);
  prepared.compromised_kek = today.compromised_kek(bundle::read_header(reader));
  reader.rewind();
  std::map<std::string, policy::KeyFacts> kinds;  // one of each kind is judged
  std::map<KeyType, op::VersionRecord> types;
  auto summary = bundle::read(reader, [&](const bundle::Record& record, std::size_t) {
    policy::KeyFacts facts{label_of(record.name, record.version), record.role, record.type, record.strength, State::active, true, record.expires};
    kinds.emplace(std::string(to_text(record.role)) + "/" + std::string(to_text(record.type)), std::move(facts));
    op::VersionRecord version;
    version.name = record.name;
    version.version = record.version;
    version.type = record.type;
    types.emplace(record.type, std::move(version));
    if (context.options.dry_run) prepared.labels.push_back(op::bundle_label(context, label_of(record.name, record.version), record.id));
    if (!prepared.compromised_kek.empty()) {  // of a file that the catalog did not know, this is learnt now
      if (auto row = today.exposure(record, prepared.compromised_kek)) prepared.exposures.push_back(*std::move(row));
    }
    auto now = record;
    today.bring_up_to_date(now, !prepared.compromised_kek.empty());
    if (now.state != State::compromised || record.state == State::compromised) return;
    (today.only_exposed(record) ? prepared.exposed : prepared.compromised).push_back(label_of(record.name, record.version));
  });
  if (!bundle.id.empty() && summary.header.id != bundle.id) throw Stays{"another bundle lies under this name now"};
  if (summary.header.kind != "keys") throw Stays{"it holds a kek, not keys: export the kek again"};
  find_keks(context, request, keks, summary.header, prepared);
  const auto signer = find_signer(&context, std::nullopt, summary, bundle.path);
  if (!signer.trusted) {
    throw Error::tampered(bundle.path + " is signed by someone unknown (" + signer.who + ")", "pin its signer with kmtool signer trust, or remove it");
  }
  open_with(summary, keks, prepared);
  prepared.records = summary.header.records;
  prepared.waivers = judge(context, summary.header, prepared.keks, kinds);
  std::vector<op::VersionRecord> samples;
  samples.reserve(types.size());
  for (auto& [type, version] : types) samples.push_back(std::move(version));
  prepared.algorithm = op::common_algorithm(context.token(), samples);
  if (prepared.old.id.empty()) prepared.old.records = prepared.records;
  home::check_bundle_output(bundle.path, true);
  prepared.summary = std::move(summary);
  return prepared;
}

}  // namespace

Today::Today(op::Context& context) : context_(context), compromises_(context) {
  for (const auto& version : context.versions()) {  // a copy may have its original's id: one that is there speaks for both
    if (version.state != State::destroyed) versions_.insert_or_assign(version.id, std::pair{version.state, version.expires});
  }
}

void Today::bring_up_to_date(bundle::Record& record, bool exposed) {
  const auto found = versions_.find(record.id);
  if (found != versions_.end() && found->second.first != State::destroyed) std::tie(record.state, record.expires) = found->second;
  if (record.state != State::compromised && (exposed || !compromises_.of(record).empty())) record.state = State::compromised;
}

bool Today::only_exposed(const bundle::Record& record) {
  const auto found = versions_.find(record.id);
  if (found != versions_.end() && found->second.first == State::compromised) return false;
  const auto why = compromises_.of(record);
  return why.empty() || why == compromises_.why_exposed(record);
}

std::optional<journal::Change> Today::exposure(const bundle::Record& record, const std::string& kek) const {
  const auto label = op::bundle_label(context_, label_of(record.name, record.version), record.id);
  if (compromises_.exposure_known(label)) return std::nullopt;
  return op::Exposed::row(label, kek);
}

KekObjects::KekObjects(op::Context& context) : context_(context) {
  for (auto& version : context.versions()) {
    if (version.role == Role::kek && version.state != State::destroyed) versions_.emplace(version.id, std::move(version));
  }
}

const op::VersionRecord* KekObjects::version_with(const Bytes& id) const {
  const auto found = versions_.find(id);
  return found == versions_.end() ? nullptr : &found->second;
}

const op::Kek* KekObjects::find(const op::VersionRecord& version) {
  auto found = found_.find(version.label());
  if (found == found_.end()) found = found_.emplace(version.label(), kek_on_token(context_, version)).first;
  return found->second ? &*found->second : nullptr;
}

const op::Kek& KekObjects::get(const op::VersionRecord& version) {
  const auto* kek = find(version);
  if (kek == nullptr) refuse_lost_keks({version});
  return *kek;
}

namespace {

std::optional<Prepared> prepare(op::Context& context, const RewrapRequest& request, const op::BundleRecord& bundle, KekObjects& keks, Today& today,
                                std::vector<NotRewrapped>& left) {
  std::error_code error;
  const auto status = std::filesystem::symlink_status(bundle.path, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    const auto where = bundle.offline.empty() ? "moved, or on offline media" + (bundle.host.empty() ? "" : " (written on " + bundle.host + ")")
                                              : "kept offline: " + bundle.offline;
    left.push_back({bundle.path, "it is not there: " + where});
    return std::nullopt;
  }
  if (status.type() != std::filesystem::file_type::regular) {
    left.push_back({bundle.path, "it is not a regular file"});
    return std::nullopt;
  }
  try {
    return prove(context, request, bundle, keks, today);
  } catch (const Stays& stays) {
    left.push_back({bundle.path, stays.why});
  } catch (const Error& failure) {
    if (failure.exit() != ExitCode::damaged && failure.exit() != ExitCode::refused && failure.exit() != ExitCode::exists) throw;
    left.push_back({bundle.path, failure.message(), true});
  }
  return std::nullopt;
}

}  // namespace

void prepare_all(op::Context& context, const RewrapRequest& request, KekObjects& keks, Today& today, std::vector<NotRewrapped>& left,
                 const std::function<void(Prepared&&)>& take) {
  op::Workers<Prepared, Bytes> workers(
      context, request.sessions > 0 ? request.sessions : context.home.policy.sessions,
      [](pkcs11::Token& token, const Prepared& prepared) { return token.hmac_sha256(prepared.seal, prepared.summary.seal_message); },
      [&](Prepared&& prepared, Bytes&& seal) {
        try {
          bundle::require_seal(prepared.summary, prepared.recipient, seal, prepared.old.path);
        } catch (const Error& failure) {
          if (failure.exit() != ExitCode::damaged) throw;
          left.push_back({prepared.old.path, failure.message(), true});
          return;
        }
        take(std::move(prepared));
      });
  for (const auto& bundle : request.bundles) {
    if (auto prepared = prepare(context, request, bundle, keks, today, left)) workers.push(std::move(*prepared));
  }
  workers.drain();
}

}  // namespace kmtool::transfer
