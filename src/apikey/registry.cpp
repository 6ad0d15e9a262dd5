#include "kmtool/apikey/registry.hpp"

#include <algorithm>

#include "apikey/totals.hpp"
#include "kmtool/apikey/snapshot.hpp"
#include "kmtool/apikey/store.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/domain/reason.hpp"
#include "kmtool/op/admin.hpp"
#include "kmtool/policy/judge_api_key.hpp"

namespace kmtool::apikey {

namespace {

constexpr std::int64_t kept_in_snapshots = 90 * 86400;

/// Random bytes of the token on the secret heap; the plain copy is cleansed.
SecretBytes secret_random(op::Context& context, std::size_t size) {
  Bytes plain = context.token().random(size);
  SecretBytes secret{ByteView(plain)};
  cleanse(plain.data(), plain.size());
  return secret;
}

std::string fresh_id(op::Context& context) {
  for (int i = 0; i < 16; ++i) {
    auto id = make_id(context.token().random(7));
    if (!context.journal().proven("apikey", id)) return id;
  }
  throw Error::internal("the token's random numbers repeat themselves", "run kmtool token; do not use this token");
}

/// The row that says which key an application and environment have now: kind `apikey-app`.
journal::Change current_row(const KeyEntry& entry, bool none = false) {
  const auto id = entry.app + "/" + entry.environment;
  if (none) return {"apikey-app", id, std::nullopt};
  return {"apikey-app", id, Json{{"id", entry.id}}};
}

std::optional<ApiKeyRecord> current_of(op::Context& context, const std::string& app, const std::string& environment) {
  const auto row = context.journal().proven("apikey-app", app + "/" + environment);
  if (!row) return std::nullopt;
  return find_api_key(context, row->json().value("id", ""));
}

std::vector<policy::Waiver> judge(op::Context& context, const KeyEntry& entry) {
  policy::ApiKeyFacts facts{entry.id, entry.app, entry.environment, entry.restrictions->network(), entry.restrictions->unrestricted, entry.created, entry.expires};
  return policy::enforce(context.home.policy, policy::judge_api_key(context.home.policy, facts), context.options.waivers);
}

struct Delivery {
  bool keep = false;
  const std::optional<std::filesystem::path>& out;
};

Json details_of(const ApiKeyRecord& record) {
  const auto& entry = record.entry;
  return {{"id", entry.id}, {"app", entry.app}, {"environment", entry.environment}, {"restrictions", entry.restrictions->to_json()},
          {"expires", entry.expires ? Json(rfc3339(*entry.expires)) : Json(nullptr)}};
}

void record(op::Context& context, const Issued& issued, const std::string& command, const std::vector<journal::Change>& changes, const Json& details,
            const std::optional<op::VersionRecord>& sealer) {
  const auto& entry = issued.record.entry;
  if (!sealer) return context.note(command, entry.id, details, changes);
  op::Plan plan;
  plan.command = command;
  plan.target = entry.id;
  plan.begin = sealing_begin(context, *sealer);
  context.run(plan, [&] {
    auto kept = seal(context, *sealer, entry.app, "@" + entry.environment, issued.key);
    kept.issued = entry.id;
    auto rows = changes;
    rows.push_back(kept.change());
    return op::Outcome{rows, details};
  });
}

bool on_record(op::Context& context, const std::string& id) {
  try {
    return context.journal().proven("apikey", id).has_value();
  } catch (const Error&) {  // nothing is proven after an entry that was rolled back
    return false;
  }
}

/// The commit failed on the disk, and the next command may find it there all the same: the only copy of the key is not removed.
Error in_doubt(const std::string& id, const std::filesystem::path& out, const Error& error) {
  const auto file = printable(out.string());
  return {error.exit(), error.code(), "whether api key " + id + " is in force is not known, and " + file + ", which holds it, stays: " + error.message(),
          "make room or mend the disk; then kmtool apikey list tells: where it does not name " + id + ", remove " + file};
}

/// Makes the secret of `issued.record`, journals `changes` with it, and hands the key over.
void issue(op::Context& context, Issued& issued, const std::string& command, std::vector<journal::Change> changes, const Json& details,
           const Delivery& delivery) {
  auto& entry = issued.record.entry;
  std::optional<AtomicFile> file;
  if (delivery.out) home::check_output(*delivery.out, context.options.overwrite);
  if (context.options.dry_run) return;
  std::optional<op::VersionRecord> sealer;
  if (delivery.keep) sealer = ensure_store_key(context);
  issued.key = make_key(context.home.policy.api_keys.prefix, entry.id, secret_random(context, 32));
  entry.digest = crypto::sha256(issued.key.reveal());
  if (delivery.out) {
    file.emplace(*delivery.out, context.options.overwrite);
    SecretBytes line(issued.key.size() + 1);
    std::copy(issued.key.reveal().begin(), issued.key.reveal().end(), line.reveal_mutable().begin());
    line.reveal_mutable().back() = '\n';
    file->write(line.reveal());
    file->sync();
  }
  changes.push_back(issued.record.change());
  changes.push_back(current_row(entry));
  // A kill between the two leaves a key that is not in force rather than one that is and nobody has. What a file holds that is replaced
  // may be in force still: it goes last.
  const bool first = file && !std::filesystem::exists(file->target());
  if (first) file->commit();
  std::optional<Error> late;  // what failed although the key is in force: its checkpoint did not reach the sink
  try {
    record(context, issued, command, changes, details, sealer);
  } catch (const Error& error) {
    if (!on_record(context, entry.id)) {
      std::error_code ignored;
      if (first && error.exit() == ExitCode::io) throw in_doubt(entry.id, *delivery.out, error);
      if (first) std::filesystem::remove(file->target(), ignored);
      throw;
    }
    late = error;
  }
  try {
    if (file && !first) file->commit();
  } catch (const Error& error) {
    throw undelivered(entry.id, error);
  }
  if (late) throw file ? *late : undelivered(entry.id, *late);
}

void require_times(const KeyEntry& entry, UnixTime now) {
  if (entry.expires && *entry.expires <= now) throw Error::usage("the key would expire at " + rfc3339(*entry.expires) + ", which is past");
  if (entry.not_before && entry.expires && *entry.not_before >= *entry.expires) throw Error::usage("the key would expire before it is valid");
}

/// The highest number that a snapshot has or may have: one whose publishing was cut off may lie there all the same.
std::uint64_t last_sequence(op::Context& context) {
  std::uint64_t highest = 0;
  for (const auto* row : {"last", "sequence"}) {
    const auto found = context.journal().proven("apikey-snapshot", row);
    if (found) highest = std::max(highest, found->json().value("sequence", std::uint64_t{0}));
  }
  return highest;
}

/// Until its end a gateway that gets no newer one goes on allowing what was revoked since: said where that is long, and policy has not said so.
std::optional<std::string> long_lived(UnixTime now, UnixTime not_after, std::int64_t snapshot_life) {
  constexpr std::int64_t long_life = 30 * 86400;
  if (not_after - now <= std::max(long_life, snapshot_life)) return std::nullopt;
  return "the snapshot is good until " + rfc3339(not_after) + ": a gateway that gets no newer one allows a key that is revoked meanwhile until then; leave --not-after out, and publish regularly";
}

/// Old files of ours may be replaced: a snapshot of this home under the name of the new one.
bool replaceable(const op::Context& context, const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return false;
  const std::string text = read_file(path, largest_snapshot);
  return text.starts_with("{\"kmapikeys\":1,\"home\":\"" + context.home.config.home_id + "\",");
}

}  // namespace

Error undelivered(const std::string& id, const Error& error) {
  return {error.exit(), error.code(), "api key " + id + " is in force, but nobody was given it: " + error.message(),
          "kmtool apikey rotate " + id + " --overlap 0 makes another, or end it: kmtool apikey revoke " + id + " --reason 'never delivered'"};
}

Issued create(op::Context& context, const CreateRequest& request) {
  require_name(request.app, "application");
  require_name(request.environment, "environment");
  request.restrictions.require_sensible();
  if (request.restrictions.unrestricted && request.restrictions.network()) throw Error::usage("--ip and --unrestricted contradict each other");
  const UnixTime now = context.now();
  const auto live = current_of(context, request.app, request.environment);
  if (live && live->alive(now)) {
    throw Error::refused("A-UNIQUE", "the application " + request.app + " already has a live key in the environment " + request.environment + ": " + live->entry.id,
                         "kmtool apikey rotate " + live->entry.id + " replaces it, kmtool apikey revoke ends it; another --environment has its own");
  }
  Issued issued;
  auto& entry = issued.record.entry;
  entry.app = request.app;
  entry.environment = request.environment;
  entry.restrictions = request.restrictions;
  entry.created = now;
  entry.not_before = request.not_before;
  entry.expires = request.expires;
  require_times(entry, now);
  issued.record.waivers = judge(context, entry);
  entry.id = fresh_id(context);
  issue(context, issued, "apikey create", {}, details_of(issued.record), {request.keep, request.out});
  return issued;
}

Issued rotate(op::Context& context, const RotateRequest& request) {
  auto old = find_api_key(context, request.id);
  const UnixTime now = context.now();
  const auto state = old.state(now);
  if (old.entry.until || !old.alive(now)) {
    throw Error::refused("A-UNIQUE", "api key " + request.id + " is " + state + ": there is nothing to rotate",
                         old.replaced_by.empty() ? "kmtool apikey create makes a new one" : "its successor is " + old.replaced_by);
  }
  if (!old.replaces.empty()) {
    const auto older = find_api_key(context, old.replaces);
    if (older.alive(now)) {
      throw Error::refused("A-UNIQUE", "the overlap of " + older.entry.id + " with " + request.id + " lasts until " + rfc3339(older.entry.until.value_or(now)) + ": a rotation now would make three live keys",
                           "wait, or end it: kmtool apikey revoke " + older.entry.id + " --reason TEXT");
    }
  }
  const auto kept = context.journal().proven("apikey-store", old.entry.app + "/@" + old.entry.environment);
  const bool keep = request.keep || (kept && StoredRecord::from(*kept).issued == old.entry.id);
  Issued issued;
  auto& entry = issued.record.entry;
  entry = old.entry;
  entry.created = now;
  entry.not_before.reset();
  entry.expires = request.expires;
  if (!request.expires && old.entry.expires) entry.expires = now + (*old.entry.expires - old.entry.created);
  require_times(entry, now);
  issued.record.replaces = old.entry.id;
  issued.record.waivers = judge(context, entry);
  entry.id = fresh_id(context);
  const auto overlap = request.overlap.value_or(context.home.policy.api_keys.overlap);
  old.entry.until = now + overlap;
  old.replaced_by = entry.id;
  auto details = details_of(issued.record);
  details["replaces"] = old.entry.id;
  details["until"] = rfc3339(*old.entry.until);
  issue(context, issued, "apikey rotate", {old.change()}, details, {keep, request.out});
  issued.before = std::move(old);
  return issued;
}

ApiKeyRecord revoke(op::Context& context, const std::string& id, const std::string& reason) {
  require_reason(reason);
  auto record = find_api_key(context, id);
  if (record.revoked) throw Error::refused("A-UNIQUE", "api key " + id + " was revoked on " + rfc3339(*record.revoked), "there is nothing left to do");
  record.revoked = context.now();
  record.entry.revoked = true;
  record.reason = reason;
  if (context.options.dry_run) return record;
  std::vector<journal::Change> changes{record.change()};
  const auto current = current_of(context, record.entry.app, record.entry.environment);
  if (current && current->entry.id == id) changes.push_back(current_row(record.entry, true));
  const auto kept = context.journal().proven("apikey-store", record.entry.app + "/@" + record.entry.environment);
  if (kept && StoredRecord::from(*kept).issued == id) changes.push_back({"apikey-store", kept->id, std::nullopt});
  context.note("apikey revoke", id, {{"app", record.entry.app}, {"environment", record.entry.environment}, {"reason", reason}}, std::move(changes));
  return record;
}

Published publish(op::Context& context, const PublishRequest& request) {
  const UnixTime now = context.now();
  Published result;
  result.not_after = request.not_after.value_or(now + context.home.policy.api_keys.snapshot_life);
  if (result.not_after <= now) throw Error::usage("--not-after: " + rfc3339(result.not_after) + " is past: nobody could use the snapshot");
  result.warning = long_lived(now, result.not_after, context.home.policy.api_keys.snapshot_life);
  const bool replace = context.options.overwrite || replaceable(context, request.out);
  const auto path = home::check_output(request.out, replace);
  result.path = path.string();
  // A gateway takes no number that is not above the last one: after a restore nobody knows what that was.
  result.sequence = std::max(last_sequence(context), op::numbers_after_rollback(context)) + 1;
  std::vector<KeyEntry> keys;
  for (auto& record : api_keys(context)) {
    const auto& entry = record.entry;
    auto ended = record.revoked;
    for (const auto& end : {entry.until, entry.expires}) {
      if (end && (!ended || *end < *ended)) ended = end;
    }
    if (!ended || *ended + kept_in_snapshots > now) keys.push_back(std::move(record.entry));
  }
  result.keys = keys.size();
  if (context.options.dry_run) return result;
  SnapshotHeader header{context.home.config.home_id, result.sequence, now, result.not_after, "kmtool " KMTOOL_VERSION, 0};
  const std::string text = write_snapshot(header, std::move(keys), context.document_key(), [&](ByteView digest) { return context.sign_document(digest); });
  result.digest = hex(crypto::sha256(view(text)));
  AtomicFile file(path, replace);
  file.write(text);
  file.sync();
  auto changes = record_totals(context, false).changes;
  changes.push_back({"apikey-snapshot", "last", Json{{"sequence", result.sequence}, {"created", rfc3339(now)}, {"not_after", rfc3339(result.not_after)}, {"path", result.path}, {"digest", result.digest}}});
  // The number is used up before a gateway can see it; that the snapshot is published is on record only once it lies there.
  op::Plan plan;
  plan.command = "apikey publish";
  plan.target = result.path;
  plan.begin = {{"apikey-snapshot", "sequence", Json{{"sequence", result.sequence}}}};
  context.run(plan, [&] {
    file.commit();
    return op::Outcome{std::move(changes), {{"sequence", result.sequence}, {"keys", result.keys}, {"not_after", rfc3339(result.not_after)}, {"digest", result.digest}}};
  });
  return result;
}

}  // namespace kmtool::apikey
