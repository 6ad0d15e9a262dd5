#include "kmtool/pkcs11/init_token.hpp"

#include <dlfcn.h>
#include <libp11.h>
#include <openssl/err.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <utility>

#include "cryptoki.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::pkcs11 {
namespace {

constexpr std::size_t label_size = 32;
constexpr std::size_t so_pin_size = 32;

/// libp11's context with the module loaded: it alone calls C_Initialize and C_Finalize.
class LoadedModule {
 public:
  explicit LoadedModule(const ModuleSpec& spec) {
    // First by ourselves: for what libp11 does not offer, and because it prints its own message where a file is no module.
    handle_ = dlopen(spec.path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ == nullptr) {
      const char* why = dlerror();
      throw Error::unavailable(
          "cannot load the module " + printable(spec.path) + ": " + printable(why != nullptr ? why : "no reason given"),
          "check the path, and that the module's package is installed");
    }
    const auto get_list = reinterpret_cast<CK_C_GetFunctionList>(dlsym(handle_, "C_GetFunctionList"));
    if (get_list == nullptr || get_list(&functions_) != CKR_OK || functions_ == nullptr) {
      close();
      throw Error::unavailable(printable(spec.path) + " is not a PKCS#11 module");
    }
    context_ = PKCS11_CTX_new();
    if (context_ != nullptr && !spec.init_args.empty()) PKCS11_CTX_init_args(context_, spec.init_args.c_str());
    if (context_ == nullptr || PKCS11_CTX_load(context_, spec.path.c_str()) != 0) {
      ERR_clear_error();
      PKCS11_CTX_free(std::exchange(context_, nullptr));
      close();
      throw Error::unavailable("the module " + printable(spec.path) + " does not start",
                               "look at what the module says of itself");
    }
  }
  LoadedModule(const LoadedModule&) = delete;
  LoadedModule& operator=(const LoadedModule&) = delete;
  ~LoadedModule() { close(); }
  [[nodiscard]] CK_FUNCTION_LIST& calls() const { return *functions_; }

 private:
  PKCS11_CTX* context_ = nullptr;
  void* handle_ = nullptr;
  CK_FUNCTION_LIST* functions_ = nullptr;
  void close() {
    if (context_ != nullptr) {
      PKCS11_CTX_unload(context_);
      PKCS11_CTX_free(context_);
    }
    if (handle_ != nullptr) dlclose(handle_);
  }
};

class RawSession {
 public:
  RawSession(CK_FUNCTION_LIST& calls, CK_SLOT_ID slot) : calls_(calls) {
    const CK_FLAGS flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
    if (const CK_RV rv = calls_.C_OpenSession(slot, flags, nullptr, nullptr, &handle_); rv != CKR_OK) fail(rv, "C_OpenSession");
  }
  RawSession(const RawSession&) = delete;
  RawSession& operator=(const RawSession&) = delete;
  ~RawSession() { calls_.C_CloseSession(handle_); }
  [[nodiscard]] CK_SESSION_HANDLE handle() const { return handle_; }

 private:
  CK_FUNCTION_LIST& calls_;
  CK_SESSION_HANDLE handle_ = 0;
};

CK_TOKEN_INFO token_info(CK_FUNCTION_LIST& calls, CK_SLOT_ID slot) {
  CK_TOKEN_INFO info{};
  if (const CK_RV rv = calls.C_GetTokenInfo(slot, &info); rv != CKR_OK) fail(rv, "C_GetTokenInfo");
  return info;
}

CK_SLOT_ID free_slot(CK_FUNCTION_LIST& calls) {
  std::array<CK_SLOT_ID, 64> slots{};
  CK_ULONG count = slots.size();
  if (const CK_RV rv = calls.C_GetSlotList(CK_TRUE, slots.data(), &count); rv != CKR_OK) fail(rv, "C_GetSlotList");
  for (std::size_t i = 0; i < std::min<std::size_t>(count, slots.size()); ++i) {
    if ((token_info(calls, slots[i]).flags & CKF_TOKEN_INITIALIZED) == 0) return slots[i];
  }
  throw Error::unavailable("the module has no slot for a new token");
}

/// The kernel's: the token gives no random bytes before it is initialised, and nobody ever uses this PIN.
SecretBytes random_so_pin() {
  constexpr std::string_view digits = "0123456789abcdef";
  SecretBytes pin(so_pin_size);
  const auto bytes = pin.reveal_mutable();
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    throw Error::internal("the system gives no random bytes");
  }
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(digits[byte % digits.size()]);
  return pin;
}

CK_UTF8CHAR* pin_bytes(const SecretBytes& pin) { return const_cast<CK_UTF8CHAR*>(pin.reveal().data()); }

std::string trimmed(const CK_UTF8CHAR* text, std::size_t size) {
  std::string out(text, text + size);
  out.erase(out.find_last_not_of(std::string_view(" \0", 2)) + 1);
  return out;
}

}  // namespace

TokenSelector init_software_token(const ModuleSpec& module, const std::string& label,
                                  const std::function<SecretBytes(const RandomBytes& random)>& make_pin) {
  if (label.empty() || label.size() > label_size) throw Error::internal("a token label has 1 to 32 bytes");
  const LoadedModule loaded(module);
  CK_FUNCTION_LIST& calls = loaded.calls();
  const CK_SLOT_ID slot = free_slot(calls);

  std::array<CK_UTF8CHAR, label_size> padded{};
  padded.fill(' ');
  std::copy(label.begin(), label.end(), padded.begin());
  const SecretBytes so_pin = random_so_pin();
  if (const CK_RV rv = calls.C_InitToken(slot, pin_bytes(so_pin), so_pin.size(), padded.data()); rv != CKR_OK)
    fail(rv, "C_InitToken");
  {
    const RawSession session(calls, slot);
    const SecretBytes pin = make_pin([&](std::size_t size) {
      Bytes out(size);
      if (const CK_RV rv = calls.C_GenerateRandom(session.handle(), out.data(), out.size()); rv != CKR_OK)
        fail(rv, "C_GenerateRandom");
      return out;
    });
    if (const CK_RV rv = calls.C_Login(session.handle(), CKU_SO, pin_bytes(so_pin), so_pin.size()); rv != CKR_OK)
      fail(rv, "C_Login");
    if (const CK_RV rv = calls.C_InitPIN(session.handle(), pin_bytes(pin), pin.size()); rv != CKR_OK) fail(rv, "C_InitPIN");
    calls.C_Logout(session.handle());
  }
  const CK_TOKEN_INFO info = token_info(calls, slot);
  TokenSelector out;
  out.label = trimmed(info.label, sizeof info.label);
  out.serial = trimmed(info.serialNumber, sizeof info.serialNumber);
  return out;
}

}  // namespace kmtool::pkcs11
