#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "kmtool/bundle/request.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/core/words.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/op/kek_out.hpp"

namespace kmtool::op {

namespace {

constexpr std::size_t largest_file = std::size_t{1} << 20;

/// Hexadecimal as people write it (colons, blanks and capitals are no difference), or its words.
std::string plain_fingerprint(const std::string& text) {
  if (const auto spoken = bytes_of_words(text); spoken && spoken->size() == 32) return hex(*spoken);
  std::string digits;
  for (const char c : text) {
    if (c != ':' && c != ' ' && c != '-') digits += c;
  }
  const auto value = from_hex(digits);
  if (!value || value->size() != 32) {
    throw Error::usage(printable(text.substr(0, 100)) + " is not the fingerprint of a public key", "it is a sha-256: 64 hexadecimal digits, or 32 words; kmtool show NAME prints both at the receiving site");
  }
  return hex(*value);
}

/// A public key as it was brought here.
struct Brought {
  std::string file;
  crypto::PublicKey key;
  std::optional<bundle::SignedRequest> request;
};

/// A public key that a KEK went to before, as the catalog has it.
struct Recorded {
  crypto::PublicKey key;
  std::string label, algorithm;
  std::optional<UnixTime> expires;
};

std::optional<Recorded> recorded_key(Context& context, const std::string& fingerprint) {
  const auto item = context.journal().proven("public-key", fingerprint);
  if (!item) return std::nullopt;
  const Json json = item->json();
  JsonReader reader(json, [&](const std::string& what) { throw Error::tampered("catalog row public-key " + fingerprint + ": " + what, "run kmtool doctor"); });
  Recorded recorded{crypto::PublicKey::from_spki(reader.base64("public")), reader.text("label"), reader.text("algorithm"), std::nullopt};
  if (const auto text = reader.optional_text("expires")) recorded.expires = parse_rfc3339(*text);
  reader.finish();
  if (recorded.key.fingerprint() != fingerprint) {
    throw Error::tampered("catalog row public-key " + fingerprint + " holds another key (" + recorded.key.fingerprint() + ")", "run kmtool doctor");
  }
  return recorded;
}

Brought bring(const std::filesystem::path& path) {
  const auto text = read_file(path, largest_file);
  if (!bundle::looks_like_request(text)) return {path.string(), crypto::PublicKey::from_pem(text, path.string()), std::nullopt};
  auto request = bundle::read_request(text, path.string());
  auto key = crypto::PublicKey::from_spki(request.request.public_spki);
  return {path.string(), std::move(key), std::move(request)};
}

/// Whose word a request is; empty: of someone unknown. A signature that is falsely in the name of a known one throws damaged.
std::string signer_of(const Context& context, const Brought& brought) {
  if (!brought.request) return {};
  for (const auto& pinned : context.trusted()) {
    if (bundle::signature_by(*brought.request, crypto::PublicKey::from_spki(pinned.spki), brought.file)) return pinned.name;
  }
  for (const auto& signer : context.signers()) {
    if (signer.use != "document" || signer.state == "compromised") continue;
    if (bundle::signature_by(*brought.request, crypto::PublicKey::from_spki(signer.spki), brought.file)) return "this home";
  }
  return {};
}

[[noreturn]] void not_the_pinned(const Brought& brought, const std::string& expected) {
  throw Error::refused("G-TRANSPORT",
                       fmt::format("the key in {} has the fingerprint {}, not {}", brought.file, brought.key.fingerprint(), expected),
                       "it is not the key that the receiving site named: find out who changed it before anything is exported");
}

std::string pinned_by(const Context& context, const KekDestinations& destinations, const Brought& brought, std::set<std::string>& pins) {
  const auto fingerprint = brought.key.fingerprint();
  const auto signer = signer_of(context, brought);
  if (pins.erase(fingerprint) != 0) return "--fingerprint";
  if (!signer.empty()) return signer == "this home" ? "a request of this home" : "the request that " + signer + " signed";
  if (destinations.fingerprints.size() == 1 && destinations.public_keys.size() == 1) not_the_pinned(brought, *pins.begin());
  if (!destinations.fingerprints.empty()) {
    throw Error::refused("G-TRANSPORT", fmt::format("none of the fingerprints is that of the key in {} ({})", brought.file, fingerprint),
                         "name the fingerprint of every key; find out who changed it before anything is exported");
  }
  if (brought.request) {
    throw Error::refused("G-TRANSPORT", fmt::format("the request {} is signed by someone unknown ({})", brought.file, brought.request->signature.key),
                         "pin the receiving site's signer with kmtool signer trust PEM --name N, or give --fingerprint HEX");
  }
  throw Error::usage("--to-public-key " + brought.file + " needs --fingerprint HEX",
                     "have the receiving site read it to you (kmtool show NAME there); a request of a pinned site needs none");
}

/// This home's version whose public half it is; of several, which are one key, that by which it is judged: compromised is all of them, else one
/// that is active will do.
std::optional<VersionRecord> own_version(const Context& context, const std::string& fingerprint) {
  const auto rank = [](State state) { return state == State::compromised ? 3 : state == State::active ? 2 : state == State::destroyed ? 0 : 1; };
  std::optional<VersionRecord> found;
  for (auto& version : context.versions()) {
    if (version.role != Role::transport || !version.public_spki || (found && rank(found->state) >= rank(version.state))) continue;
    if (crypto::PublicKey::from_spki(*version.public_spki).fingerprint() == fingerprint) found = std::move(version);
  }
  return found;
}

/// What is not this home's is as its request says, and active where nothing is said.
policy::KeyFacts facts_of(const Context& context, const Brought& brought, KeyType type) {
  policy::KeyFacts facts{"transport key " + brought.key.fingerprint().substr(0, 16), Role::transport, type, strength_of(type), State::active, false, {}};
  if (const auto own = own_version(context, brought.key.fingerprint())) {
    facts.label = "transport key " + own->label();
    facts.state = own->state;
    facts.originator_end = own->expires;
    return facts;
  }
  if (!brought.request) return facts;
  const auto& request = brought.request->request;
  facts.label = "transport key " + label_of(request.name, request.version);
  facts.state = request.state;
  facts.originator_end = request.expires;
  return facts;
}

std::string listed(const std::vector<Transport>& transports) {
  std::vector<std::string> names;
  names.reserve(transports.size());
  for (const auto& transport : transports) names.emplace_back(to_text(transport));
  return names.empty() ? "nothing" : join(names, ", ");
}

/// The best that this token does, the other is said to open, and was asked for.
Transport choose(const pkcs11::Profile& profile, const KekDestinations& destinations, const Brought& brought, KeyType type) {
  std::vector<Transport> here, both;
  for (const auto& transport : all_transports()) {
    if (!fits(transport, type)) continue;
    if (std::ranges::find(profile.transports_out, to_text(transport)) == profile.transports_out.end()) continue;
    here.push_back(transport);
    if (brought.request && std::ranges::find(brought.request->request.algorithms, transport) == brought.request->request.algorithms.end()) continue;
    if (destinations.algorithm.empty() || destinations.algorithm == to_text(transport)) both.push_back(transport);
  }
  if (!both.empty()) return both.front();
  std::string what = fmt::format("there is no algorithm for {} ({}): this token wraps by {}", brought.file, to_text(type), listed(here));
  if (brought.request) what += ", the receiving one opens " + listed(brought.request->request.algorithms);
  if (!destinations.algorithm.empty()) what += ", and " + destinations.algorithm + " was asked for";
  throw Error::unavailable(what, is_rsa(type) ? "choose another --algorithm, or a transport key on a token that opens one of these"
                                              : "use an rsa transport key: agreement needs a token that derives with a kdf on both sides");
}

KeyType type_of(const Brought& brought) {
  const auto type = brought.key.type();
  const auto& types = types_of(Role::transport);
  if (!type || std::find(types.begin(), types.end(), *type) == types.end()) {
    std::vector<std::string> names;
    names.reserve(types.size());
    for (const KeyType each : types) names.emplace_back(to_text(each));
    throw Error::refused("G-KEK", fmt::format("the key in {} is {}: no kek goes to such a key", brought.file, brought.key.description()),
                         "a transport key is one of " + join(names, ", "));
  }
  return *type;
}

/// All but what pins it.
KekRecipient public_recipient(Context& context, const KekDestinations& destinations, const Brought& brought) {
  const auto type = type_of(brought);
  KekRecipient recipient;
  recipient.facts = facts_of(context, brought, type);
  recipient.line.type = type;
  recipient.line.strength = strength_of(type);
  recipient.line.public_key = brought.key.fingerprint();
  recipient.line.transport = choose(context.token().profile(), destinations, brought, type);
  recipient.line.mechanism = pkcs11::Token::transport_mechanism_name(recipient.line.transport);
  recipient.key = brought.key;
  return recipient;
}

/// The key as it was pinned then; by the algorithm that its holder opened then, unless another is asked for.
KekRecipient recorded_recipient(Context& context, KekDestinations destinations, const std::string& fingerprint) {
  const auto recorded = recorded_key(context, fingerprint);
  if (!recorded) throw Error::missing("the catalog has no public key " + fingerprint, "give it with --to-public-key PEM --fingerprint " + fingerprint);
  if (destinations.algorithm.empty()) destinations.algorithm = recorded->algorithm;
  auto recipient = public_recipient(context, destinations, {recorded->label, recorded->key, std::nullopt});
  if (!own_version(context, fingerprint)) {
    recipient.facts.label = recorded->label;
    recipient.facts.originator_end = recorded->expires;
  }
  recipient.pinned_by = "the journal: it was pinned for the backup before";
  return recipient;
}

KekRecipient parent_recipient(Context& context, const VersionRecord& version) {
  const auto algorithm = context.token().wrap_algorithm(KeyType::hmac_sha256);
  std::string why;
  if (!algorithm || !context.token().wrap_algorithm(KeyType::aes256, &why)) {
    throw Error::unavailable("this token cannot wrap a kek under another: " + why, "export it to a public key");
  }
  KekRecipient recipient;
  recipient.parent = keks_on_token(context, {version}, context.objects_of({version})).front();
  recipient.facts = version.facts();
  recipient.line = {version.label(), version.id, version.type, strength_of(version.type), *algorithm, context.token().wrap_mechanism_name(*algorithm)};
  return recipient;
}

}  // namespace

bool public_key_recorded(Context& context, const std::string& fingerprint) { return context.journal().proven("public-key", fingerprint).has_value(); }

std::vector<journal::Change> public_key_rows(const std::vector<KekRecipient>& recipients) {
  std::vector<journal::Change> rows;
  for (const auto& recipient : recipients) {
    if (!recipient.key) continue;
    Json json;
    json["public"] = base64(recipient.key->spki());
    json["label"] = recipient.facts.label;
    json["algorithm"] = to_text(recipient.line.transport);
    if (recipient.facts.originator_end) json["expires"] = rfc3339(*recipient.facts.originator_end);
    rows.push_back({"public-key", recipient.line.public_key, json});
  }
  return rows;
}

std::vector<BundleRecord> backups_of_kek(const Context& context, const VersionRecord& version) {
  if (version.role != Role::kek) return {};
  std::set<std::string> labels{version.label()};  // one that was destroyed and came back under another name keeps its CKA_ID
  for (const auto& other : context.versions()) {
    if (other.role == Role::kek && other.id == version.id) labels.insert(other.label());
  }
  auto bundles = context.bundles();
  std::erase_if(bundles, [&](const auto& bundle) {
    if (bundle.kind != "kek" || !bundle.kept_for.empty()) return true;
    const auto held = context.bundle_keys(bundle.id);
    return held.size() != 1 || !labels.contains(held.front());
  });
  std::ranges::stable_sort(bundles, {}, &BundleRecord::created);
  return bundles;
}

std::vector<KekRecipient> resolve_recipients(Context& context, const KekDestinations& destinations) {
  if (destinations.empty()) {
    throw Error::usage("to whom shall the kek go?", "--to-kek PARENT, or --to-public-key PEM --fingerprint HEX; each may be repeated");
  }
  if (!destinations.algorithm.empty() && !transport_from(destinations.algorithm)) {
    throw Error::usage("unknown transport algorithm " + printable(destinations.algorithm), "those that there are: " + listed(all_transports()));
  }
  std::vector<KekRecipient> recipients;
  if (!destinations.parents.empty()) {
    for (const auto& version : resolve_keks(context, destinations.parents)) recipients.push_back(parent_recipient(context, version));
  }
  std::set<std::string> pins, seen;
  for (const auto& text : destinations.fingerprints) pins.insert(plain_fingerprint(text));
  for (const auto& path : destinations.public_keys) {
    const auto brought = bring(path);
    if (!seen.insert(brought.key.fingerprint()).second) throw Error::usage("the key in " + brought.file + " was named twice", "name each public key once");
    recipients.push_back(public_recipient(context, destinations, brought));
    recipients.back().pinned_by = pinned_by(context, destinations, brought, pins);
  }
  for (const auto& fingerprint : destinations.recorded) recipients.push_back(recorded_recipient(context, destinations, fingerprint));
  if (!pins.empty()) throw Error::usage("--fingerprint " + *pins.begin() + " is that of none of the public keys", "give each key its own, and no other");
  return recipients;
}

}  // namespace kmtool::op
