#include "kmtool/keys/adopt.hpp"

#include <algorithm>
#include <functional>
#include <set>

#include "keys/candidate.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/reason.hpp"
#include "kmtool/op/invocations.hpp"
#include "kmtool/op/object_facts.hpp"
#include "kmtool/op/objects.hpp"

namespace kmtool::keys {

namespace {

using pkcs11::Object;

/// Of what comes back deactivated; by this text adopt() knows what nobody has touched since.
constexpr const char* state_unknown = "adopted: what became of it before is not known";

bool has(const std::optional<bool>& flag) { return flag.value_or(false); }

void say_flaws(op::Context& context, Candidate& candidate) {
  auto& version = candidate.version;
  const auto traits = op::token_traits(context.token());
  for (const auto& [part, object] : candidate.parts) {
    for (auto& text : context.token().differences(object, spec_of(version, part), true)) version.flaws.push_back(std::move(text));
    if (part == Part::public_half) {
      version.public_spki = context.token().public_key(object).spki();
      continue;
    }
    const Usage wanted = usage_of(version.role, version.type, part);
    std::vector<std::string> more;
    const auto beyond = [&](const std::optional<bool>& flag, bool meant, const char* name) {
      if (has(flag) && !meant) more.emplace_back(name);
    };
    beyond(object.encrypt, wanted.encrypt, "encrypt");
    beyond(object.decrypt, wanted.decrypt, "decrypt");
    beyond(object.sign, wanted.sign, "sign");
    beyond(object.verify, wanted.verify, "verify");
    beyond(object.wrap, wanted.wrap, "wrap");
    beyond(object.unwrap, wanted.unwrap, "unwrap");
    beyond(object.derive, wanted.derive, "derive");
    if (!more.empty()) version.flaws.push_back("usages beyond its role: " + join(more, ", "));
    // What audit keys would find of it.
    for (const auto& finding : policy::audit_object(context.home.policy, traits, op::object_facts(context.token(), object), context.now())) {
      auto text = finding.check + ": " + finding.evidence;
      if (std::ranges::find(version.flaws, text) == version.flaws.end()) version.flaws.push_back(std::move(text));  // of both parts of a KEK once
    }
    if (object.label.empty()) version.flaws.emplace_back("no label");
  }
}

/// Keys on the token that this home does not manage, by CKA_ID; anchors and signers are left out, whosever they are.
struct Unmanaged {
  std::map<Bytes, std::vector<Object>> groups;
  std::set<std::string> homes;  ///< the others that this token serves
};

Unmanaged unmanaged(op::Context& context) {
  std::set<Bytes> known{context.home.config.anchor_id()};
  for (const auto& version : context.versions()) known.insert(version.id);
  for (const auto& signer : context.signers()) known.insert(signer.id);
  Unmanaged found;
  auto objects = context.token().scan();
  found.homes = op::other_homes(context, objects);
  for (auto& object : objects) {
    if (!op::is_key(object) || !op::home_named_by(object).empty() || (known.contains(object.id) && !object.id.empty())) continue;
    found.groups[object.id].push_back(std::move(object));
  }
  return found;
}

/// `--from-home`: this home's id, or that of another one which the token serves; eight characters of it will do.
void require_known_home(const op::Context& context, const AdoptRequest& request, const std::set<std::string>& homes) {
  constexpr std::size_t short_name = 8;
  const auto& asked = request.from_home;
  const auto is = [&](const std::string& home) { return asked.size() >= short_name && (home.starts_with(asked) || asked.starts_with(home)); };
  if (asked.empty() || is(context.home.config.home_id) || std::ranges::any_of(homes, is)) return;
  const auto others = printable(join({homes.begin(), homes.end()}, ", "));
  throw Error::missing("no home " + printable(asked) + " has an anchor or a signer on this token",
                       "this home is " + context.home.config.home_id + (others.empty() ? "" : "; the other: " + others));
}

/// Nothing on a token that several homes use tells whose a key is: only the user can, and it is put on record.
void require_said_whose(const op::Context& context, const AdoptRequest& request, const std::set<std::string>& homes, const std::string& what) {
  if (homes.empty() || !request.from_home.empty()) return;
  const auto others = printable(join({homes.begin(), homes.end()}, ", "));
  throw Error::refused("G-WHERE", "this token serves another home too (" + others + "), and nothing tells whose " + what,
                       "leave it to that home; where it is this home's, or that home is given up: --from-home " + context.home.config.home_id + " or " + *homes.begin());
}

std::string described(const std::vector<Object>& objects) {
  const auto& first = objects.front();
  return "\"" + printable(first.label) + "\" (id " + (first.id.empty() ? "none" : hex(first.id)) + ")";
}

/// The one group that label or id name.
std::vector<Object> chosen(op::Context& context, const AdoptRequest& request, Unmanaged& all) {
  std::vector<std::vector<Object>> matches;
  for (auto& [id, objects] : all.groups) {
    const bool fits = std::any_of(objects.begin(), objects.end(), [&](const Object& object) {
      return (request.label.empty() || object.label == request.label) && (request.id.empty() || object.id == request.id);
    });
    if (fits) matches.push_back(std::move(objects));
  }
  const auto asked = request.label.empty() ? "id " + hex(request.id) : "label " + printable(request.label);
  if (matches.empty()) {
    const auto managed = request.label.empty() ? context.token().find_by_id(request.id) : context.token().find_by_label(request.label);
    if (!managed.empty()) throw Error::exists("the object with " + asked + " is managed already, or is no key", "kmtool list shows what is managed");
    throw Error::missing("the token has no object with " + asked, "pkcs11-tool --list-objects shows what it has");
  }
  if (matches.size() > 1) throw Error::tampered("several objects have the " + asked + "; kmtool does not guess", "name one by --id");
  return std::move(matches.front());
}

std::vector<policy::Waiver> judge(op::Context& context, const op::VersionRecord& version) {
  auto violations = policy::judge_token(context.home.policy, context.token_facts());
  for (auto& violation : policy::judge_key(context.home.policy, version.role, version.type, version.extractable, false)) violations.push_back(std::move(violation));
  return policy::enforce(context.home.policy, violations, context.options.waivers);
}

/// What is being adopted, and the keys that it belongs to as they will be.
class Batch {
 public:
  Batch(op::Context& context, const AdoptRequest& request) : context_(context), request_(request) {}

