#pragma once
#include <chrono>
#include <compare>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "kmtool/core/bytes.hpp"
#include "kmtool/core/lock.hpp"
#include "kmtool/core/secret.hpp"
#include "kmtool/crypto/public_key.hpp"
#include "kmtool/domain/algorithm.hpp"
#include "kmtool/domain/attributes.hpp"
#include "kmtool/domain/transport.hpp"
#include "kmtool/pkcs11/profile.hpp"

namespace kmtool::pkcs11 {

struct Limits;
struct Trials;  // survey.hpp

/// Which module to load.
struct ModuleSpec {
  std::string path;       ///< absolute
  std::string init_args;  ///< NSS: configdir=…; empty for most
};

/// Which token of it; all that is given must match exactly, and exactly one token may.
struct TokenSelector {
  std::string label, serial, manufacturer, model;  ///< empty: not asked
};

/// What C_GetTokenInfo, C_GetSlotInfo and C_GetInfo say, trimmed of padding.
struct TokenInfo {
  std::string label, serial, manufacturer, model;
  std::string firmware_version, hardware_version;
  std::string library_description, library_version, cryptoki_version;
  std::string module_path;
  std::string module_digest;  ///< SHA-256 of the module file, hex
  bool hardware = false;      ///< CKF_HW_SLOT
  bool initialized = false, login_required = false, protected_path = false, write_protected = false;
  bool pin_count_low = false, pin_final_try = false, pin_locked = false;
};

/// How a token is opened.
struct OpenOptions {
  const SecretBytes* pin = nullptr;         ///< nullptr: no login, or the token's protected authentication path
  bool login = true;                        ///< false: public session only (token info)
  bool careful = false;                     ///< --no-input: no login at CKF_USER_PIN_COUNT_LOW or FINAL_TRY (refused, 77)
  bool unattended = false;                  ///< no person at a terminal: no login at CKF_USER_PIN_FINAL_TRY
  std::filesystem::path lock_file;          ///< held exclusively from C_Initialize through C_Login; empty: none
  std::chrono::milliseconds lock_wait{60000};
};

enum class ObjectClass { secret_key, private_key, public_key, certificate, data, other };
struct Handle {
  unsigned long value = 0;
  auto operator<=>(const Handle&) const = default;
};

/// Everything kmtool reads of a key object, in one C_GetAttributeValue (a second one only for buffers that were too short).
/// An attribute that the token does not know or will not show is nullopt.
struct Object {
  Handle handle;
  ObjectClass object_class = ObjectClass::other;
  unsigned long key_type = ~0UL;  ///< CKK_ number
  std::string label;
  Bytes id;
  std::optional<bool> token, is_private, sensitive, extractable, modifiable, copyable, local, always_sensitive,
      never_extractable, wrap_with_trusted, trusted;
  std::optional<bool> encrypt, decrypt, sign, verify, wrap, unwrap, derive, sign_recover, verify_recover;
  std::optional<unsigned long> value_length;  ///< CKA_VALUE_LEN (secret keys); SoftHSM does not tell that of unwrapped keys
  Bytes modulus, public_exponent, ec_params, ec_point;
  [[nodiscard]] std::optional<KeyType> type(Role role) const;  ///< kmtool's type for this object in this role
  [[nodiscard]] bool nameless() const { return label.empty() && id.empty(); }
};

/// Input of any length, piece by piece; an empty one is the end.
using Feed = std::function<ByteView()>;

/// What gcm_seal() adds: an IV of 12 octets in front, a tag of 16 behind.
inline constexpr std::size_t gcm_overhead = 28;

/// What an object shall be. Templates are made from this and from nothing else.
struct ObjectSpec {
  Role role = Role::data;
  KeyType type = KeyType::aes256;  ///< of the key; a KEK's sealing object is always a 32-byte HMAC key
  Part part = Part::value;
  std::string label;
  Bytes id;                 ///< 16 bytes
  bool extractable = false;
};

/// A key as session objects, before it is made to persist. secret keys: one object per part of the role; pairs: both halves.
struct FreshObject {
  ObjectSpec spec;
  Handle handle;
};

/// A logged-in token: module loaded by libp11, one raw read-write session for everything else. Move-only; the
/// destructor tears down in the order TOKENS.md gives. Not thread-safe: other threads get a sibling() each.
///
/// Every failing Cryptoki call throws Error whose code is the CKR name and whose message names the call and what the code
/// means; exit code by kind: PIN errors 77, device/token/session gone 69, CKR_ENCRYPTED_DATA_INVALID and the like 65, memory
/// and general errors 69, contract breaches (CKR_BUFFER_TOO_SMALL twice, garbage lengths) 70.
class Token {
 public:
  static Token open(const ModuleSpec& module, const TokenSelector& selector, const OpenOptions& options);
  /// The same token and login with a session of its own, for another thread; each Token is used by one thread at a time.
  [[nodiscard]] Token sibling() const;
  /// The tokens a module shows, without login.
  static std::vector<TokenInfo> enumerate(const ModuleSpec& module, const std::filesystem::path& lock_file);
  Token(Token&&) noexcept;
  Token& operator=(Token&&) noexcept;
  ~Token();

