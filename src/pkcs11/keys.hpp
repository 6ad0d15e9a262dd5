#pragma once
#include "cryptoki.hpp"
#include "kmtool/pkcs11/token.hpp"
#include "templates.hpp"

/// What Token's methods do, over a session and a profile: tier two without the token's state.
namespace kmtool::pkcs11 {

// -- making (generate.cpp) --
/// All parts of a key; `spec` gives role, type, label, id and extractable. Nothing is left behind on failure.
std::vector<FreshObject> generate_key(const Session& session, const Profile& profile, const ObjectSpec& spec, Lifetime lifetime);
Object persist_object(const Session& session, const Profile& profile, const FreshObject& fresh, bool extractable);
std::vector<Object> generate_key_on_token(const Session& session, const Profile& profile, const ObjectSpec& spec);
Handle make_anchor(const Session& session, const Profile& profile, const Bytes& id, const std::string& label);

// -- wrapping (wrap.cpp) --
/// The proven mechanism; throws unavailable (69) where the token has none.
Mechanism wrap_mechanism(const Profile& profile, WrapAlgorithm algorithm);
struct Wrapped {
  Handle kek;
  WrapAlgorithm algorithm;
  ByteView value;
  const crypto::PublicKey* public_half;  ///< of the pair, where known
};
FreshObject unwrap_key(const Session& session, const Profile& profile, const Wrapped& wrapped, const ObjectSpec& spec);
/// See Token::rewrap.
std::vector<Bytes> rewrap_key(const Session& session, const Profile& profile, const Wrapped& wrapped, const ObjectSpec& spec,
                              const std::vector<Token::WrapTarget>& targets);
FreshObject create_public_half(const Session& session, const Profile& profile, const crypto::PublicKey& key,
                               const ObjectSpec& spec);

// -- signing (sign.cpp) --
Bytes hmac_tag(const Session& session, CK_OBJECT_HANDLE key, ByteView data);
Bytes ecdsa_der(const Session& session, CK_OBJECT_HANDLE key, ByteView digest);
Bytes eddsa(const Session& session, CK_OBJECT_HANDLE key, ByteView message);
Bytes rsa_pss(const Session& session, CK_OBJECT_HANDLE key, ByteView digest);
Bytes hmac_tag_of(const Session& session, CK_OBJECT_HANDLE key, KeyType type, const Feed& next);
bool hmac_tag_good(const Session& session, const Profile& profile, CK_OBJECT_HANDLE key, KeyType type, const Feed& next, ByteView tag);

// -- encrypting (gcm.cpp) --
/// IVs from the token, many a call: one C_GenerateRandom serves 21 MiB of 64 KiB chunks.
class IvSupply {
 public:
  ByteView next(const Session& session);

 private:
  Bytes drawn_;
  std::size_t used_ = 0;
};
std::size_t seal_gcm(const Session& session, CK_OBJECT_HANDLE key, ByteView iv, ByteView associated, ByteView plain,
                     std::span<std::uint8_t> out);
std::size_t open_gcm(const Session& session, const Profile& profile, CK_OBJECT_HANDLE key, ByteView associated, ByteView sealed,
                     std::span<std::uint8_t> out);

// -- comparing (compare.cpp) --
bool private_half_matches(const Session& session, const Profile& profile, const Object& private_half,
                          const crypto::PublicKey& key);
/// Does the token's unwrapping with this private key open what the host encrypted with this hash to `key`?
bool oaep_opens(const Session& session, CK_OBJECT_HANDLE private_key, const crypto::PublicKey& key, const std::string& hash);
bool keys_equal(const Session& session, const Profile& profile, const Object& a, const Object& b, Role role, Part part);

// -- probing (probe.cpp, probe_wrap.cpp) --
Profile probe_token(const Session& session, const CK_FUNCTION_LIST* functions, CK_SLOT_ID slot);
/// Fills in the wrapping mechanisms of the profile.
void probe_wrapping(const Session& session, Profile& profile);
// -- trying the known attacks (trials.cpp) --
Trials try_attacks_on(const Session& session);
/// Runs it; the CKR name of what it threw, or empty. What is_fatal() says is fatal goes through.
template <class Action>
std::string attempt(Action&& action) {
  try {
    action();
    return {};
  } catch (const Error& error) {
    if (is_fatal(error)) throw;
    return error.code();
  }
}

}  // namespace kmtool::pkcs11