  [[nodiscard]] std::optional<op::KeyRecord> key(const std::string& name) const {
    const auto found = keys_.find(name);
    return found == keys_.end() ? context_.find_key(name) : found->second;
  }
  /// Why a candidate cannot be the version that its label says; empty: it can.
  [[nodiscard]] std::string unlike(const Candidate& candidate) const {
    const auto& was = candidate.was.value();
    const auto known = key(was.name);
    if (known && known->role != candidate.version.role) return "key " + was.name + " is of the role " + std::string(to_text(known->role));
    const bool taken = context_.find_version(was.name, *was.version) || std::ranges::any_of(result_.keys, [&](const auto& other) { return other.label() == was.text(); });
    return taken ? "there is already a " + was.text() : std::string();
  }
  void take(Candidate candidate, const std::string& name) {
    auto& version = candidate.version;
    const bool returns = candidate.was && candidate.was->name == name;
    auto known = key(name);
    version.name = name;
    version.version = returns ? *candidate.was->version : 1;
    const bool active = may_be_active(candidate, known);
    if (returns) version.token_label.clear();
    // It could leave the token once: for the backup at its birth, which its successor shall have too.
    const auto could_leave = [](const auto& part) { return part.second.never_extractable == false; };
    version.backed_up = returns && !version.extractable && std::ranges::any_of(candidate.parts, could_leave);
    if (returns && version.role == Role::data) uncounted_.push_back(version.id);
    complete(version, known ? known->cryptoperiod : std::nullopt, active);
    if (active && candidate.was) version.reason = said_to_be_good();
    say_flaws(context_, candidate);
    version.waivers = judge(context_, version);
    if (!known) known = new_key(version);
    if (active) known->active = version.version;
    known->latest = std::max(known->latest, version.version);
    note_whose(*known);
    for (const auto& [part, object] : candidate.parts) adopted_.push_back(object);
    keys_[name] = *std::move(known);
    result_.keys.push_back(std::move(version));
  }
  /// A version that came back, and of which it is now said that it may be used.
  void activate(op::VersionRecord version, op::KeyRecord key) {
    version.state = State::active;
    version.reason = said_to_be_good();
    version.activated = context_.now();
    version.changed = context_.now();
    key.active = version.version;
    note_whose(key);
    keys_[key.name] = std::move(key);
    result_.keys.push_back(std::move(version));
  }
  /// What came back and may be active() as far as the record goes: the newest version of a key that has no active one.
  [[nodiscard]] std::vector<op::VersionRecord> waiting() const {
    auto versions = context_.versions();
    std::erase_if(versions, [&](const auto& version) {
      const auto known = key(version.name);
      return version.origin != "adopted" || version.state != State::deactivated || version.reason != state_unknown || version.role == Role::kek ||
             !known || known->active || known->latest != version.version;
    });
    return versions;
  }
  AdoptResult& result() { return result_; }
  /// They are explained now: what an accepted restore said of them goes.
  [[nodiscard]] std::vector<journal::Change> found_no_more() const { return op::found_no_more(context_, adopted_); }
  [[nodiscard]] std::vector<journal::Change> rows() const {
    std::vector<journal::Change> changes;
    for (const auto& [name, key] : keys_) changes.push_back(key.change());
    for (const auto& version : result_.keys) {
      changes.push_back(version.change());
      if (std::ranges::find(uncounted_, version.id) == uncounted_.end()) continue;
      // Nobody knows how often it has encrypted: reserve_invocations() refuses.
      const Json value{{"key", version.label()}, {"used", op::invocations_of(context_, version).used}, {"uncertain", true}};
      changes.push_back({"gcm", hex(version.id), value});
    }
    return changes;
  }

