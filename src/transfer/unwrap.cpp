#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/op/bundle_out.hpp"
#include "kmtool/op/objects.hpp"
#include "kmtool/op/workers.hpp"
#include "kmtool/policy/incoming.hpp"
#include "kmtool/transfer/transfer.hpp"
#include "transfer/compromises.hpp"
#include "transfer/openers.hpp"
#include "transfer/restored.hpp"

namespace kmtool::transfer {

namespace {

/// What the first pass found: proven bundle, the KEK that opens it, the records that are wanted.
struct Proven {
  bundle::Summary summary;
  std::size_t recipient = 0;
  op::VersionRecord kek;
  pkcs11::Object wrap;
  std::vector<bundle::Record> records;  ///< without their wrapped values
};

bool wanted(const UnwrapRequest& request, const bundle::Record& record, std::set<std::string>& found) {
  if (request.names.empty()) return true;
  for (const auto& name : request.names) {
    const auto ref = KeyRef::parse(name);
    if (ref.name == record.name && (!ref.version || *ref.version == record.version)) {
      found.insert(name);
      return true;
    }
  }
  return false;
}

void require_signer(op::Context& context, const UnwrapRequest& request, const bundle::Summary& summary) {
  const auto signer = find_signer(&context, request.signer, summary, request.file.string());
  if (signer.trusted) return;
  throw Error::refused("G-INTEGRITY", request.file.string() + " is signed by someone unknown (" + signer.who + ")",
                       "get the signer's PEM over a channel you trust, then --signer PEM or kmtool signer trust PEM --name N");
}

/// The first recipient whose KEK is on this token and may unwrap; its seal is verified. One whose objects were lost leaves it to the next.
void open_kek(op::Context& context, const UnwrapRequest& request, Proven& proven) {
  std::string names;
  std::vector<op::VersionRecord> lost;
  for (std::size_t i = 0; i < proven.summary.header.recipients.size(); ++i) {
    const auto& recipient = proven.summary.header.recipients[i];
    names += (names.empty() ? "" : ", ") + recipient.kek;
    for (const auto& version : context.versions()) {
      if (version.role != Role::kek || version.id != recipient.id || version.state == State::destroyed) continue;
      const auto kek = kek_on_token(context, version);
      if (!kek) {
        lost.push_back(version);
        continue;
      }
      const auto seal = context.token().hmac_sha256(kek->seal.handle, proven.summary.seal_message);
      bundle::require_seal(proven.summary, i, seal, request.file.string());
      proven.recipient = i;
      proven.kek = version;
      proven.wrap = kek->wrap;
      return;
    }
  }
  require_not_forgotten(context, proven.summary.header);
  if (!lost.empty()) refuse_lost_keks(lost);
  throw Error::missing("none of the bundle's KEKs is on this token: " + names,
                       "unwrap it where one of them is, or import the KEK first");
}

Proven prove(op::Context& context, const UnwrapRequest& request, LineReader& reader) {
  Proven proven;
  std::set<std::string> found;
  proven.summary = bundle::read(reader, [&](const bundle::Record& record, std::size_t) {
    if (!wanted(request, record, found)) return;
    proven.records.push_back(record);
    proven.records.back().wrapped.clear();
  });
  if (proven.summary.header.of_kek()) {
    throw Error::usage(request.file.string() + " holds a kek, not keys", "import it with kmtool import-kek " + request.file.string());
  }
  require_signer(context, request, proven.summary);
  open_kek(context, request, proven);
  for (const auto& name : request.names) {
    if (!found.contains(name)) {
      throw Error::missing("the bundle has no key " + name, "kmtool inspect " + request.file.string() + " shows what is in it");
    }
  }
  return proven;
}

std::string new_name(const UnwrapRequest& request, const bundle::Record& record) { return request.as.empty() ? record.name : request.as; }

/// Why a record's key cannot be activated.
struct Hindrance {
  std::string label, why;
  bool compromised = false;
};

std::optional<Hindrance> hindrance(const bundle::Record& record, const std::string& compromise, const std::string& retired, UnixTime now) {
  const bool in_period = !record.expires || *record.expires > now;
  if (record.state == State::active && in_period && compromise.empty() && retired.empty()) return std::nullopt;
  std::string why = "its originator period ended " + (record.expires ? rfc3339(*record.expires) : "");
  if (in_period) why = "it was " + std::string(to_text(record.state)) + " when it was wrapped";
  if (!retired.empty()) why = (retired == label_of(record.name, record.version) ? "it" : retired + ", the same key,") + " was deactivated";
  if (!compromise.empty()) why = compromise;
  return Hindrance{label_of(record.name, record.version), why, !compromise.empty()};
}

/// `can`: labels of those beside it that can. Restored without --activate they would stay deactivated for ever.
[[noreturn]] void refuse_activation(const UnwrapRequest& request, const Hindrance& first, std::vector<std::string> can) {
  const std::string after = first.compromised ? "; protect anew what it protects under another key" : "";
  std::string hint = "restore it without --activate: it then decrypts and verifies only" + after;
  constexpr std::size_t most_named = 20;
  if (!can.empty()) {
    if (can.size() > most_named) can.resize(most_named), can.emplace_back("...");
    hint = "restore with --activate those that can be: kmtool unwrap " + printable(request.file.string()) + " " + join(can, " ") +
           " --activate; and by their names without it the others, which then decrypt and verify only" + after;
  }
  throw Error::refused("G-WORK", first.label + " cannot be activated: " + first.why, hint);
}

/// A label that another tool used would make later look-ups ambiguous.
void require_free_labels(op::Context& context, const std::vector<op::VersionRecord>& versions) {
  std::set<std::string> labels;
  for (const auto& version : versions) labels.insert(version.label());
  const auto taken = context.token().find_by_labels(labels);
  if (taken.empty()) return;
  throw Error::exists("the token already has an object labelled " + taken.front().label + ", which kmtool does not manage",
                      "restore under another name: --as NEWNAME");
}

/// A suspended key does nothing, whatever its name (SP 800-57 part 1 r5, 7.3).
void require_not_suspended(Compromises& known, const bundle::Record& record) {
  const auto suspended = known.suspended(record);
  if (suspended.empty()) return;
  const auto label = label_of(record.name, record.version);
  throw Error::refused("G-WORK", label + " is not restored: " + (suspended == label ? "it" : suspended + ", the same key,") + " is suspended",
                       "kmtool state " + suspended + " resume --reason TEXT, or deactivate; --check rehearses all the same");
}

op::VersionRecord row_of(op::Context& context, const UnwrapRequest& request, const bundle::Record& record) {
  op::VersionRecord version;
  version.name = new_name(request, record);
  version.version = record.version;
  version.role = record.role;
  version.type = record.type;
  version.state = record.state == State::compromised ? State::compromised : State::deactivated;
  version.origin = "unwrapped";
  version.backed_up = true;
  version.created = record.created;
  version.expires = record.expires;
  version.token_serial = context.token().info().serial;
  version.public_spki = record.public_spki;
  return version;
}

void activate(op::Context& context, op::VersionRecord& version) {
  version.state = State::active;
  version.activated = context.now();
  if (!version.expires) version.expires = policy::originator_end(context.home.policy, version.role, context.now(), std::nullopt);
}

/// The catalog's rows for the restored versions; refuses names that are taken.
std::vector<op::VersionRecord> restored(op::Context& context, const UnwrapRequest& request, const Proven& proven) {
  std::set<std::string> names;
  for (const auto& record : proven.records) names.insert(record.name);
  if (!request.as.empty()) {
    require_name(request.as, "key name");
    if (names.size() != 1) {
      throw Error::usage("--as gives one name, but " + std::to_string(names.size()) + " keys would be restored",
                         "name the key to restore: kmtool unwrap FILE NAME --as NEWNAME");
    }
  }
  std::vector<op::VersionRecord> versions;
  for (const auto& record : proven.records) versions.push_back(row_of(context, request, record));
  if (!request.check) require_free_names(context, versions, request.activate);
  Compromises known(context);
  const auto of_bundle = known.of(proven.summary.header);
  std::optional<Hindrance> first;
  std::vector<std::string> can;
  for (std::size_t i = 0; i < versions.size(); ++i) {
    const auto& record = proven.records[i];
    if (!request.check) require_not_suspended(known, record);
    auto compromise = known.of(record);
    if (compromise.empty()) compromise = of_bundle;
    if (request.activate) {
      auto hinders = hindrance(record, compromise, known.retired(record), context.now());
      if (!hinders) can.push_back(label_of(record.name, record.version));
      if (hinders && !first) first = std::move(hinders);
      activate(context, versions[i]);
    } else if (!compromise.empty()) {
      versions[i].state = State::compromised;
    }
    versions[i].reason = compromise;
  }
  if (first) refuse_activation(request, *first, std::move(can));
  step_back(versions);
  if (!request.check) require_free_labels(context, versions);
  return versions;
}

/// The command line's; and what was waived here for a key holds for its copy.
std::vector<policy::Waiver> waivers_for(op::Context& context, const Proven& proven) {
  auto waivers = context.options.waivers;
  std::set<Bytes> ids;
  for (const auto& record : proven.records) ids.insert(record.id);
  for (const auto& version : context.versions()) {
    if (!ids.contains(version.id)) continue;
    for (const auto& waiver : version.waivers) {
      if (!context.home.policy.forbidden_waivers.contains(waiver.rule)) waivers.push_back(waiver);
    }
  }
  return waivers;
}

std::vector<policy::Waiver> judge(op::Context& context, const UnwrapRequest& request, const Proven& proven, const std::vector<op::VersionRecord>& versions) {
  auto violations = policy::judge_token(context.home.policy, context.token_facts());
  // What only processes is not refused; a waiver that is given all the same goes on record with it, for the audit that will find it weak.
  const bool accepted = std::ranges::any_of(context.options.waivers, [](const auto& waiver) { return waiver.rule == "G-GEN"; });
  for (const auto& version : versions) {
    for (auto& violation : policy::judge_unwrap(context.home.policy, proven.kek.facts(), version.facts(), context.now())) {
      violations.push_back(std::move(violation));
    }
    if (version.state != State::active && !accepted) continue;
    for (auto& violation : policy::judge_activation(context.home.policy, version.facts(), context.now())) violations.push_back(std::move(violation));
  }
  if (request.activate) {
    std::vector<policy::Waiver> waived;
    for (const auto& waiver : proven.summary.header.waivers) waived.push_back({waiver.rule, waiver.reason});
    for (auto& violation : policy::judge_waived(context.home.policy, request.file.string(), waived, "leave --activate out: it then only processes what was protected")) {
      violations.push_back(std::move(violation));
    }
  }
  return policy::enforce(context.home.policy, violations, waivers_for(context, proven));
}

/// Unwraps one record into session objects: the value, or both halves of a pair (which must belong together).
std::vector<pkcs11::FreshObject> open_record(pkcs11::Token& token, const Proven& proven, const bundle::Record& record,
                                             const op::VersionRecord& version) {
  const auto& recipient = proven.summary.header.recipients[proven.recipient];
  const Part part = op::wrapped_part(version.role);
  const pkcs11::ObjectSpec spec{version.role, version.type, part, version.label(), version.id, false};
  std::optional<crypto::PublicKey> known;
  if (part == Part::private_half) known = crypto::PublicKey::from_spki(record.public_spki.value());
  std::vector<pkcs11::FreshObject> fresh;
  fresh.push_back(token.unwrap(proven.wrap.handle, recipient.algorithm, record.wrapped[proven.recipient], spec, false, known ? &*known : nullptr));
  if (!known) return fresh;
  const auto& key = *known;
  if (version.role == Role::sign && !token.private_matches(token.read(fresh[0].handle), key)) {
    token.destroy(fresh[0].handle);
    throw Error::tampered(version.label() + ": the private key in the bundle does not belong to its public key");
  }
  pkcs11::ObjectSpec half = spec;
  half.part = Part::public_half;
  fresh.push_back(token.create_public(key, half));
  return fresh;
}

/// Second pass: the records again, one at a time; the file must hash to what was verified before anything is committed.
void each_record(const Proven& proven, LineReader& reader, const UnwrapRequest& request,
                 const std::function<void(const bundle::Record&, std::size_t)>& act) {
  reader.rewind();
  std::size_t index = 0;
  std::set<std::string> ignored;
  const auto again = bundle::read(reader, [&](const bundle::Record& record, std::size_t) {
    if (!wanted(request, record, ignored)) return;
    if (index >= proven.records.size() || record.id != proven.records[index].id) {
      throw Error::tampered(request.file.string() + " changed while it was read", "nothing was restored; run the command again");
    }
    act(record, index++);
  });
  if (again.file_digest != proven.summary.file_digest) {
    throw Error::tampered(request.file.string() + " changed while it was read", "nothing was restored; run the command again");
  }
}

UnwrapResult drill(op::Context& context, const UnwrapRequest& request, const Proven& proven, LineReader& reader,
                   std::vector<op::VersionRecord> versions) {
  UnwrapResult result;
  result.checked = true;
  auto& token = context.token();
  std::set<Bytes> in_bundle;
  for (const auto& record : proven.records) in_bundle.insert(record.id);
  std::map<Bytes, op::VersionRecord> originals;
  std::vector<op::VersionRecord> sought;
  for (auto& version : context.versions()) {
    if (version.state == State::destroyed || !in_bundle.contains(version.id)) continue;
    sought.push_back(version);
    originals.emplace(version.id, std::move(version));
  }
  const auto objects = context.objects_of(sought);
  each_record(proven, reader, request, [&](const bundle::Record& record, std::size_t index) {
    context.check_stop();
    const auto fresh = open_record(token, proven, record, versions[index]);
    if (const auto found = originals.find(record.id); found != originals.end()) {
      const auto& version = found->second;
      const Part part = op::wrapped_part(version.role);
      const auto& original = objects.at(version.label()).at(part);
      const bool same = part == Part::private_half
                            ? version.public_spki == record.public_spki
                            : token.same_key(token.read(fresh[0].handle), original, version.role, part);
      if (!same) {
        throw Error::tampered(version.label() + " in the bundle is not the key that is on the token",
                              "the backup does not restore this key; wrap it again");
      }
      result.compared.push_back(version.label());
    }
    for (const auto& object : fresh) token.destroy(object.handle);
    context.progress("checking", index + 1, versions.size());
  });
  std::vector<journal::Change> changes;
  for (auto bundle : context.bundles()) {
    if (bundle.id != proven.summary.header.id) continue;
    bundle.verified = context.now();
    bundle.keys.clear();
    changes = bundle.changes();
  }
  context.note("unwrap --check", request.file.string(),
               {{"bundle", proven.summary.header.id}, {"records", versions.size()}, {"compared", result.compared.size()}},
               std::move(changes));
  for (std::size_t i = 0; i < versions.size(); ++i) versions[i].id = proven.records[i].id;  // nothing was made: speak of the bundle's
  result.keys = std::move(versions);
  return result;
}

op::Plan plan_of(const op::Context& context, const UnwrapRequest& request, const Proven& proven, const std::vector<op::VersionRecord>& versions) {
  op::Plan plan;
  plan.command = "unwrap";
  plan.target = request.file.string();
  for (const auto& version : versions) plan.keys.push_back({version.label(), version.id, version.role, version.type, false, true});
  plan.details = {{"bundle", proven.summary.header.id}, {"digest", proven.summary.file_digest}, {"signer", proven.summary.signature.key}, {"kek", proven.kek.label()},
                  {"creator_token", proven.summary.header.token.serial}};
  plan.details.update(recipients_json(context, proven.summary.header));
  return plan;
}

void restore_all(op::Context& context, const UnwrapRequest& request, const Proven& proven, LineReader& reader,
                 const std::vector<op::VersionRecord>& versions) {
  struct Job {
    bundle::Record record;
    std::size_t index = 0;
  };
  op::Workers<Job, bool> workers(
      context, request.sessions > 0 ? request.sessions : context.home.policy.sessions,
      [&](pkcs11::Token& token, const Job& job) {
        for (const auto& fresh : open_record(token, proven, job.record, versions[job.index])) token.persist(fresh, false);
        return true;
      },
      [&](Job&& job, bool) { context.progress("restoring", job.index + 1, versions.size()); });
  each_record(proven, reader, request, [&](const bundle::Record& record, std::size_t index) { workers.push({record, index}); });
  workers.drain();
  context.token().forget_objects();
}

}  // namespace

UnwrapResult unwrap(op::Context& context, const UnwrapRequest& request) {
  LineReader reader(request.file, bundle::max_line);
  const auto proven = prove(context, request, reader);
  auto versions = restored(context, request, proven);
  const auto waivers = judge(context, request, proven, versions);
  for (auto& version : versions) version.waivers = waivers;
  if (context.options.dry_run) return {std::move(versions), false, {}};
  const auto random = context.token().random(16 * versions.size());
  for (std::size_t i = 0; i < versions.size(); ++i) {
    const auto* begin = random.data() + 16 * i;
    versions[i].id.assign(begin, begin + 16);
  }
  if (request.check) return drill(context, request, proven, reader, std::move(versions));
  context.run(plan_of(context, request, proven, versions), [&] {
    restore_all(context, request, proven, reader, versions);
    auto changes = rows_of(context, versions);
    // What was encrypted under the original names the original's id; and what is learnt of the one holds for the other.
    for (std::size_t i = 0; i < versions.size(); ++i) {
      changes.push_back({"copy", hex(versions[i].id), Json{{"of", hex(proven.records[i].id)}, {"key", versions[i].label()}}});
    }
    return op::Outcome{std::move(changes), {{"records", versions.size()}}};
  });
  return {std::move(versions), false, {}};
}

}  // namespace kmtool::transfer
