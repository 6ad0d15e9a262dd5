#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "keys.hpp"
#include "kmtool/pkcs11/survey.hpp"
#include "mechanism_names.hpp"
#include "objects.hpp"

/// The attacks of Clulow (2003), Delaune, Kremer and Steel (2008) and Bortolozzo et al. (2010), as far as a token itself allows
/// or refuses them: tried with session objects that protect nothing and are destroyed again.
namespace kmtool::pkcs11 {
namespace {

constexpr CK_MECHANISM_TYPE mech_extract = 0x365;  // CKM_EXTRACT_KEY_FROM_KEY
constexpr std::size_t key_octets = 32;

Attributes secret_key(CK_KEY_TYPE type, bool sensitive, bool extractable) {
  Attributes out;
  out.number(CKA_CLASS, CKO_SECRET_KEY).number(CKA_KEY_TYPE, type).flag(CKA_TOKEN, false).flag(CKA_PRIVATE, true);
  out.flag(CKA_SENSITIVE, sensitive).flag(CKA_EXTRACTABLE, extractable).text(CKA_LABEL, "kmtool-trial");
  return out;
}

/// The token answered without failing, and did not do what was asked.
struct Unmoved {
  const char* what;
};

class Attacks {
 public:
  explicit Attacks(const Session& session) : session_(session) {}

  Trials run() {
    Trials out;
    out.objects_before = count();
    attempt([&] { kek_ = generate(kek_template()); });
    attempt([&] { victim_ = generate(std::move(secret_key(CKK_AES, true, true).flag(CKA_ENCRYPT, true))); });
    find_mechanism();
    try_extraction();
    try_usages();
    try_attributes();
    try_copies();
    try_unwrapping();
    try_mechanisms();
    try_deriving();
    kek_.reset();
    victim_.reset();
    out.trials = std::move(trials_);
    out.objects_after = count();
    return out;
  }

 private:
  using Made = std::unique_ptr<ScopedObject>;
  static constexpr bool harmless = false;

  [[nodiscard]] std::size_t count() const { return session_.find(Attributes()).size(); }
  Made own(CK_OBJECT_HANDLE handle) { return std::make_unique<ScopedObject>(session_, handle); }
  static Attributes kek_template() {
    return std::move(secret_key(CKK_AES, true, false).flag(CKA_WRAP, true).flag(CKA_UNWRAP, true));
  }
  Made generate(Attributes what, std::size_t octets = key_octets) {
    what.number(CKA_VALUE_LEN, octets);
    return own(session_.generate(CKM_AES_KEY_GEN, std::move(what)));
  }

  void record(const char* id, const char* question, Trial::Answer answer, std::string detail, bool bad = true) {
    trials_.push_back({id, question, answer, std::move(detail), bad});
  }
  /// The attack works when `action` comes to its end.
  template <class Action>
  void judge(const char* id, const char* question, const std::string& how, Action&& action, bool bad = true) {
    std::string refusal;
    try {
      refusal = attempt(std::forward<Action>(action));
    } catch (const Unmoved& unmoved) {
      refusal = unmoved.what;
    }
    const auto answer = refusal.empty() ? Trial::Answer::allowed : Trial::Answer::refused;
    record(id, question, answer, refusal.empty() ? how : refusal, bad);
  }
  void skip(const char* id, const char* question, const char* why) { record(id, question, Trial::Answer::not_tried, why); }
  static void refuse_quietly() { throw Unmoved{"the call succeeds and changes nothing"}; }

  /// 16 octets for the initial vector where the mode takes one.
  Mechanism mechanism_of(CK_MECHANISM_TYPE type) {
    const bool with_iv = type == CKM_AES_CBC || type == CKM_AES_CBC_PAD;
    return with_iv ? Mechanism{type, iv_.data(), iv_.size()} : Mechanism{type, nullptr, 0};
  }

  static constexpr std::array wrapping{mech_aes_kwp, mech_aes_kw, CK_MECHANISM_TYPE{CKM_AES_CBC_PAD}, CK_MECHANISM_TYPE{CKM_AES_CBC},
                                       CK_MECHANISM_TYPE{CKM_AES_ECB}};

