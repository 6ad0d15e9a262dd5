#pragma once
#include <p11-kit/pkcs11.h>

#include <deque>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "kmtool/core/bytes.hpp"
#include "kmtool/core/error.hpp"

/// Tier one: a thin typed skin over CK_FUNCTION_LIST. Every failing call throws through fail() (errors.cpp).
namespace kmtool::pkcs11 {

// Not in the v2.40 header, or there as macros with casts in them.
inline constexpr CK_ULONG unavailable_length = ~CK_ULONG{0};
inline constexpr CK_MECHANISM_TYPE mech_aes_kw = 0x2109, mech_aes_kw_pad = 0x210A, mech_aes_kwp = 0x210B;
inline constexpr CK_MECHANISM_TYPE mech_edwards_pair_gen = 0x1055, mech_eddsa = 0x1057;
inline constexpr CK_KEY_TYPE ckk_edwards = 0x40;
inline constexpr CK_KEY_TYPE ckk_sha256_hmac = 0x2b, ckk_sha384_hmac = 0x2c, ckk_sha512_hmac = 0x2d;

inline constexpr CK_ATTRIBUTE_TYPE cka_nss_db = 0xD5A0DB00;  // NSS's own: the public value of a private key

/// Throws the Error for a CKR code that `call` returned; `detail` goes in front of the message.
[[noreturn]] void fail(CK_RV rv, const std::string& call, const std::string& detail = {});
/// `C_WrapKey: CKR_KEY_UNEXTRACTABLE (the key may not leave the token)`
std::string rv_text(CK_RV rv, const std::string& call);
/// The number of an Error that fail() made; nullopt for any other.
bool is_rv(const Error& error, CK_RV rv);
/// Session, token, device or library are gone: no sense in trying anything else.
bool is_fatal(const Error& error);

/// A template that owns its values. Order is kept.
class Attributes {
 public:
  Attributes() = default;
  Attributes(Attributes&&) = default;
  Attributes& operator=(Attributes&&) = default;
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  ~Attributes() = default;

  Attributes& flag(CK_ATTRIBUTE_TYPE type, bool value);
  Attributes& number(CK_ATTRIBUTE_TYPE type, CK_ULONG value);
  Attributes& bytes(CK_ATTRIBUTE_TYPE type, ByteView value);
  Attributes& text(CK_ATTRIBUTE_TYPE type, std::string_view value) { return bytes(type, view(value)); }
  [[nodiscard]] CK_ATTRIBUTE* data() { return list_.data(); }
  [[nodiscard]] CK_ULONG size() const { return list_.size(); }

 private:
  std::vector<CK_ATTRIBUTE> list_;
  std::deque<Bytes> values_;  // a deque: its elements never move
};

/// A mechanism number with its parameter, which must outlive it.
struct Mechanism {
  CK_MECHANISM_TYPE type = 0;
  void* parameter = nullptr;
  CK_ULONG parameter_length = 0;
  [[nodiscard]] CK_MECHANISM raw() const { return {type, parameter, parameter_length}; }
};
CK_RSA_PKCS_OAEP_PARAMS oaep_parameters(const std::string& hash);

struct KeyPair {
  CK_OBJECT_HANDLE public_half = 0, private_half = 0;
};

/// One raw session; closed on destruction. One thread at a time.
class Session {
 public:
  Session() = default;
  Session(CK_FUNCTION_LIST* functions, CK_SLOT_ID slot, bool read_write);
  Session(Session&& other) noexcept;
  Session& operator=(Session&& other) noexcept;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  [[nodiscard]] CK_FUNCTION_LIST* functions() const { return functions_; }
  [[nodiscard]] CK_STATE state() const;

