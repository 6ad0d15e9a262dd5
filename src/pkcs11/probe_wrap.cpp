#include <fmt/format.h>

#include "host.hpp"
#include "keys.hpp"
#include "objects.hpp"

/// Which mechanism numbers are RFC 3394 and RFC 5649 on this token: known answers where it takes an imported throwaway
/// KEK, else lengths and a round trip.
namespace kmtool::pkcs11 {
namespace {

constexpr std::size_t even_length = 32;  // wraps to 40 under KW and KWP
constexpr std::size_t odd_length = 20;   // wraps to 32 under KWP

/// A throwaway secret key on the token; its value where it was imported.
struct Sample {
  ScopedObject object;
  Bytes value;
};

Attributes sample_template(CK_KEY_TYPE type, bool kek) {
  Attributes out;
  out.number(CKA_CLASS, CKO_SECRET_KEY).number(CKA_KEY_TYPE, type).flag(CKA_TOKEN, false).flag(CKA_PRIVATE, true);
  out.flag(CKA_SENSITIVE, true).flag(CKA_EXTRACTABLE, !kek);
  if (kek) {
    out.flag(CKA_WRAP, true).flag(CKA_UNWRAP, true);
  } else {
    out.flag(CKA_SIGN, true).flag(CKA_VERIFY, true);
  }
  return out;
}

class WrapProbe {
 public:
  WrapProbe(const Session& session, Profile& profile) : session_(session), profile_(profile) {}

  void run() {
    if (!prepare()) {
      profile_.kwp_note = "no AES key that wraps could be made";
      return;
    }
    if (proves_kw(mech_aes_kw)) profile_.kw_mechanism = mech_aes_kw;
    for (const CK_MECHANISM_TYPE mechanism : {mech_aes_kwp, mech_aes_kw_pad}) {
      // Both are tried even when the first is proven: what 0x210A really is belongs into the report (TOKENS: one number, two
      // algorithms).
      if (proves_kwp(mechanism) && profile_.kwp_mechanism == 0) profile_.kwp_mechanism = mechanism;
    }
    std::string note;
    for (const std::string& text : notes_) note += (note.empty() ? "" : "; ") + text;
    profile_.kwp_note = note;
  }

 private:
  bool prepare() {
    kek_ = import(CKK_AES, 32, true);
    even_ = import(CKK_GENERIC_SECRET, even_length, false);
    odd_ = import(CKK_GENERIC_SECRET, odd_length, false);
    if (!kek_ || !even_) {
      kek_ = generate(CKM_AES_KEY_GEN, CKK_AES, 32, true);
      even_ = generate(CKM_GENERIC_SECRET_KEY_GEN, CKK_GENERIC_SECRET, even_length, false);
      odd_ = generate(CKM_GENERIC_SECRET_KEY_GEN, CKK_GENERIC_SECRET, odd_length, false);
    }
    return kek_ && even_;
  }

  std::unique_ptr<Sample> import(CK_KEY_TYPE type, std::size_t length, bool kek) {
    std::unique_ptr<Sample> out;
    attempt([&] {
      const Bytes value = session_.random(length);
      Attributes what = sample_template(type, kek);
      what.bytes(CKA_VALUE, value);
      out = std::make_unique<Sample>(Sample{ScopedObject(session_, session_.create(std::move(what))), value});
    });
    return out;
  }

  std::unique_ptr<Sample> generate(CK_MECHANISM_TYPE mechanism, CK_KEY_TYPE type, std::size_t length, bool kek) {
    std::unique_ptr<Sample> out;
    attempt([&] {
      Attributes what = sample_template(type, kek);
      what.number(CKA_VALUE_LEN, length);
      out = std::make_unique<Sample>(Sample{ScopedObject(session_, session_.generate(mechanism, std::move(what))), {}});
    });
    return out;
  }

  [[nodiscard]] bool known() const { return !kek_->value.empty(); }

