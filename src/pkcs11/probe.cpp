#include <algorithm>
#include <array>
#include <memory>

#include "keys.hpp"
#include "kmtool/crypto/digest.hpp"
#include "objects.hpp"

namespace kmtool::pkcs11 {
namespace {

constexpr unsigned long probe_rsa_bits = 2048;  // larger ones take seconds; the mechanism's limits say the rest

/// Tries things with session objects; everything it makes is destroyed with it, whatever happens.
class Probe {
 public:
  Probe(const Session& session, const CK_FUNCTION_LIST* functions, CK_SLOT_ID slot)
      : session_(session), functions_(functions), slot_(slot) {}

  Profile run() {
    profile_.one_object_per_id = is_nss();
    probe_wrapping(session_, profile_);
    make_kek();
    probe_secret_keys();
    probe_usages();
    probe_copies();
    probe_modifying();
    probe_extraction();
    probe_finding();
    probe_pairs();
    probe_rsa();
    probe_agreement(session_, profile_);
    return std::move(profile_);
  }

 private:
  using Made = std::unique_ptr<ScopedObject>;

  Made own(CK_OBJECT_HANDLE handle) { return std::make_unique<ScopedObject>(session_, handle); }

  ObjectSpec spec(Role role, KeyType type, Part part, bool extractable) {
    return {role, type, part, "kmtool-probe", session_.random(16), extractable};
  }

  Made secret(Role role, KeyType type, Part part, bool extractable) {
    const ObjectSpec wanted = spec(role, type, part, extractable);
    return own(
        session_.generate(generation_mechanism(object_type(wanted)), secret_template(wanted, Lifetime::session, profile_)));
  }

  /// Session objects do not show it, and trying it on the token could cost a key.
  bool is_nss() {
    CK_TOKEN_INFO info{};
    if (const CK_RV rv = functions_->C_GetTokenInfo(slot_, &info); rv != CKR_OK) fail(rv, "C_GetTokenInfo");
    const auto begins = [](const unsigned char* field, std::string_view with) {
      return std::equal(with.begin(), with.end(), field,
                        [](char a, unsigned char b) { return static_cast<unsigned char>(a) == b; });
    };
    return begins(info.manufacturerID, "Mozilla") || begins(info.model, "NSS");
  }

  void make_kek() {
    attempt([&] { kek_ = secret(Role::kek, KeyType::aes256, Part::kek_wrap, false); });
  }

  void probe_finding() {
    if (!kek_) return;
    attempt([&] {
      Attributes what;
      what.flag(CKA_TOKEN, false).flag(CKA_PRIVATE, true).flag(CKA_SENSITIVE, true).number(CKA_VALUE_LEN, 32).flag(CKA_ENCRYPT, true);
      const Made nameless = own(session_.generate(CKM_AES_KEY_GEN, std::move(what)));
      const auto found = session_.find(std::move(Attributes().flag(CKA_TOKEN, false).text(CKA_LABEL, "").bytes(CKA_ID, {})));
      profile_.finds_nameless = std::ranges::find(found, nameless->get()) != found.end() && std::ranges::find(found, kek_->get()) == found.end();
    });
  }

  std::string try_wrap(CK_OBJECT_HANDLE key) {
    const bool any = profile_.kwp_mechanism != 0 || profile_.kw_mechanism != 0;
    if (!kek_ || !any) return "CKR_MECHANISM_INVALID";
    const auto algorithm = profile_.kwp_mechanism != 0 ? WrapAlgorithm::aes_kwp : WrapAlgorithm::aes_kw;
    return attempt([&] { (void)session_.wrap(wrap_mechanism(profile_, algorithm), kek_->get(), key); });
  }

  void record(KeyType type, const std::string& wrapping) {
    const std::string name(to_text(type));
    profile_.generates.push_back(name);
    profile_.wraps[name] = wrapping.empty() ? "yes" : wrapping;
  }

  void probe_secret_keys() {
    for (const KeyType type :
         {KeyType::aes256, KeyType::aes192, KeyType::aes128, KeyType::hmac_sha256, KeyType::hmac_sha384, KeyType::hmac_sha512}) {
      attempt([&] {
        const bool aes = ckk_of(type) == CKK_AES;
        const Made key = secret(aes ? Role::data : Role::mac, type, Part::value, true);
        record(type, try_wrap(key->get()));
        if (type == KeyType::aes256) {
          profile_.local_correct = read_object(session_, key->get(), ObjectClass::secret_key).local.value_or(false);
        }
      });
    }
  }