  [[nodiscard]] std::vector<CK_OBJECT_HANDLE> find(Attributes filter) const;
  /// The raw return value: attribute errors are the caller's to sort out.
  CK_RV get_attributes(CK_OBJECT_HANDLE object, std::span<CK_ATTRIBUTE> list) const;
  void set_attributes(CK_OBJECT_HANDLE object, Attributes list) const;
  [[nodiscard]] CK_OBJECT_HANDLE create(Attributes what) const;
  [[nodiscard]] CK_OBJECT_HANDLE copy(CK_OBJECT_HANDLE object, Attributes changes) const;
  void destroy(CK_OBJECT_HANDLE object) const;
  void try_destroy(CK_OBJECT_HANDLE object) const noexcept;

  [[nodiscard]] CK_OBJECT_HANDLE generate(CK_MECHANISM_TYPE mechanism, Attributes what) const;
  [[nodiscard]] KeyPair generate_pair(CK_MECHANISM_TYPE mechanism, Attributes public_half, Attributes private_half) const;
  [[nodiscard]] Bytes wrap(const Mechanism& mechanism, CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key) const;
  [[nodiscard]] CK_OBJECT_HANDLE unwrap(const Mechanism& mechanism, CK_OBJECT_HANDLE kek, ByteView wrapped,
                                        Attributes what) const;
  [[nodiscard]] CK_OBJECT_HANDLE derive(const Mechanism& mechanism, CK_OBJECT_HANDLE base, Attributes what) const;
  [[nodiscard]] Bytes sign(const Mechanism& mechanism, CK_OBJECT_HANDLE key, ByteView data) const;
  [[nodiscard]] Bytes encrypt(const Mechanism& mechanism, CK_OBJECT_HANDLE key, ByteView data) const;
  /// Into the caller's buffer; how many octets were written.
  std::size_t encrypt(const Mechanism& mechanism, CK_OBJECT_HANDLE key, ByteView data, std::span<CK_BYTE> out) const;
  std::size_t decrypt(const Mechanism& mechanism, CK_OBJECT_HANDLE key, ByteView data, std::span<CK_BYTE> out) const;
  /// In several parts; `next` gives them, an empty one is the end. Where it throws, the operation is ended first.
  [[nodiscard]] Bytes sign(const Mechanism& mechanism, CK_OBJECT_HANDLE key, const std::function<ByteView()>& next) const;
  [[nodiscard]] bool verify(const Mechanism& mechanism, CK_OBJECT_HANDLE key, const std::function<ByteView()>& next, ByteView signature) const;
  [[nodiscard]] Bytes random(std::size_t n) const;

 private:
  /// A handle that a call gave for the object it made, or an error: what is not new would be another object's, to be used, labelled or
  /// destroyed in its place.
  CK_OBJECT_HANDLE fresh(const char* name, CK_OBJECT_HANDLE handle) const;

  CK_FUNCTION_LIST* functions_ = nullptr;
  CK_SESSION_HANDLE handle_ = 0;
  mutable std::unordered_set<CK_OBJECT_HANDLE> known_;  ///< of objects that this session has found or made
};

/// An object destroyed on scope exit unless released.
class ScopedObject {
 public:
  ScopedObject(const Session& session, CK_OBJECT_HANDLE handle) : session_(&session), handle_(handle) {}
  ScopedObject(ScopedObject&& other) noexcept : session_(other.session_), handle_(other.release()) {}
  ScopedObject& operator=(ScopedObject&&) = delete;
  ScopedObject(const ScopedObject&) = delete;
  ScopedObject& operator=(const ScopedObject&) = delete;
  ~ScopedObject() {
    if (handle_ != 0) session_->try_destroy(handle_);
  }
  [[nodiscard]] CK_OBJECT_HANDLE get() const { return handle_; }
  CK_OBJECT_HANDLE release() noexcept {
    const CK_OBJECT_HANDLE handle = handle_;
    handle_ = 0;
    return handle;
  }

 private:
  const Session* session_;
  CK_OBJECT_HANDLE handle_;
};

}  // namespace kmtool::pkcs11
