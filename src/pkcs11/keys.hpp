#pragma once
#include <functional>

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
/// C_UnwrapKey; a value that does not open under this `kek`, `transport key`… is damaged data (65), not a broken token.
CK_OBJECT_HANDLE opened_or_damaged(const ObjectSpec& spec, const char* under, const std::function<CK_OBJECT_HANDLE()>& open);
/// What came out of an unwrapping: held to type and usage; destroyed where it is something else.
FreshObject hold_opened(const Session& session, CK_OBJECT_HANDLE handle, const ObjectSpec& spec);
FreshObject unwrap_key(const Session& session, const Profile& profile, const Wrapped& wrapped, const ObjectSpec& spec);
/// See Token::rewrap.
std::vector<Bytes> rewrap_key(const Session& session, const Profile& profile, const Wrapped& wrapped, const ObjectSpec& spec,
                              const std::vector<Token::WrapTarget>& targets);
FreshObject create_public_half(const Session& session, const Profile& profile, const crypto::PublicKey& key,
                               const ObjectSpec& spec);

// -- transport (transport.cpp) --
/// To a public key that is an object already (RSA) or whose numbers are known (EC).
Bytes wrap_under_public(const Session& session, const Profile& profile, CK_OBJECT_HANDLE public_object, CK_OBJECT_HANDLE key,
                        const Transport& transport);
Bytes wrap_by_agreement(const Session& session, const Profile& profile, const crypto::PublicKey& recipient, CK_OBJECT_HANDLE key,
                        const Transport& transport);
/// See Token::wrap_to.
Bytes wrap_to_public(const Session& session, const Profile& profile, const crypto::PublicKey& recipient, CK_OBJECT_HANDLE key,
                     const Transport& transport);
/// `head`: octets of the value's leading part (transport_head).
CK_OBJECT_HANDLE open_transported(const Session& session, const Profile& profile, CK_OBJECT_HANDLE private_key, ByteView value,
                                  std::size_t head, const Transport& transport, Attributes what);
FreshObject unwrap_transported(const Session& session, const Profile& profile, const Object& private_half, KeyType type,
                               ByteView value, const Transport& transport, const ObjectSpec& spec);
/// CKD number of ANSI X9.63's KDF over a hash; 0 where there is none.
CK_ULONG kdf_number(std::string_view hash);

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
/// Which transports go to, and come in by, this RSA pair of the token's own (probe_transport.cpp).
void probe_rsa_transport(const Session& session, Profile& profile, const KeyPair& pair, const crypto::PublicKey& key);
/// The same for agreement, on a pair made for it.
void probe_agreement(const Session& session, Profile& profile);
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