  void probe_usages() {
    attempt([&] {
      const Made key = secret(Role::mac, KeyType::hmac_sha256, Part::value, false);
      (void)hmac_tag(session_, key->get(), session_.random(32));
      profile_.hmac_sha256 = true;
    });
    attempt([&] {
      const Made key = secret(Role::data, KeyType::aes256, Part::value, false);
      Bytes iv = session_.random(12);
      CK_GCM_PARAMS gcm{iv.data(), 12, 96, nullptr, 0, 128};
      profile_.aes_gcm = session_.encrypt({CKM_AES_GCM, &gcm, sizeof gcm}, key->get(), session_.random(32)).size() == 48;
    });
  }

  std::optional<bool> extractable(CK_OBJECT_HANDLE key) {
    return read_object(session_, key, ObjectClass::secret_key).extractable;
  }

  void probe_copies() {
    attempt([&] {
      const Made key = secret(Role::data, KeyType::aes256, Part::value, true);
      const Made copy =
          own(session_.copy(key->get(), std::move(Attributes().flag(CKA_TOKEN, false).flag(CKA_EXTRACTABLE, false))));
      profile_.copies = extractable(copy->get()) == false;
    });
    if (!profile_.copies) return;
    attempt([&] {
      const Made key = secret(Role::data, KeyType::aes256, Part::value, false);
      Made copy;
      const std::string refused =
          attempt([&] { copy = own(session_.copy(key->get(), std::move(Attributes().flag(CKA_EXTRACTABLE, true)))); });
      profile_.copy_keeps_extractable_false = !refused.empty() || extractable(copy->get()) == false;
    });
    attempt([&] {
      const Made key = secret(Role::data, KeyType::aes256, Part::value, true);
      const Made copy = own(session_.copy(key->get(), std::move(Attributes().flag(CKA_COPYABLE, false))));
      if (read_object(session_, copy->get(), ObjectClass::secret_key).copyable != false) return;
      Made second;
      profile_.copyable_known =
          !attempt([&] { second = own(session_.copy(copy->get(), std::move(Attributes().flag(CKA_TOKEN, false)))); }).empty();
    });
  }

  /// A key with MODIFIABLE=false, as keys that persist get it.
  Made locked_key() {
    if (!profile_.copies) {
      const ObjectSpec wanted = spec(Role::kek, KeyType::aes256, Part::kek_wrap, false);
      Attributes what = secret_template(wanted, Lifetime::session, profile_);
      what.flag(CKA_MODIFIABLE, false);
      return own(session_.generate(CKM_AES_KEY_GEN, std::move(what)));
    }
    const Made key = secret(Role::kek, KeyType::aes256, Part::kek_wrap, false);
    return own(session_.copy(key->get(), std::move(Attributes().flag(CKA_TOKEN, false).flag(CKA_MODIFIABLE, false))));
  }

  void probe_modifying() {
    attempt([&] {
      const Made key = locked_key();
      if (read_object(session_, key->get(), ObjectClass::secret_key).modifiable != false) return;
      const bool refused =
          !attempt([&] { session_.set_attributes(key->get(), std::move(Attributes().flag(CKA_DECRYPT, true))); }).empty();
      profile_.modifiable_enforced = refused && read_object(session_, key->get(), ObjectClass::secret_key).decrypt == false;
    });
    attempt([&] {
      const Made key = secret(Role::mac, KeyType::hmac_sha256, Part::anchor, false);
      session_.set_attributes(key->get(), std::move(Attributes().text(CKA_LABEL, "kmtool-probe-relabelled")));
      profile_.relabels = read_object(session_, key->get(), ObjectClass::secret_key).label == "kmtool-probe-relabelled";
    });
  }

  void probe_extraction() {
    attempt([&] {
      const Made key = secret(Role::data, KeyType::aes256, Part::value, false);
      profile_.extractable_enforced = kek_ != nullptr && !try_wrap(key->get()).empty();
    });
    attempt([&] {
      Attributes what = secret_template(spec(Role::data, KeyType::aes256, Part::value, true), Lifetime::session, profile_);
      what.flag(CKA_WRAP_WITH_TRUSTED, true);
      const Made key = own(session_.generate(CKM_AES_KEY_GEN, std::move(what)));
      profile_.wrap_with_trusted_enforced = kek_ != nullptr && !try_wrap(key->get()).empty();
    });
  }