  [[nodiscard]] const TokenInfo& info() const;
  [[nodiscard]] bool logged_in() const;

  // -- profile ------------------------------------------------------------------------------------------------------
  /// What the token really does, probed with throwaway session objects; nothing is left behind.
  Profile probe();
  /// The profile that wrapping, generating and signing choose by; set from probe() or from the cache.
  void use_profile(Profile profile);
  [[nodiscard]] const Profile& profile() const;
  /// Names of all mechanisms with flags, for `token --mechanisms`.
  struct MechanismLine {
    unsigned long number;
    std::string name;
    unsigned long min_bits, max_bits;
    std::string flags;
  };
  std::vector<MechanismLine> mechanisms();
  /// Tries the known attacks on throwaway session objects; nothing is left behind.
  Trials try_attacks();

  // -- random (C_GenerateRandom only) -------------------------------------------------------------------------------
  Bytes random(std::size_t n);

  // -- finding ------------------------------------------------------------------------------------------------------
  /// All token objects with one of these CKA_IDs, read. A few ids: one find per id; many: one find for all objects.
  std::map<Bytes, std::vector<Object>> locate(const std::vector<Bytes>& ids);
  /// Reads every object of the token with one find, and answers locate() from that until something is made or destroyed through
  /// this Token. For commands that meet many objects, and tokens that have few. False where there are more than `most`. With more than
  /// one session they are read in parallel; one that cannot be opened is done without.
  bool remember_objects(std::size_t most, int sessions = 1);
  void forget_objects();
  std::vector<Object> find_by_id(const Bytes& id);
  std::vector<Object> find_by_label(const std::string& label);
  /// Objects that bear one of these labels. A few labels: one find per label; many: one find for everything that the session sees.
  std::vector<Object> find_by_labels(const std::set<std::string>& labels);
  /// Every object on the token that this session sees (one find, one read per object; none where objects are remembered). Session
  /// objects are left out.
  std::vector<Object> scan();
  /// DER of a certificate object; empty where the token does not show it.
  Bytes certificate(const Object& object);
  /// Dates, mechanisms and templates of a key: one more call, one for each that is set.
  Limits limits(const Object& key);
  /// Those without label and id: by one find where the profile says that the token can, else among all.
  std::vector<Object> find_nameless();
  Object read(Handle handle);

  // -- making -------------------------------------------------------------------------------------------------------
  /// Generates one key (all parts of its role) as session objects with the usages of the role, sensitive, private; `extractable`
  /// as given in `session_extractable` (backup at birth makes them extractable first).
  std::vector<FreshObject> generate(Role role, KeyType type, const std::string& label, const Bytes& id, bool session_extractable);
  /// Copies a session object to the token with the final attributes (extractable or not, MODIFIABLE=false last,
  /// COPYABLE=false where known), reads every attribute back and compares; a difference destroys the copy and throws internal
  /// (70) naming the attribute. The session object is destroyed. Where the token has no C_CopyObject this throws; ask
  /// profile().copies and use generate_on_token().
  Object persist(const FreshObject& fresh, bool extractable);
  /// Directly as token objects, for tokens without C_CopyObject.
  std::vector<Object> generate_on_token(Role role, KeyType type, const std::string& label, const Bytes& id, bool extractable);
  /// The differences between an object and what it should be, one text each (`CKA_EXTRACTABLE is true, wanted false`); empty: as wanted.
  std::vector<std::string> differences(const Object& object, const ObjectSpec& spec, bool imported) const;
  void destroy(Handle handle);
  /// C_SetAttributeValue on CKA_LABEL.
  void relabel(Handle handle, const std::string& label);
  /// The rollback anchor's object: private, without any usage, modifiable label. CKA_ID and label as given, on the token.
  Handle create_anchor_object(const Bytes& id, const std::string& label);
  /// The public key of a pair from its public object.
  crypto::PublicKey public_key(const Object& public_half);