 private:
  /// Nobody knows what became of what comes back, and somebody has to say that it is good; nothing new is wrapped under a KEK whose making is
  /// not on record.
  [[nodiscard]] bool may_be_active(const Candidate& candidate, const std::optional<op::KeyRecord>& known) const {
    if (candidate.version.role == Role::kek || (candidate.was && !request_.activate)) return false;
    return !known || (!known->active && candidate.version.version > known->latest);
  }
  void note_whose(op::KeyRecord& key) const {
    if (!request_.owner.empty()) key.owner = request_.owner;
    if (!request_.application.empty()) key.application = request_.application;
  }
  static std::string said_to_be_good() { return "adopted: said to be neither compromised nor suspended"; }
  void complete(op::VersionRecord& version, std::optional<std::int64_t> period, bool active) const {
    version.state = active ? State::active : State::deactivated;
    version.created = context_.now();
    version.activated = context_.now();
    version.changed = context_.now();
    version.reason = active ? "adopted" : state_unknown;
    version.expires = policy::originator_end(context_.home.policy, version.role, context_.now(), period);
    version.token_serial = context_.token().info().serial;
  }
  [[nodiscard]] op::KeyRecord new_key(const op::VersionRecord& version) const {
    op::KeyRecord key;
    key.name = version.name;
    key.role = version.role;
    key.type = version.type;
    key.created = version.created;
    return key;
  }