  void probe_pairs() {
    for (const KeyType type : {KeyType::ec_p256, KeyType::ec_p384, KeyType::ec_p521, KeyType::ed25519}) {
      attempt([&] {
        const auto made = generate_key(session_, profile_, spec(Role::sign, type, Part::private_half, true), Lifetime::session);
        const Made private_half = own(made[0].handle.value);
        const Made public_half = own(made[1].handle.value);
        // P-256 stands for every NIST curve.
        record(type, type == KeyType::ec_p384 || type == KeyType::ec_p521 ? ec_wrapping_ : try_wrap(private_half->get()));
        if (type == KeyType::ec_p256) {
          ec_wrapping_ = profile_.wraps[std::string(to_text(type))] == "yes" ? "" : profile_.wraps[std::string(to_text(type))];
          probe_pair_copies(private_half->get(), public_half->get());
        }
        if (type == KeyType::ec_p256 || type == KeyType::ed25519) probe_signing(type, private_half->get(), public_half->get());
      });
    }
  }

  void probe_pair_copies(CK_OBJECT_HANDLE private_half, CK_OBJECT_HANDLE public_half) {
    attempt([&] {
      const Made copy =
          own(session_.copy(private_half, std::move(Attributes().flag(CKA_TOKEN, false).flag(CKA_EXTRACTABLE, false))));
      const Made other = own(session_.copy(public_half, std::move(Attributes().flag(CKA_TOKEN, false))));
      profile_.private_pairs_copy = read_object(session_, copy->get(), ObjectClass::private_key).extractable == false;
    });
  }

  void probe_signing(KeyType type, CK_OBJECT_HANDLE private_half, CK_OBJECT_HANDLE public_half) {
    attempt([&] {
      const auto key = public_key_of(read_object(session_, public_half, ObjectClass::public_key));
      const Object half = read_object(session_, private_half, ObjectClass::private_key);
      const bool good = private_half_matches(session_, profile_, half, key);
      (type == KeyType::ed25519 ? profile_.ed25519 : profile_.ecdsa_p256) = good;
    });
  }

  unsigned long largest_rsa() {
    CK_MECHANISM_INFO info{};
    if (functions_->C_GetMechanismInfo(slot_, CKM_RSA_PKCS_KEY_PAIR_GEN, &info) != CKR_OK) return 0;
    return info.ulMaxKeySize;
  }

  void probe_rsa() {
    attempt([&] {
      Attributes public_half, private_half;
      constexpr std::array<std::uint8_t, 3> exponent{1, 0, 1};
      public_half.flag(CKA_TOKEN, false).flag(CKA_PRIVATE, false).flag(CKA_WRAP, true).flag(CKA_ENCRYPT, false);
      public_half.number(CKA_MODULUS_BITS, probe_rsa_bits).bytes(CKA_PUBLIC_EXPONENT, exponent);
      private_half.flag(CKA_TOKEN, false).flag(CKA_PRIVATE, true).flag(CKA_SENSITIVE, true).flag(CKA_EXTRACTABLE, true);
      private_half.flag(CKA_UNWRAP, true).flag(CKA_DECRYPT, false).flag(CKA_SIGN, false);
      private_half.bytes(CKA_ID, session_.random(16));
      const KeyPair pair = session_.generate_pair(CKM_RSA_PKCS_KEY_PAIR_GEN, std::move(public_half), std::move(private_half));
      const Made public_object = own(pair.public_half);
      const Made private_object = own(pair.private_half);
      const std::string wrapping = try_wrap(pair.private_half);
      const unsigned long largest = largest_rsa();
      for (const KeyType type : {KeyType::rsa3072, KeyType::rsa4096}) {
        if (largest >= modulus_bits(type)) record(type, wrapping);
      }
      const auto key = public_key_of(read_object(session_, pair.public_half, ObjectClass::public_key));
      for (const char* hash : {"SHA-1", "SHA-256", "SHA-384", "SHA-512"}) {
        if (oaep_opens(session_, pair.private_half, key, hash)) profile_.oaep_hashes.emplace_back(hash);
      }
      probe_rsa_transport(session_, profile_, pair, key);
    });
  }

  const Session& session_;
  const CK_FUNCTION_LIST* functions_;
  CK_SLOT_ID slot_;
  Profile profile_;
  Made kek_;
  std::string ec_wrapping_;
};

}  // namespace

Profile probe_token(const Session& session, const CK_FUNCTION_LIST* functions, CK_SLOT_ID slot) {
  return Probe(session, functions, slot).run();
}

}  // namespace kmtool::pkcs11