  // -- wrapping -----------------------------------------------------------------------------------------------------
  /// Exactly one C_WrapKey (the buffer is sized beforehand from the kind of key). `algorithm` must be one that profile()
  /// has for keys.
  Bytes wrap(Handle kek, Handle key, WrapAlgorithm algorithm);
  /// The algorithm wrap() will use for a key of this type under any AES KEK of this token: KWP preferred, else KW where the
  /// length allows. nullopt: the token cannot wrap this kind (Ed25519 on SoftHSM); the reason in `why`.
  [[nodiscard]] std::optional<WrapAlgorithm> wrap_algorithm(KeyType type, std::string* why = nullptr) const;
  /// C_UnwrapKey to a session object with the usages of the role, sensitive, private; checks CKA_VALUE_LEN against the type.
  /// `public_half` should be given for pairs: NSS opens an EC private key only together with its public point.
  FreshObject unwrap(Handle kek, WrapAlgorithm algorithm, ByteView wrapped, const ObjectSpec& spec, bool session_extractable,
                     const crypto::PublicKey* public_half = nullptr);
  /// Opens a wrapped value as an extractable session object, wraps it under each target and destroys it: the value goes from one
  /// KEK to others without leaving the token.
  struct WrapTarget {
    Handle kek;
    WrapAlgorithm algorithm = WrapAlgorithm::aes_kwp;
  };
  std::vector<Bytes> rewrap(Handle kek, WrapAlgorithm algorithm, ByteView wrapped, const ObjectSpec& spec,
                            const crypto::PublicKey* public_half, const std::vector<WrapTarget>& targets);
  /// Creates the public half of an unwrapped pair as a session object from its SPKI.
  FreshObject create_public(const crypto::PublicKey& key, const ObjectSpec& spec);
  /// Mechanism name and number for the bundle header, by algorithm.
  [[nodiscard]] std::string wrap_mechanism_name(WrapAlgorithm algorithm) const;

  // -- transport: to public keys ------------------------------------------------------------------------------------
  /// Wraps a key to a public key. The recipient's key is a session object that can only wrap, for the call; what a two-step algorithm
  /// needs in between is generated on the token and gone afterwards. `transport` must fit the key and be in profile().transports_out.
  Bytes wrap_to(const crypto::PublicKey& recipient, Handle key, const Transport& transport);
  /// Opens such a value with the private half of a transport key: as unwrap(). Throws unavailable (69) where the profile has not got
  /// the algorithm, damaged (65) for what does not open.
  FreshObject unwrap_from(const Object& private_half, KeyType type, const Transport& transport, ByteView wrapped, const ObjectSpec& spec,
                          bool session_extractable);
  /// `CKM_RSA_PKCS_OAEP`, `CKM_ECDH1_DERIVE`.
  [[nodiscard]] static std::string transport_mechanism_name(const Transport& transport);

  // -- sealing and signing ------------------------------------------------------------------------------------------
  Bytes hmac_sha256(Handle key, ByteView data);
  /// CKM_ECDSA over a digest; DER.
  Bytes sign_ecdsa(Handle private_key, ByteView digest);
  /// CKM_EDDSA over a short message, single part.
  Bytes sign_ed25519(Handle private_key, ByteView message);
  /// CKM_RSA_PKCS_PSS over a digest (32, 48 or 64 octets: SHA-256, -384, -512), MGF1 with the same hash, a salt as long as the digest
  /// (FIPS 186-5, 5.4): the padding is the token's.
  Bytes sign_rsa_pss(Handle private_key, ByteView digest);
  /// HMAC of the type's hash over everything that `next` gives (C_SignInit, C_SignUpdate …, C_SignFinal); `next` must not use
  /// this Token.
  Bytes hmac(Handle key, KeyType type, const Feed& next);
  /// The same compared in the token (C_VerifyFinal): the right tag does not come out.
  bool hmac_verify(Handle key, KeyType type, const Feed& next, ByteView tag);
  /// Signature proof that a private half belongs to a public key: signs a random digest and verifies it on the host.
  bool private_matches(const Object& private_half, const crypto::PublicKey& key);
  /// For restore drills: are two data keys the same key? Compares by encrypting under one and
  /// decrypting under the other; HMAC keys by one tag; KEK AES keys by wrapping a throwaway session key.
  bool same_key(const Object& a, const Object& b, Role role, Part part);

  // -- encrypting ---------------------------------------------------------------------------------------------------
  /// AES-GCM of one buffer: exactly one C_EncryptInit and one C_Encrypt. Writes IV (96 bits, C_GenerateRandom, drawn in batches) ‖
  /// ciphertext ‖ tag (128 bits) into `out`, which holds at least plain.size() + gcm_overhead octets; how many were written. The IV
  /// is never the caller's. The caller counts: at most 2^32 a key (SP 800-38D, 8.3).
  std::size_t gcm_seal(Handle key, ByteView associated, ByteView plain, std::span<std::uint8_t> out);
  /// Opens what gcm_seal() wrote: one C_DecryptInit and one C_Decrypt. `out` holds at least sealed.size() octets; how many were
  /// written. Throws damaged (65) where it does not open under this key and associated data; then `out` holds zeros.
  std::size_t gcm_open(Handle key, ByteView associated, ByteView sealed, std::span<std::uint8_t> out);

 private:
  struct Impl;
  explicit Token(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace kmtool::pkcs11