  op::Context& context_;
  const AdoptRequest& request_;
  std::map<std::string, op::KeyRecord> keys_;
  std::vector<Object> adopted_;
  std::vector<Bytes> uncounted_;  ///< ids of data keys that came back
  AdoptResult result_;
};

/// A name for a label: bad characters become hyphens; a number is added where the name is taken.
std::string name_for(const Batch& batch, const std::string& label) {
  std::string name;
  for (const char c : label.substr(0, 56)) {
    const bool good = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-';
    name += good ? c : '-';
  }
  if (name.empty() || std::isalnum(static_cast<unsigned char>(name[0])) == 0) name = "key" + name;
  auto free = name;
  for (int i = 2; batch.key(free); ++i) free = name + "-" + std::to_string(i);
  return free;
}

/// A version of a key that is there is taken back unasked only where the token says that it made it (CKA_LOCAL): another value would be
/// trusted by its name.
void require_generated(const Candidate& candidate) {
  for (const auto& [part, object] : candidate.parts) {
    if (part == Part::public_half || object.local.value_or(true)) continue;
    throw Unfit{"the token does not say that it was generated there: kmtool adopt " + candidate.was->name + " --label " + candidate.was->text() + " takes it back where you know it", ""};
  }
}

void adopt_all(op::Context& context, const AdoptRequest& request, Batch& batch) {
  const auto all = unmanaged(context);
  require_known_home(context, request, all.homes);
  require_said_whose(context, request, all.homes, "the keys on it are");
  auto& skipped = batch.result().skipped;
  const auto trying = [&](const std::vector<Object>& objects, auto&& what) {
    try {
      what();
    } catch (const Unfit& unfit) {
      const auto how = unfit.wants.empty() ? "" : ": kmtool adopt NAME --id " + hex(objects.front().id) + " " + unfit.wants + " takes it where you know it";
      skipped.push_back({described(objects), unfit.why + how});
    } catch (const Error& error) {
      if (error.exit() != ExitCode::refused) throw;
      skipped.push_back({described(objects), error.message()});
    }
  };
  std::vector<std::pair<const std::vector<Object>*, Candidate>> found;
  for (const auto& group : all.groups) {
    trying(group.second, [&] { found.emplace_back(&group.second, candidate_of(context, group.second, request)); });
  }
  // The newest version of a key that nobody knows is the one that is in use.
  std::ranges::stable_sort(found, std::greater<>(), [](const auto& one) { return one.second.was ? *one.second.was->version : 0; });
  for (auto& one : found) {
    trying(*one.first, [&] {
      auto& candidate = one.second;
      const bool returns = candidate.was && batch.unlike(candidate).empty();
      const auto name = returns ? candidate.was->name : name_for(batch, candidate.version.token_label);
      if (returns && context.find_key(name)) require_generated(candidate);
      batch.take(std::move(candidate), name);
    });
  }
}

/// The versions that are back already and were asked for by --activate: all of them, or the one that is named.
bool activate_waiting(const AdoptRequest& request, Batch& batch) {
  bool any = false;
  if (!request.activate) return any;
  for (auto& version : batch.waiting()) {
    const bool named = version.name == request.name && (request.label.empty() ? version.id == request.id : version.object_label() == request.label);
    if (!request.all && !named) continue;
    auto key = batch.key(version.name).value();
    batch.activate(std::move(version), std::move(key));
    any = true;
  }
  return any;
}

void adopt_one(op::Context& context, const AdoptRequest& request, Batch& batch) {
  require_name(request.name, "key name");
  auto all = unmanaged(context);
  require_known_home(context, request, all.homes);
  const auto taken = [&](const std::string& why) { return Error::exists(why, "choose another name"); };
  const auto objects = chosen(context, request, all);
  if (std::ranges::any_of(objects, [](const Object& object) { return op::named_as_version(object).has_value(); })) {
    require_said_whose(context, request, all.homes, "the key " + described(objects) + " is");
  }
  try {
    auto candidate = candidate_of(context, objects, request);
    const bool returns = candidate.was && candidate.was->name == request.name;
    if (!returns && context.find_key(request.name)) throw taken("there is already a key " + request.name);
    if (returns && !batch.unlike(candidate).empty()) throw taken(described(objects) + " cannot come back as " + candidate.was->text() + ": " + batch.unlike(candidate));
    batch.take(std::move(candidate), request.name);
  } catch (const Unfit& unfit) {
    throw Error::refused("G-SEALED", described(objects) + " cannot be adopted: " + unfit.why, unfit.hint);
  }
}

}  // namespace

AdoptResult adopt(op::Context& context, const AdoptRequest& request) {
  require_note("--owner", request.owner);
  require_note("--application", request.application);
  Batch batch(context, request);
  if (request.all) {
    adopt_all(context, request, batch);
    activate_waiting(request, batch);  // last: a newer version of the same key may have come back just now
  } else if (!activate_waiting(request, batch)) {
    adopt_one(context, request, batch);
  }
  auto& result = batch.result();
  for (const auto& version : result.keys) {
    const auto key = batch.key(version.name);
    const bool waits = version.reason == state_unknown && version.role != Role::kek && !key->active && key->latest == version.version;
    if (waits) result.waiting.push_back(version);
  }
  if (context.options.dry_run || result.keys.empty()) return std::move(result);
  auto changes = batch.rows();
  for (auto& change : batch.found_no_more()) changes.push_back(std::move(change));
  Json details{{"adopted", Json::array()}};
  if (!request.from_home.empty()) details["from_home"] = request.from_home;
  if (request.activate) details["activate"] = true;
  for (const auto& version : result.keys) {
    if (details["adopted"].size() < 100) details["adopted"].push_back({{"key", version.label()}, {"state", to_text(version.state)}, {"flaws", readable_flaws(version)}});
  }
  const auto target = result.keys.size() == 1 ? result.keys.front().label() : std::to_string(result.keys.size()) + " keys";
  context.note("adopt", target, std::move(details), std::move(changes));
  return std::move(result);
}

std::vector<std::string> readable_flaws(const op::VersionRecord& version) {
  std::vector<std::string> texts;
  for (const auto& flaw : version.flaws) {
    if (!flaw.starts_with("CKA_")) texts.push_back(flaw);
  }
  return texts;
}

}  // namespace kmtool::keys
