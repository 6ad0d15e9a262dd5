#include "kmtool/apikey/store.hpp"

#include <algorithm>

#include "kmtool/apikey/reseal.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/keys/gen.hpp"
#include "kmtool/op/copies.hpp"
#include "kmtool/op/invocations.hpp"
#include "kmtool/policy/use.hpp"

namespace kmtool::apikey {

namespace {

constexpr std::size_t mark_length = 4 + 4 + 32;
constexpr std::uint32_t multiplier = 0x01000193;

/// What is sealed is bound to where it stands, and a value is never taken for a mark.
Bytes associated(const std::string& what, const std::string& id) { return to_bytes("kmtool-apikey-store-v1\n" + what + "\n" + id + "\n"); }

void put32(std::span<std::uint8_t> to, std::uint32_t value) {
  for (std::size_t i = 0; i < 4; ++i) to[i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
}
std::uint32_t get32(ByteView from) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | from[i];
  return value;
}

SecretBytes mark_of(const SecretBytes& value) {
  SecretBytes mark(mark_length);
  const auto bytes = mark.reveal_mutable();
  put32(bytes.subspan(0, 4), static_cast<std::uint32_t>(value.size()));
  put32(bytes.subspan(4, 4), rolling_hash(value.reveal()));
  const auto digest = crypto::sha256(value.reveal());
  std::copy(digest.begin(), digest.end(), bytes.begin() + 8);
  return mark;
}

pkcs11::Handle handle_of(op::Context& context, const op::VersionRecord& version) {
  return context.objects_of({version}).at(version.label()).at(Part::value).handle;
}

Bytes seal_one(op::Context& context, pkcs11::Handle handle, const Bytes& bound, const SecretBytes& plain) {
  Bytes out(plain.size() + pkcs11::gcm_overhead);
  out.resize(context.token().gcm_seal(handle, bound, plain.reveal(), out));
  return out;
}

std::string how_to_give_up(const StoredRecord& record) {
  const auto which = record.name + " --app " + record.app;
  if (!record.issued.empty()) return "kmtool apikey rotate " + record.issued + " --keep makes another";
  return "kmtool apikey store " + which + " --force keeps the value anew, --remove forgets it";
}

/// The version that sealed it or, where that was destroyed, the same key as it came back from a bundle. Throws refused (77).
op::VersionRecord opener_of(op::Context& context, const StoredRecord& record) {
  auto version = context.resolve(record.key);
  if (version.state != State::destroyed) return version;
  auto copies = op::same_key(context, version);
  const auto opens = std::ranges::find_if(copies, [](const auto& copy) { return may_process(copy.state); });
  if (opens != copies.end()) return std::move(*opens);
  if (!copies.empty()) return std::move(copies.front());
  throw Error::refused("G-WORK", "the key kept as " + record.id() + " is lost: " + record.key + ", which sealed it, is destroyed",
                       how_to_give_up(record) + "; where a bundle holds " + record.key + ": kmtool unwrap FILE --as NEWNAME");
}

/// The same, asked whether it may decrypt.
op::VersionRecord require_opens(op::Context& context, const StoredRecord& record) {
  auto version = opener_of(context, record);
  policy::enforce(context.home.policy, policy::judge_use(context.home.policy, version.facts(), policy::Use::decrypt, context.now()), context.options.waivers);
  return version;
}

SecretBytes open_one(op::Context& context, const StoredRecord& record, const std::string& what, const Bytes& sealed) {
  const auto version = require_opens(context, record);
  SecretBytes out(std::max<std::size_t>(sealed.size(), 1));
  try {
    out.truncate(context.token().gcm_open(handle_of(context, version), associated(what, record.id()), sealed, out.reveal_mutable()));
  } catch (const Error& error) {
    if (error.exit() != ExitCode::damaged) throw;
    throw Error::tampered("the key kept as " + record.id() + " does not open under " + version.label() + ": it was changed, or moved from another name",
                          how_to_give_up(record));
  }
  return out;
}

}  // namespace

std::uint32_t rolling_hash(ByteView text) noexcept {
  std::uint32_t hash = 0;
  for (const auto byte : text) hash = hash * multiplier + byte + 1;
  return hash;
}

op::VersionRecord ensure_store_key(op::Context& context) {
  if (!context.find_key(store_key)) {
    keys::GenRequest request;
    request.name = store_key;
    request.owner = "kmtool apikey";
    keys::generate(context, request);
    if (context.options.dry_run) {
      op::VersionRecord planned;
      planned.name = store_key;
      return planned;
    }
  }
  const auto version = context.resolve(store_key);
  const auto violations = policy::judge_use(context.home.policy, version.facts(), policy::Use::encrypt, context.now());
  policy::enforce(context.home.policy, violations, context.options.waivers);
  return version;
}

std::vector<journal::Change> sealing_begin(op::Context& context, const op::VersionRecord& version) {
  return {op::reserve_invocations(context, version, 2)};
}

StoredRecord seal(op::Context& context, const op::VersionRecord& version, const std::string& app, const std::string& name, const SecretBytes& value) {
  StoredRecord record{app, name, version.label(), {}, {}, context.now(), {}};
  const auto handle = handle_of(context, version);
  record.sealed = seal_one(context, handle, associated("value", record.id()), value);
  record.mark = seal_one(context, handle, associated("mark", record.id()), mark_of(value));
  return record;
}

StoreResult store(op::Context& context, const std::string& app, const std::string& name, const SecretBytes& value) {
  require_name(app, "application");
  require_name(name, "name");
  const auto bytes = value.reveal();
  if (value.empty()) throw Error::usage("the key is empty", "give it on standard input, or type it at the terminal");
  if (value.size() > longest_stored) throw Error::usage("the key is longer than 32 KiB");
  if (std::find(bytes.begin(), bytes.end(), 0) != bytes.end()) throw Error::usage("the key has a NUL byte: no environment can carry it");
  const bool taken = context.journal().proven("apikey-store", app + "/" + name).has_value();
  if (taken && !context.options.overwrite) throw Error::exists("a key is kept as " + name + " for " + app + " already", "--force replaces it");
  if (context.options.dry_run) return {{app, name, store_key, {}, {}, context.now(), {}}, taken};
  const auto version = ensure_store_key(context);
  op::Plan plan;
  plan.command = "apikey store";
  plan.target = app + "/" + name;
  plan.begin = sealing_begin(context, version);
  StoreResult result;
  result.replaced = taken;
  context.run(plan, [&] {
    result.record = seal(context, version, app, name, value);
    return op::Outcome{{result.record.change()}, {{"key", version.label()}, {"replaced", taken}}};
  });
  return result;
}

bool of_this_record(const Error& error) {
  return error.exit() == ExitCode::refused || error.exit() == ExitCode::missing || error.exit() == ExitCode::damaged;
}

Resealed reseal(op::Context& context) {
  const auto version = ensure_store_key(context);
  Resealed result;
  std::vector<StoredRecord> stale;
  for (auto& record : stored_keys(context)) {
    if (record.key == version.label()) continue;
    try {
      require_opens(context, record);
      stale.push_back(std::move(record));
    } catch (const Error& error) {
      if (!of_this_record(error)) throw;
      result.left.push_back({record.id(), error.message(), error.hint()});
    }
  }
  if (stale.empty() || context.options.dry_run) {
    result.sealed = std::move(stale);
    return result;
  }
  op::Plan plan;
  plan.command = "apikey store --reseal";
  plan.target = version.label();
  plan.begin = {op::reserve_invocations(context, version, 2 * stale.size())};
  context.run(plan, [&] {
    op::Outcome outcome;
    for (const auto& record : stale) {
      try {
        auto fresh = seal(context, version, record.app, record.name, unseal(context, record));
        fresh.stored = record.stored;
        fresh.issued = record.issued;
        outcome.changes.push_back(fresh.change());
        result.sealed.push_back(std::move(fresh));
      } catch (const Error& error) {
        if (!of_this_record(error)) throw;
        result.left.push_back({record.id(), error.message(), error.hint()});
      }
    }
    outcome.details = {{"sealed", result.sealed.size()}};
    if (!result.left.empty()) outcome.details["left"] = result.left.size();
    return outcome;
  });
  return result;
}

StoredRecord remove_stored(op::Context& context, const std::string& app, const std::string& name) {
  auto record = find_stored(context, app, name);
  if (!context.options.dry_run) context.note("apikey store --remove", record.id(), {{"key", record.key}}, {{"apikey-store", record.id(), std::nullopt}});
  return record;
}

SecretBytes unseal(op::Context& context, const StoredRecord& record) { return open_one(context, record, "value", record.sealed); }

Mark unseal_mark(op::Context& context, const StoredRecord& record) {
  const auto plain = open_one(context, record, "mark", record.mark);
  if (plain.size() != mark_length) throw Error::tampered("the mark of the key kept as " + record.id() + " is malformed");
  const auto bytes = plain.reveal();
  Mark mark{get32(bytes.subspan(0, 4)), get32(bytes.subspan(4, 4)), {}};
  std::copy(bytes.begin() + 8, bytes.end(), mark.digest.begin());
  return mark;
}

}  // namespace kmtool::apikey