  void find_mechanism() {
    if (!kek_ || !victim_) return;
    for (const CK_MECHANISM_TYPE type : wrapping) {
      if (attempt([&] { (void)session_.wrap(mechanism_of(type), kek_->get(), victim_->get()); }).empty()) works_.push_back(type);
    }
  }

  /// By whatever mechanism the token wraps with; the refusal of the first one that should work.
  void try_wrap(const char* id, const char* question, CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key) {
    if (works_.empty()) return skip(id, question, "the token wraps with no AES mechanism");
    std::string refusal;
    for (const CK_MECHANISM_TYPE type : works_) {
      const std::string said = attempt([&] { (void)session_.wrap(mechanism_of(type), kek, key); });
      if (said.empty()) return record(id, question, Trial::Answer::allowed, "C_WrapKey with " + mechanism_name(type));
      if (refusal.empty()) refusal = said;
    }
    record(id, question, Trial::Answer::refused, refusal);
  }

  void try_extraction() {
    constexpr const char* question = "can a non-extractable key be wrapped?";
    Made key;
    const std::string failed = attempt([&] { key = generate(std::move(secret_key(CKK_AES, true, false).flag(CKA_ENCRYPT, true))); });
    if (!failed.empty() || !kek_) return skip("wrap-unextractable", question, "no such key could be made");
    try_wrap("wrap-unextractable", question, kek_->get(), key->get());

    constexpr const char* trusted = "can a key with WRAP_WITH_TRUSTED be wrapped by a key that is not trusted?";
    Made guarded;
    if (attempt([&] {
          guarded = generate(std::move(secret_key(CKK_AES, true, true).flag(CKA_ENCRYPT, true).flag(CKA_WRAP_WITH_TRUSTED, true)));
        }).empty()) {
      try_wrap("wrap-with-trusted", trusted, kek_->get(), guarded->get());
    } else {
      skip("wrap-with-trusted", trusted, "the token does not know CKA_WRAP_WITH_TRUSTED");
    }
    constexpr const char* weaker = "can AES-128 wrap AES-256?";
    Made weak;
    if (victim_ && attempt([&] { weak = generate(kek_template(), 16); }).empty()) {
      try_wrap("weaker-kek", weaker, weak->get(), victim_->get());
    } else {
      skip("weaker-kek", weaker, "no such key could be made");
    }
  }

  void try_usages() {
    judge("wrap-decrypt", "can a key be made that both wraps and decrypts? (A1)", "C_GenerateKey with WRAP and DECRYPT",
          [&] { (void)generate(std::move(kek_template().flag(CKA_DECRYPT, true))); });
    judge("encrypt-unwrap", "can a key be made that both encrypts and unwraps?", "C_GenerateKey with ENCRYPT and UNWRAP",
          [&] { (void)generate(std::move(secret_key(CKK_AES, true, false).flag(CKA_UNWRAP, true).flag(CKA_ENCRYPT, true))); });
    judge("add-decrypt", "can DECRYPT be added to a wrap key?", "C_SetAttributeValue CKA_DECRYPT",
          [&] { add_decrypt(generate(std::move(kek_template().flag(CKA_DECRYPT, false)))->get()); });
    judge("add-decrypt-locked", "can DECRYPT be added to a wrap key with MODIFIABLE=false?", "C_SetAttributeValue CKA_DECRYPT",
          [&] {
            const Made key = generate(std::move(kek_template().flag(CKA_DECRYPT, false).flag(CKA_MODIFIABLE, false)));
            add_decrypt(key->get());
          });
    judge("known-wrap-key", "can a wrap key with a known value be brought in? (Clulow: trojan key)", "C_CreateObject with WRAP", [&] {
      const Bytes value = session_.random(key_octets);
      (void)own(session_.create(std::move(secret_key(CKK_AES, true, false).flag(CKA_WRAP, true).bytes(CKA_VALUE, value))));
    });
    judge("set-trusted", "can a user call a wrap key trusted?", "C_SetAttributeValue CKA_TRUSTED", [&] {
      const Made key = generate(kek_template());
      session_.set_attributes(key->get(), std::move(Attributes().flag(CKA_TRUSTED, true)));
      if (!look(key->get()).trusted.value_or(false)) refuse_quietly();
    });
  }

