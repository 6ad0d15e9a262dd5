#include "cryptoki.hpp"

#include <array>
#include <cstring>
#include <utility>

namespace kmtool::pkcs11 {
namespace {

constexpr std::size_t find_batch = 256;
constexpr std::size_t wrap_buffer = 8192;  // RSA-4096 as PKCS#8 takes 2.4 KiB
constexpr std::size_t sign_buffer = 2048;
constexpr std::size_t random_chunk = 4096;
constexpr std::size_t most_objects = 4'000'000;  // a module that never says it is done must not fill the memory
constexpr const char* breach = "the PKCS#11 module breaks its contract; do not use it";

/// A module may leave functions out.
template <class Function, class... Args>
CK_RV invoke(Function function, Args... args) {
  return function != nullptr ? function(args...) : CKR_FUNCTION_NOT_SUPPORTED;
}

template <class Function, class... Args>
void call(const char* name, Function function, Args... args) {
  if (const CK_RV rv = invoke(function, args...); rv != CKR_OK) fail(rv, name);
}

/// Never null: modules take that for an argument that was forgotten, or for a question about the length.
CK_BYTE* unconst(ByteView bytes) {
  static CK_BYTE nothing = 0;
  return bytes.data() == nullptr ? &nothing : const_cast<CK_BYTE*>(bytes.data());
}

/// The module wrote `length` octets into a buffer of `capacity`, it says.
void hold_to_capacity(const char* name, CK_ULONG length, std::size_t capacity) {
  if (length > capacity) {
    throw Error::internal(std::string(name) + ": the module says it wrote " + std::to_string(length) +
                              " octets into a buffer of " + std::to_string(capacity),
                          breach);
  }
}

}  // namespace

Attributes& Attributes::flag(CK_ATTRIBUTE_TYPE type, bool value) {
  const CK_BYTE octet = value ? 1 : 0;
  return bytes(type, {&octet, 1});
}

Attributes& Attributes::number(CK_ATTRIBUTE_TYPE type, CK_ULONG value) {
  std::array<CK_BYTE, sizeof value> octets{};
  std::memcpy(octets.data(), &value, sizeof value);
  return bytes(type, octets);
}

Attributes& Attributes::bytes(CK_ATTRIBUTE_TYPE type, ByteView value) {
  Bytes& kept = values_.emplace_back(value.begin(), value.end());
  list_.push_back({type, kept.data(), kept.size()});
  return *this;
}

CK_RSA_PKCS_OAEP_PARAMS oaep_parameters(const std::string& hash) {
  CK_RSA_PKCS_OAEP_PARAMS out{CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, nullptr, 0};
  if (hash == "SHA-256") out.hashAlg = CKM_SHA256, out.mgf = CKG_MGF1_SHA256;
  if (hash == "SHA-384") out.hashAlg = CKM_SHA384, out.mgf = CKG_MGF1_SHA384;
  if (hash == "SHA-512") out.hashAlg = CKM_SHA512, out.mgf = CKG_MGF1_SHA512;
  return out;
}

Session::Session(CK_FUNCTION_LIST* functions, CK_SLOT_ID slot, bool read_write) : functions_(functions) {
  const CK_FLAGS flags = CKF_SERIAL_SESSION | (read_write ? CKF_RW_SESSION : 0);
  call("C_OpenSession", functions_->C_OpenSession, slot, flags, nullptr, nullptr, &handle_);
}

Session::Session(Session&& other) noexcept
    : functions_(std::exchange(other.functions_, nullptr)), handle_(std::exchange(other.handle_, 0)), known_(std::move(other.known_)) {}

Session& Session::operator=(Session&& other) noexcept {
  std::swap(functions_, other.functions_);
  std::swap(handle_, other.handle_);
  std::swap(known_, other.known_);
  return *this;
}

CK_OBJECT_HANDLE Session::fresh(const char* name, CK_OBJECT_HANDLE handle) const {
  if (handle == 0) throw Error::internal(std::string(name) + ": the module reports success without an object", breach);
  if (!known_.insert(handle).second) throw Error::internal(std::string(name) + ": the module gives out the handle of another object", breach);
  return handle;
}

Session::~Session() {
  if (functions_ != nullptr && handle_ != 0) invoke(functions_->C_CloseSession, handle_);
}

CK_STATE Session::state() const {
  CK_SESSION_INFO info{};
  call("C_GetSessionInfo", functions_->C_GetSessionInfo, handle_, &info);
  return info.state;
}

std::vector<CK_OBJECT_HANDLE> Session::find(Attributes filter) const {
  struct Finish {  // also where it seems not to have begun: a later search must not find this one in its way
    CK_FUNCTION_LIST* functions;
    CK_SESSION_HANDLE handle;
    ~Finish() { invoke(functions->C_FindObjectsFinal, handle); }
  } const finish{functions_, handle_};
  call("C_FindObjectsInit", functions_->C_FindObjectsInit, handle_, filter.data(), filter.size());
  std::vector<CK_OBJECT_HANDLE> out;
  std::array<CK_OBJECT_HANDLE, find_batch> batch{};
  for (;;) {
    CK_ULONG n = 0;
    call("C_FindObjects", functions_->C_FindObjects, handle_, batch.data(), batch.size(), &n);
    hold_to_capacity("C_FindObjects", n, batch.size());
    if (n == 0) {
      known_.insert(out.begin(), out.end());
      return out;
    }
    out.insert(out.end(), batch.begin(), batch.begin() + static_cast<std::ptrdiff_t>(n));
    if (out.size() > most_objects) throw Error::internal("C_FindObjects: the module does not come to an end", breach);
  }
}

CK_RV Session::get_attributes(CK_OBJECT_HANDLE object, std::span<CK_ATTRIBUTE> list) const {
  return invoke(functions_->C_GetAttributeValue, handle_, object, list.data(), CK_ULONG{list.size()});
}

void Session::set_attributes(CK_OBJECT_HANDLE object, Attributes list) const {
  call("C_SetAttributeValue", functions_->C_SetAttributeValue, handle_, object, list.data(), list.size());
}

CK_OBJECT_HANDLE Session::create(Attributes what) const {
  CK_OBJECT_HANDLE out = 0;
  call("C_CreateObject", functions_->C_CreateObject, handle_, what.data(), what.size(), &out);
  return fresh("C_CreateObject", out);
}

CK_OBJECT_HANDLE Session::copy(CK_OBJECT_HANDLE object, Attributes changes) const {
  CK_OBJECT_HANDLE out = 0;
  call("C_CopyObject", functions_->C_CopyObject, handle_, object, changes.data(), changes.size(), &out);
  return fresh("C_CopyObject", out);
}

void Session::destroy(CK_OBJECT_HANDLE object) const {
  call("C_DestroyObject", functions_->C_DestroyObject, handle_, object);
  known_.erase(object);
}

void Session::try_destroy(CK_OBJECT_HANDLE object) const noexcept {
  if (invoke(functions_->C_DestroyObject, handle_, object) == CKR_OK) known_.erase(object);
}

CK_OBJECT_HANDLE Session::generate(CK_MECHANISM_TYPE mechanism, Attributes what) const {
  CK_MECHANISM raw{mechanism, nullptr, 0};
  CK_OBJECT_HANDLE out = 0;
  call("C_GenerateKey", functions_->C_GenerateKey, handle_, &raw, what.data(), what.size(), &out);
  return fresh("C_GenerateKey", out);
}

KeyPair Session::generate_pair(CK_MECHANISM_TYPE mechanism, Attributes public_half, Attributes private_half) const {
  CK_MECHANISM raw{mechanism, nullptr, 0};
  KeyPair out;
  call("C_GenerateKeyPair", functions_->C_GenerateKeyPair, handle_, &raw, public_half.data(), public_half.size(),
       private_half.data(), private_half.size(), &out.public_half, &out.private_half);
  fresh("C_GenerateKeyPair", out.public_half);
  fresh("C_GenerateKeyPair", out.private_half);
  return out;
}

Bytes Session::wrap(const Mechanism& mechanism, CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key) const {
  CK_MECHANISM raw = mechanism.raw();
  std::array<CK_BYTE, wrap_buffer> buffer{};
  CK_ULONG length = buffer.size();
  call("C_WrapKey", functions_->C_WrapKey, handle_, &raw, kek, key, buffer.data(), &length);
  hold_to_capacity("C_WrapKey", length, buffer.size());
  return {buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(length)};
}

CK_OBJECT_HANDLE Session::unwrap(const Mechanism& mechanism, CK_OBJECT_HANDLE kek, ByteView wrapped, Attributes what) const {
  CK_MECHANISM raw = mechanism.raw();
  CK_OBJECT_HANDLE out = 0;
  call("C_UnwrapKey", functions_->C_UnwrapKey, handle_, &raw, kek, unconst(wrapped), CK_ULONG{wrapped.size()}, what.data(),
       what.size(), &out);
  return fresh("C_UnwrapKey", out);
}

CK_OBJECT_HANDLE Session::derive(const Mechanism& mechanism, CK_OBJECT_HANDLE base, Attributes what) const {
  CK_MECHANISM raw = mechanism.raw();
  CK_OBJECT_HANDLE out = 0;
  call("C_DeriveKey", functions_->C_DeriveKey, handle_, &raw, base, what.data(), what.size(), &out);
  return fresh("C_DeriveKey", out);
}

Bytes Session::sign(const Mechanism& mechanism, CK_OBJECT_HANDLE key, ByteView data) const {
  CK_MECHANISM raw = mechanism.raw();
  call("C_SignInit", functions_->C_SignInit, handle_, &raw, key);
  std::array<CK_BYTE, sign_buffer> buffer{};
  CK_ULONG length = buffer.size();
  call("C_Sign", functions_->C_Sign, handle_, unconst(data), CK_ULONG{data.size()}, buffer.data(), &length);
  hold_to_capacity("C_Sign", length, buffer.size());
  return {buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(length)};
}

Bytes Session::encrypt(const Mechanism& mechanism, CK_OBJECT_HANDLE key, ByteView data) const {
  CK_MECHANISM raw = mechanism.raw();
  call("C_EncryptInit", functions_->C_EncryptInit, handle_, &raw, key);
  Bytes out(data.size() + 64);
  CK_ULONG length = out.size();
  call("C_Encrypt", functions_->C_Encrypt, handle_, unconst(data), CK_ULONG{data.size()}, out.data(), &length);
  hold_to_capacity("C_Encrypt", length, out.size());
  out.resize(length);
  return out;
}

std::size_t Session::encrypt(const Mechanism& mechanism, CK_OBJECT_HANDLE key, ByteView data, std::span<CK_BYTE> out) const {
  CK_MECHANISM raw = mechanism.raw();
  call("C_EncryptInit", functions_->C_EncryptInit, handle_, &raw, key);
  CK_ULONG length = out.size();
  call("C_Encrypt", functions_->C_Encrypt, handle_, unconst(data), CK_ULONG{data.size()}, out.data(), &length);
  hold_to_capacity("C_Encrypt", length, out.size());
  return length;
}

std::size_t Session::decrypt(const Mechanism& mechanism, CK_OBJECT_HANDLE key, ByteView data, std::span<CK_BYTE> out) const {
  CK_MECHANISM raw = mechanism.raw();
  call("C_DecryptInit", functions_->C_DecryptInit, handle_, &raw, key);
  CK_ULONG length = out.size();
  call("C_Decrypt", functions_->C_Decrypt, handle_, unconst(data), CK_ULONG{data.size()}, out.data(), &length);
  hold_to_capacity("C_Decrypt", length, out.size());
  return length;
}

Bytes Session::sign(const Mechanism& mechanism, CK_OBJECT_HANDLE key, const std::function<ByteView()>& next) const {
  CK_MECHANISM raw = mechanism.raw();
  std::array<CK_BYTE, sign_buffer> buffer{};
  CK_ULONG length = buffer.size();
  call("C_SignInit", functions_->C_SignInit, handle_, &raw, key);
  try {
    for (ByteView part = next(); !part.empty(); part = next()) {
      call("C_SignUpdate", functions_->C_SignUpdate, handle_, unconst(part), CK_ULONG{part.size()});
    }
  } catch (...) {
    invoke(functions_->C_SignFinal, handle_, buffer.data(), &length);
    throw;
  }
  call("C_SignFinal", functions_->C_SignFinal, handle_, buffer.data(), &length);
  hold_to_capacity("C_SignFinal", length, buffer.size());
  return {buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(length)};
}

bool Session::verify(const Mechanism& mechanism, CK_OBJECT_HANDLE key, const std::function<ByteView()>& next, ByteView signature) const {
  CK_MECHANISM raw = mechanism.raw();
  call("C_VerifyInit", functions_->C_VerifyInit, handle_, &raw, key);
  try {
    for (ByteView part = next(); !part.empty(); part = next()) {
      call("C_VerifyUpdate", functions_->C_VerifyUpdate, handle_, unconst(part), CK_ULONG{part.size()});
    }
  } catch (...) {
    invoke(functions_->C_VerifyFinal, handle_, unconst(signature), CK_ULONG{signature.size()});
    throw;
  }
  const CK_RV rv = invoke(functions_->C_VerifyFinal, handle_, unconst(signature), CK_ULONG{signature.size()});
  if (rv == CKR_SIGNATURE_INVALID || rv == CKR_SIGNATURE_LEN_RANGE) return false;
  if (rv != CKR_OK) fail(rv, "C_VerifyFinal");
  return true;
}

Bytes Session::random(std::size_t n) const {
  Bytes out(n);
  for (std::size_t done = 0; done < n; done += random_chunk) {
    const CK_ULONG chunk = std::min(random_chunk, n - done);
    call("C_GenerateRandom", functions_->C_GenerateRandom, handle_, out.data() + done, chunk);
  }
  return out;
}

}  // namespace kmtool::pkcs11
