#include "kmtool/pkcs11/token.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "keys.hpp"
#include "limits.hpp"
#include "kmtool/pkcs11/survey.hpp"
#include "kmtool/core/text.hpp"
#include "mechanism_names.hpp"
#include "module.hpp"
#include "objects.hpp"

namespace kmtool::pkcs11 {

/// The session lies behind the module, so that it is closed before libp11 releases the slots.
struct Token::Impl {
  explicit Impl(std::shared_ptr<Module> loaded) : module(std::move(loaded)) {}
  std::shared_ptr<Module> module;  ///< also a sibling's
  CK_SLOT_ID slot = 0;
  TokenInfo info;
  bool logged_in = false;
  Session session;
  Profile profile;
  IvSupply ivs;
  std::optional<std::map<Bytes, std::vector<Object>>> remembered;  ///< every object of the token, by CKA_ID
};

Token::Token(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Token::Token(Token&&) noexcept = default;
Token& Token::operator=(Token&&) noexcept = default;
Token::~Token() = default;

namespace {

FileLock take_lock(const std::filesystem::path& path, std::chrono::milliseconds wait) {
  return path.empty() ? FileLock() : FileLock::acquire_to_read(path, wait);
}

bool user_state(CK_STATE state) { return state == CKS_RW_USER_FUNCTIONS || state == CKS_RO_USER_FUNCTIONS; }

}  // namespace

Token Token::open(const ModuleSpec& module, const TokenSelector& selector, const OpenOptions& options) {
  FileLock lock = take_lock(options.lock_file, options.lock_wait);
  auto impl = std::make_unique<Impl>(std::make_shared<Module>(module));
  const Module::Found found = impl->module->select(selector);
  impl->slot = found.slot;
  if (options.login) impl->module->login(found, options);
  lock.release();
  impl->info = impl->module->info(found.slot);
  impl->session = Session(impl->module->functions(), found.slot, options.login);
  const CK_STATE state = impl->session.state();
  impl->logged_in = user_state(state);
  if (options.login && state != CKS_RW_USER_FUNCTIONS) {
    throw Error::unavailable("the token " + printable(found.info.label) + " says nobody is logged in after a login",
                             "the PKCS#11 module breaks its contract, or the token was reset meanwhile; try again");
  }
  return Token(std::move(impl));
}

Token Token::sibling() const {
  auto impl = std::make_unique<Impl>(impl_->module);
  impl->slot = impl_->slot;
  impl->info = impl_->info;
  impl->logged_in = impl_->logged_in;
  impl->profile = impl_->profile;
  impl->session = Session(impl->module->functions(), impl->slot, true);
  return Token(std::move(impl));
}

std::vector<TokenInfo> Token::enumerate(const ModuleSpec& module, const std::filesystem::path& lock_file) {
  const FileLock lock = take_lock(lock_file, OpenOptions{}.lock_wait);
  const Module loaded(module);
  std::vector<TokenInfo> out;
  for (const auto& found : loaded.tokens()) out.push_back(found.info);
  return out;
}

const TokenInfo& Token::info() const { return impl_->info; }
bool Token::logged_in() const { return impl_->logged_in; }

// -- profile --------------------------------------------------------------------------------------------------------

Profile Token::probe() { return probe_token(impl_->session, impl_->module->functions(), impl_->slot); }
void Token::use_profile(Profile profile) { impl_->profile = std::move(profile); }
const Profile& Token::profile() const { return impl_->profile; }

std::vector<Token::MechanismLine> Token::mechanisms() {
  const CK_FUNCTION_LIST* functions = impl_->module->functions();
  CK_ULONG count = 0;
  if (const CK_RV rv = functions->C_GetMechanismList(impl_->slot, nullptr, &count); rv != CKR_OK) fail(rv, "C_GetMechanismList");
  if (count > 65536) throw Error::internal("C_GetMechanismList: the module counts more than 65536 mechanisms");
  std::vector<CK_MECHANISM_TYPE> numbers(count);
  if (const CK_RV rv = functions->C_GetMechanismList(impl_->slot, numbers.data(), &count); rv != CKR_OK) {
    fail(rv, "C_GetMechanismList");
  }
  numbers.resize(std::min<std::size_t>(count, numbers.size()));
  std::vector<MechanismLine> out;
  for (const CK_MECHANISM_TYPE number : numbers) {
    CK_MECHANISM_INFO info{};
    if (functions->C_GetMechanismInfo(impl_->slot, number, &info) != CKR_OK) continue;
    out.push_back({number, mechanism_name(number), info.ulMinKeySize, info.ulMaxKeySize, mechanism_flags(info.flags)});
  }
  std::ranges::sort(out, {}, &MechanismLine::number);
  return out;
}

Trials Token::try_attacks() { return try_attacks_on(impl_->session); }

Bytes Token::random(std::size_t n) { return impl_->session.random(n); }

// -- finding --------------------------------------------------------------------------------------------------------

bool Token::remember_objects(std::size_t most, int sessions) {
  impl_->remembered = all_objects(impl_->session, most, static_cast<std::size_t>(std::max(1, sessions)),
                                  [this] { return Session(impl_->module->functions(), impl_->slot, true); });
  return impl_->remembered.has_value();
}

void Token::forget_objects() { impl_->remembered.reset(); }

std::map<Bytes, std::vector<Object>> Token::locate(const std::vector<Bytes>& ids) {
  if (impl_->remembered) {
    std::map<Bytes, std::vector<Object>> out;
    for (const Bytes& id : ids) {
      const auto found = impl_->remembered->find(id);
      if (!id.empty() && found != impl_->remembered->end()) out.insert(*found);
    }
    return out;
  }
  return locate_objects(impl_->session, impl_->profile, ids);
}

std::vector<Object> Token::find_by_id(const Bytes& id) {
  auto found = locate_objects(impl_->session, impl_->profile, {id});
  return found.empty() ? std::vector<Object>{} : std::move(found.begin()->second);
}

std::vector<Object> Token::find_by_label(const std::string& label) {
  // Not only CKA_TOKEN=true: a kill inside SoftHSM's C_CopyObject leaves a file with the key's value, label and id that still says false.
  Attributes filter;
  filter.text(CKA_LABEL, label);
  auto found = find_objects(impl_->session, std::move(filter));
  std::erase_if(found, [&](const Object& object) { return object.label != label; });
  return found;
}

std::vector<Object> Token::find_by_labels(const std::set<std::string>& labels) {
  std::vector<Object> out;
  if (labels.size() <= few_finds && !labels.contains("")) {  // what has no label at all is not found by an empty one
    for (const auto& label : labels) std::ranges::move(find_by_label(label), std::back_inserter(out));
  } else {
    out = find_objects(impl_->session, {});
    std::erase_if(out, [&](const Object& object) { return !labels.contains(object.label); });
  }
  return out;
}

std::vector<Object> Token::scan() {
  if (impl_->remembered) {
    std::vector<Object> out;
    for (const auto& [id, objects] : *impl_->remembered) out.insert(out.end(), objects.begin(), objects.end());
    return out;
  }
  Attributes filter;
  filter.flag(CKA_TOKEN, true);
  return find_objects(impl_->session, std::move(filter));
}

std::vector<Object> Token::find_nameless() {
  Attributes filter;
  filter.flag(CKA_TOKEN, true);
  if (impl_->profile.finds_nameless) filter.text(CKA_LABEL, "").bytes(CKA_ID, {});
  auto found = find_objects(impl_->session, std::move(filter));
  std::erase_if(found, [](const Object& object) { return !object.nameless(); });
  return found;
}

Bytes Token::certificate(const Object& object) {
  if (object.object_class != ObjectClass::certificate) throw Error::internal("only a certificate's value is read");
  return read_certificate(impl_->session, object.handle.value);
}

Limits Token::limits(const Object& key) { return read_limits(impl_->session, key.handle.value); }

Object Token::read(Handle handle) { return read_object(impl_->session, handle.value); }

// -- making ---------------------------------------------------------------------------------------------------------

std::vector<FreshObject> Token::generate(Role role, KeyType type, const std::string& label, const Bytes& id,
                                         bool session_extractable) {
  return generate_key(impl_->session, impl_->profile,
                      {role, require_type(role, type), Part::value, label, id, session_extractable}, Lifetime::session);
}

Object Token::persist(const FreshObject& fresh, bool extractable) {
  impl_->remembered.reset();
  const bool pair = class_of(fresh.spec.type) == KeyClass::pair;
  if (!impl_->profile.copies || (pair && !impl_->profile.private_pairs_copy)) {
    throw Error::unavailable("this token cannot copy a session key to itself",
                             "the key has to be generated on the token directly");
  }
  return persist_object(impl_->session, impl_->profile, fresh, extractable);
}

std::vector<Object> Token::generate_on_token(Role role, KeyType type, const std::string& label, const Bytes& id,
                                             bool extractable) {
  impl_->remembered.reset();
  return generate_key_on_token(impl_->session, impl_->profile,
                               {role, require_type(role, type), Part::value, label, id, extractable});
}

std::vector<std::string> Token::differences(const Object& object, const ObjectSpec& spec, bool imported) const {
  return object_differences(object, spec, imported, impl_->profile);
}

void Token::destroy(Handle handle) {
  impl_->remembered.reset();
  impl_->session.destroy(handle.value);
}

void Token::relabel(Handle handle, const std::string& label) {
  if (impl_->remembered) {
    for (auto& [id, objects] : *impl_->remembered) {
      for (auto& object : objects) {
        if (object.handle == handle) object.label = label;
      }
    }
  }
  impl_->session.set_attributes(handle.value, std::move(Attributes().text(CKA_LABEL, label)));
}

Handle Token::create_anchor_object(const Bytes& id, const std::string& label) {
  impl_->remembered.reset();
  return make_anchor(impl_->session, impl_->profile, id, label);
}

crypto::PublicKey Token::public_key(const Object& public_half) { return public_key_of(public_half); }

// -- wrapping -------------------------------------------------------------------------------------------------------

Bytes Token::wrap(Handle kek, Handle key, WrapAlgorithm algorithm) {
  return impl_->session.wrap(wrap_mechanism(impl_->profile, algorithm), kek.value, key.value);
}

std::optional<WrapAlgorithm> Token::wrap_algorithm(KeyType type, std::string* why) const {
  const Profile& profile = impl_->profile;
  const auto no = [&](std::string reason) {
    if (why != nullptr) *why = std::move(reason);
    return std::nullopt;
  };
  const auto result = profile.wraps.find(std::string(to_text(type)));
  if (profile.kwp_mechanism == 0 && profile.kw_mechanism == 0) return no("this token has neither AES-KWP nor AES-KW");
  if (result == profile.wraps.end()) return no(fmt::format("this token does not make {} keys", to_text(type)));
  if (result->second != "yes") return no(fmt::format("this token does not wrap {} keys ({})", to_text(type), result->second));
  if (profile.kwp_mechanism != 0) return WrapAlgorithm::aes_kwp;
  // RFC 3394 has no padding; a pair is PKCS#8 of any length.
  if (value_length(type) == 0) return no(fmt::format("this token has AES-KW only, which does not take {} keys", to_text(type)));
  return WrapAlgorithm::aes_kw;
}

FreshObject Token::unwrap(Handle kek, WrapAlgorithm algorithm, ByteView wrapped, const ObjectSpec& spec, bool session_extractable,
                          const crypto::PublicKey* public_half) {
  ObjectSpec wanted = spec;
  wanted.extractable = session_extractable;
  return unwrap_key(impl_->session, impl_->profile, {kek, algorithm, wrapped, public_half}, wanted);
}

std::vector<Bytes> Token::rewrap(Handle kek, WrapAlgorithm algorithm, ByteView wrapped, const ObjectSpec& spec,
                                 const crypto::PublicKey* public_half, const std::vector<WrapTarget>& targets) {
  ObjectSpec wanted = spec;
  wanted.extractable = true;
  return rewrap_key(impl_->session, impl_->profile, {kek, algorithm, wrapped, public_half}, wanted, targets);
}

FreshObject Token::create_public(const crypto::PublicKey& key, const ObjectSpec& spec) {
  return create_public_half(impl_->session, impl_->profile, key, spec);
}

std::string Token::wrap_mechanism_name(WrapAlgorithm algorithm) const {
  return mechanism_name(wrap_mechanism(impl_->profile, algorithm).type);
}

// -- transport ------------------------------------------------------------------------------------------------------

namespace {

void require_known(const std::vector<std::string>& known, const Transport& transport, const char* does) {
  if (std::ranges::find(known, to_text(transport)) != known.end()) return;
  throw Error::unavailable(fmt::format("this token does not {} {}", does, to_text(transport)),
                           known.empty() ? "it does so with no algorithm that kmtool knows" : "it does " + join(known, ", "));
}

}  // namespace

Bytes Token::wrap_to(const crypto::PublicKey& recipient, Handle key, const Transport& transport) {
  require_known(impl_->profile.transports_out, transport, "wrap to public keys by");
  return wrap_to_public(impl_->session, impl_->profile, recipient, key.value, transport);
}

FreshObject Token::unwrap_from(const Object& private_half, KeyType type, const Transport& transport, ByteView wrapped,
                               const ObjectSpec& spec, bool session_extractable) {
  require_known(impl_->profile.transports_in, transport, "open what was wrapped by");
  ObjectSpec wanted = spec;
  wanted.extractable = session_extractable;
  return unwrap_transported(impl_->session, impl_->profile, private_half, type, wrapped, transport, wanted);
}

std::string Token::transport_mechanism_name(const Transport& transport) {
  return mechanism_name(transport.kind == Transport::Kind::ecdh_kwp ? CKM_ECDH1_DERIVE : CKM_RSA_PKCS_OAEP);
}

// -- sealing and signing --------------------------------------------------------------------------------------------

Bytes Token::hmac_sha256(Handle key, ByteView data) { return hmac_tag(impl_->session, key.value, data); }
Bytes Token::sign_ecdsa(Handle private_key, ByteView digest) { return ecdsa_der(impl_->session, private_key.value, digest); }
Bytes Token::sign_ed25519(Handle private_key, ByteView message) { return eddsa(impl_->session, private_key.value, message); }
Bytes Token::sign_rsa_pss(Handle private_key, ByteView digest) { return rsa_pss(impl_->session, private_key.value, digest); }
Bytes Token::hmac(Handle key, KeyType type, const Feed& next) { return hmac_tag_of(impl_->session, key.value, type, next); }
bool Token::hmac_verify(Handle key, KeyType type, const Feed& next, ByteView tag) {
  return hmac_tag_good(impl_->session, impl_->profile, key.value, type, next, tag);
}

std::size_t Token::gcm_seal(Handle key, ByteView associated, ByteView plain, std::span<std::uint8_t> out) {
  return seal_gcm(impl_->session, key.value, impl_->ivs.next(impl_->session), associated, plain, out);
}

std::size_t Token::gcm_open(Handle key, ByteView associated, ByteView sealed, std::span<std::uint8_t> out) {
  return open_gcm(impl_->session, impl_->profile, key.value, associated, sealed, out);
}

bool Token::private_matches(const Object& private_half, const crypto::PublicKey& key) {
  return private_half_matches(impl_->session, impl_->profile, private_half, key);
}

bool Token::same_key(const Object& a, const Object& b, Role role, Part part) {
  return keys_equal(impl_->session, impl_->profile, a, b, role, part);
}

}  // namespace kmtool::pkcs11