  Object look(CK_OBJECT_HANDLE key) { return read_object(session_, key, ObjectClass::secret_key); }

  void add_decrypt(CK_OBJECT_HANDLE key) {
    session_.set_attributes(key, std::move(Attributes().flag(CKA_DECRYPT, true)));
    if (!look(key).decrypt.value_or(false)) refuse_quietly();
  }

  /// The value of a throwaway key; it goes to memory that is cleansed.
  void read_value(CK_OBJECT_HANDLE key) {
    SecretBytes room(4 * key_octets);
    CK_ATTRIBUTE value{CKA_VALUE, room.reveal_mutable().data(), static_cast<CK_ULONG>(room.size())};
    const CK_RV rv = session_.get_attributes(key, {&value, 1});
    if (rv != CKR_OK) fail(rv, "C_GetAttributeValue");
    if (value.ulValueLen == unavailable_length || value.ulValueLen == 0) refuse_quietly();
  }

  void try_attributes() {
    judge("read-sensitive", "does a sensitive key read back? (A3)", "C_GetAttributeValue CKA_VALUE",
          [&] { read_value(generate(secret_key(CKK_AES, true, true))->get()); });
    judge("read-unextractable", "does a non-extractable key read back? (A4)", "C_GetAttributeValue CKA_VALUE",
          [&] { read_value(generate(secret_key(CKK_AES, false, false))->get()); });
    judge("clear-sensitive", "can SENSITIVE be taken away? (A5)", "C_SetAttributeValue CKA_SENSITIVE", [&] {
      const Made key = generate(secret_key(CKK_AES, true, true));
      session_.set_attributes(key->get(), std::move(Attributes().flag(CKA_SENSITIVE, false)));
      if (look(key->get()).sensitive.value_or(true)) refuse_quietly();
    });
    judge("set-extractable", "can EXTRACTABLE be given? (A5)", "C_SetAttributeValue CKA_EXTRACTABLE", [&] {
      const Made key = generate(secret_key(CKK_AES, true, false));
      session_.set_attributes(key->get(), std::move(Attributes().flag(CKA_EXTRACTABLE, true)));
      if (!look(key->get()).extractable.value_or(false)) refuse_quietly();
    });
  }

  void try_copies() {
    judge("copy-extractable", "can a copy be extractable where the key is not? (A5)", "C_CopyObject with EXTRACTABLE", [&] {
      const Made key = generate(secret_key(CKK_AES, true, false));
      const Made copy = own(session_.copy(key->get(), std::move(Attributes().flag(CKA_EXTRACTABLE, true))));
      if (!look(copy->get()).extractable.value_or(false)) refuse_quietly();
    });
    judge("copy-not-sensitive", "can a copy be readable where the key is sensitive? (A5)", "C_CopyObject with SENSITIVE=false", [&] {
      const Made key = generate(secret_key(CKK_AES, true, true));
      const Made copy = own(session_.copy(key->get(), std::move(Attributes().flag(CKA_SENSITIVE, false))));
      read_value(copy->get());
    });
    judge("copy-usage", "can a copy have a usage that the key lacks?", "C_CopyObject with DECRYPT", [&] {
      const Made key = generate(kek_template());
      copy_to_decrypt(key->get());
    });
    judge("copy-usage-locked", "can a copy have a usage that a key with MODIFIABLE=false lacks?", "C_CopyObject with DECRYPT", [&] {
      const Made key = generate(std::move(kek_template().flag(CKA_MODIFIABLE, false)));
      copy_to_decrypt(key->get());
    });
    judge("copy-usage-uncopyable", "can a key with COPYABLE=false be copied?", "C_CopyObject", [&] {
      const Made key = generate(std::move(kek_template().flag(CKA_COPYABLE, false)));
      const Made copy = own(session_.copy(key->get(), std::move(Attributes().flag(CKA_TOKEN, false))));
    });
  }

  void copy_to_decrypt(CK_OBJECT_HANDLE key) {
    const Made copy = own(session_.copy(key, std::move(Attributes().flag(CKA_DECRYPT, true))));
    if (!look(copy->get()).decrypt.value_or(false)) refuse_quietly();
  }

