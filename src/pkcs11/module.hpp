#pragma once
#include <memory>
#include <string>
#include <vector>

#include "cryptoki.hpp"
#include "kmtool/pkcs11/token.hpp"

struct PKCS11_ctx_st;
struct PKCS11_slot_st;

namespace kmtool::pkcs11 {

/// The CKR code of libp11's last failure (0: it was not Cryptoki's); leaves OpenSSL's error queue empty.
CK_RV take_libp11_error();

/// A loaded module. libp11 alone loads, initialises, lists slots, logs in and finalises; everything else goes through
/// the function list of the same image. One module can be open once in a process: finalising it ends every use.
class Module {
 public:
  explicit Module(const ModuleSpec& spec);
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;
  ~Module();

  [[nodiscard]] CK_FUNCTION_LIST* functions() const { return functions_; }
  /// A token and the slot it is in.
  struct Found {
    CK_SLOT_ID slot = 0;
    TokenInfo info;
  };
  [[nodiscard]] std::vector<Found> tokens() const;
  /// The one token that matches; throws unavailable (69) for none, several, or one that is not initialised.
  [[nodiscard]] Found select(const TokenSelector& selector) const;
  /// The flags as they are now.
  [[nodiscard]] TokenInfo info(CK_SLOT_ID slot) const;
  /// Once, by libp11. Throws refused (77) for whatever is wrong with the PIN.
  void login(const Found& token, const OpenOptions& options);

 private:
  void load(const ModuleSpec& spec);
  void enumerate();
  [[nodiscard]] PKCS11_slot_st* slot(CK_SLOT_ID id) const;
  void teardown() noexcept;

  std::string path_, digest_, claimed_;
  PKCS11_ctx_st* context_ = nullptr;
  PKCS11_slot_st* slots_ = nullptr;
  unsigned int slot_count_ = 0;
  bool loaded_ = false;
  void* image_ = nullptr;
  CK_FUNCTION_LIST* functions_ = nullptr;
};

}  // namespace kmtool::pkcs11