  Bytes wrap(CK_MECHANISM_TYPE mechanism, const Sample& sample) {
    Bytes out;
    attempt([&] { out = session_.wrap({mechanism, nullptr, 0}, kek_->object.get(), sample.object.get()); });
    return out;
  }

  /// Does the token open it, to a key that makes the same tags as the sample?
  bool opens(CK_MECHANISM_TYPE mechanism, const Bytes& wrapped, const Sample& sample) {
    bool same = false;
    attempt([&] {
      const ScopedObject back(session_, session_.unwrap({mechanism, nullptr, 0}, kek_->object.get(), wrapped,
                                                        sample_template(CKK_GENERIC_SECRET, false)));
      const Bytes message = session_.random(32);
      same = hmac_tag(session_, back.get(), message) == hmac_tag(session_, sample.object.get(), message);
    });
    return same;
  }

  bool refuses_tampered(CK_MECHANISM_TYPE mechanism, Bytes wrapped) {
    wrapped.back() ^= 1;
    return !attempt([&] {
              const ScopedObject back(session_, session_.unwrap({mechanism, nullptr, 0}, kek_->object.get(), wrapped,
                                                                sample_template(CKK_GENERIC_SECRET, false)));
            }).empty();
  }

  bool proves_kw(CK_MECHANISM_TYPE mechanism) {
    const Bytes wrapped = wrap(mechanism, *even_);
    if (wrapped.size() != even_length + 8) return false;
    if (known() && wrapped != host::aes_kw(kek_->value, even_->value)) return false;
    return opens(mechanism, wrapped, *even_) && refuses_tampered(mechanism, wrapped);
  }

  bool proves_kwp(CK_MECHANISM_TYPE mechanism) {
    const Bytes wrapped = wrap(mechanism, *even_);
    if (wrapped.empty()) return false;
    if (wrapped.size() == even_length + 16) {
      notes_.push_back(fmt::format("0x{:X} is PKCS#7 padding, not RFC 5649", mechanism));
      return false;
    }
    const bool right = wrapped.size() == even_length + 8 && (!known() || wrapped == host::aes_kwp(kek_->value, even_->value)) &&
                       opens(mechanism, wrapped, *even_) && refuses_tampered(mechanism, wrapped);
    if (!right || !odd_is_rfc5649(mechanism)) {
      notes_.push_back(fmt::format("0x{:X} is not RFC 5649", mechanism));
      return false;
    }
    return true;
  }

  bool odd_is_rfc5649(CK_MECHANISM_TYPE mechanism) {
    if (!odd_) return known();  // KW and KWP differ in 32 octets too: the known answer has told them apart
    const Bytes wrapped = wrap(mechanism, *odd_);
    if (wrapped.empty() && known()) {
      note(mechanism, "odd lengths are not wrapped");
      return true;
    }
    if (wrapped.size() != 32) return false;
    if (!known() || odd_->value.empty()) return opens(mechanism, wrapped, *odd_);
    if (wrapped == host::aes_kwp(kek_->value, odd_->value)) return opens(mechanism, wrapped, *odd_);
    Bytes padded = odd_->value;
    padded.resize(24);
    if (wrapped != host::aes_kwp(kek_->value, padded)) return false;
    note(mechanism, "odd lengths come back zero-padded");
    return true;
  }

  /// With its number, unless it is about the mechanism that is going to be used.
  void note(CK_MECHANISM_TYPE mechanism, const std::string& text) {
    notes_.push_back(profile_.kwp_mechanism == 0 ? text : fmt::format("0x{:X}: {}", mechanism, text));
  }

  const Session& session_;
  Profile& profile_;
  std::unique_ptr<Sample> kek_, even_, odd_;
  std::vector<std::string> notes_;
};

}  // namespace

void probe_wrapping(const Session& session, Profile& profile) { WrapProbe(session, profile).run(); }

}  // namespace kmtool::pkcs11