  void try_unwrapping() {
    constexpr const char* readable = "can a wrapped key be unwrapped so that it reads back?";
    constexpr const char* twice = "can one wrapped key be unwrapped to wrap, and again to decrypt? (re-import)";
    if (works_.empty()) {
      skip("unwrap-readable", readable, "the token wraps with no AES mechanism");
      return skip("unwrap-twice", twice, "the token wraps with no AES mechanism");
    }
    const Mechanism mechanism = mechanism_of(works_.front());
    const auto open = [&](Attributes what) {
      const Bytes wrapped = session_.wrap(mechanism, kek_->get(), victim_->get());
      return own(session_.unwrap(mechanism, kek_->get(), wrapped, std::move(what)));
    };
    judge("unwrap-readable", readable, "C_UnwrapKey with SENSITIVE=false, then C_GetAttributeValue",
          [&] { read_value(open(secret_key(CKK_AES, false, true))->get()); });
    judge("unwrap-twice", twice, "C_UnwrapKey with WRAP, C_UnwrapKey with DECRYPT", [&] {
      const Made one = open(std::move(secret_key(CKK_AES, true, true).flag(CKA_WRAP, true)));
      const Made other = open(std::move(secret_key(CKK_AES, true, true).flag(CKA_DECRYPT, true)));
      if (!look(one->get()).wrap.value_or(false) || !look(other->get()).decrypt.value_or(false)) refuse_quietly();
    });
  }

  void try_mechanisms() {
    for (const auto& [type, id, question] :
         {std::tuple{CK_MECHANISM_TYPE{CKM_AES_CBC_PAD}, "wrap-cbc-pad", "does it wrap with AES-CBC-PAD, which proves nothing of the key?"},
          std::tuple{CK_MECHANISM_TYPE{CKM_AES_CBC}, "wrap-cbc", "does it wrap with AES-CBC, which proves nothing of the key?"},
          std::tuple{CK_MECHANISM_TYPE{CKM_AES_ECB}, "wrap-ecb", "does it wrap with AES-ECB, block by block?"}}) {
      if (!kek_ || !victim_) {
        skip(id, question, "no keys could be made");
      } else {
        judge(id, question, mechanism_name(type), [&, number = type] { (void)session_.wrap(mechanism_of(number), kek_->get(), victim_->get()); });
      }
    }
    judge("authenticated", "does it wrap with AES-KW or AES-KWP?", works_.empty() ? "" : mechanism_name(works_.front()),
          [&] {
            if (works_.empty() || (works_.front() != mech_aes_kwp && works_.front() != mech_aes_kw)) {
              throw Unmoved{"neither works"};
            }
          },
          harmless);
    judge("local", "does it say CKA_LOCAL of keys that it generated?", "CKA_LOCAL is true",
          [&] {
            if (!look(generate(secret_key(CKK_AES, true, false))->get()).local.value_or(false)) {
              throw Unmoved{"CKA_LOCAL is false"};
            }
          },
          harmless);
  }

  void try_deriving() {
    judge("derive-part", "can a readable byte be cut out of a sensitive key? (Clulow: reduced key space)",
          "C_DeriveKey with CKM_EXTRACT_KEY_FROM_KEY", [&] {
            Attributes wanted = secret_key(CKK_GENERIC_SECRET, true, false);
            wanted.flag(CKA_DERIVE, true).number(CKA_VALUE_LEN, key_octets);
            const Made base = own(session_.generate(CKM_GENERIC_SECRET_KEY_GEN, std::move(wanted)));
            CK_ULONG first_bit = 0;
            Attributes what = secret_key(CKK_GENERIC_SECRET, false, true);
            what.number(CKA_VALUE_LEN, 1);
            const Made part = own(session_.derive({mech_extract, &first_bit, sizeof first_bit}, base->get(), std::move(what)));
            read_value(part->get());
          });
  }

  const Session& session_;
  std::array<CK_BYTE, 16> iv_{};
  Made kek_, victim_;
  std::vector<CK_MECHANISM_TYPE> works_;  ///< what wraps an extractable key, best first
  std::vector<Trial> trials_;
};

}  // namespace

Trials try_attacks_on(const Session& session) { return Attacks(session).run(); }

}  // namespace kmtool::pkcs11
