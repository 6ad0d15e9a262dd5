#include "module.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <libp11.h>

#include <filesystem>
#include <mutex>
#include <set>

#include "kmtool/core/text.hpp"
#include "kmtool/crypto/digest.hpp"

namespace kmtool::pkcs11 {
namespace {

std::mutex claims_mutex;
std::set<std::string>& claims() {
  static std::set<std::string> paths;
  return paths;
}

template <std::size_t N>
std::string trimmed(const unsigned char (&field)[N]) {
  std::string_view text(reinterpret_cast<const char*>(field), N);
  text = text.substr(0, text.find('\0'));
  const std::size_t end = text.find_last_not_of(' ');
  return std::string(text.substr(0, end == std::string_view::npos ? 0 : end + 1));
}

std::string version(CK_VERSION number) { return fmt::format("{}.{}", number.major, number.minor); }

bool matches(const std::string& wanted, const std::string& value) { return wanted.empty() || wanted == value; }

bool matches(const TokenSelector& selector, const TokenInfo& info) {
  return matches(selector.label, info.label) && matches(selector.serial, info.serial) &&
         matches(selector.manufacturer, info.manufacturer) && matches(selector.model, info.model);
}

std::string describe(const TokenSelector& selector) {
  std::vector<std::string> parts;
  if (!selector.label.empty()) parts.push_back("label " + printable(selector.label));
  if (!selector.serial.empty()) parts.push_back("serial " + printable(selector.serial));
  if (!selector.manufacturer.empty()) parts.push_back("manufacturer " + printable(selector.manufacturer));
  if (!selector.model.empty()) parts.push_back("model " + printable(selector.model));
  return join(parts, ", ");
}

std::string list(const std::vector<Module::Found>& tokens) {
  std::vector<std::string> names;
  names.reserve(tokens.size());
  for (const auto& token : tokens) {
    names.push_back(token.info.initialized
                        ? fmt::format("{} (serial {})", printable(token.info.label), printable(token.info.serial))
                        : fmt::format("one not initialised (slot {})", token.slot));
  }
  return names.empty() ? "none" : join(names, ", ");
}

}  // namespace

CK_RV take_libp11_error() {
  CK_RV rv = CKR_OK;
  while (const unsigned long error = ERR_get_error()) {
    if (ERR_GET_LIB(error) == ERR_get_CKR_code()) rv = static_cast<CK_RV>(ERR_GET_REASON(error));
  }
  return rv;
}

Module::Module(const ModuleSpec& spec) : path_(spec.path) {
  std::error_code error;
  if (path_.empty() || path_.front() != '/') {
    throw Error::usage("the path of a PKCS#11 module must be absolute: " + printable(path_));
  }
  const auto canonical = std::filesystem::canonical(path_, error);
  if (error || !std::filesystem::is_regular_file(canonical, error)) {
    throw Error::unavailable("there is no PKCS#11 module at " + printable(path_),
                             "install the token's software; where its library has moved, set module in the home's config.json to where it is");
  }
  digest_ = crypto::sha256_file_hex(path_);
  {
    const std::lock_guard guard(claims_mutex);
    if (!claims().insert(canonical.string()).second) {
      throw Error::internal("the PKCS#11 module " + printable(path_) + " is open already in this process");
    }
    claimed_ = canonical.string();
  }
  try {
    load(spec);
    enumerate();
  } catch (...) {
    teardown();
    throw;
  }
}

Module::~Module() { teardown(); }

void Module::teardown() noexcept {
  if (slots_ != nullptr) PKCS11_release_all_slots(context_, slots_, slot_count_);
  if (image_ != nullptr) dlclose(image_);
  if (loaded_) PKCS11_CTX_unload(context_);
  if (context_ != nullptr) PKCS11_CTX_free(context_);
  slots_ = nullptr, image_ = nullptr, loaded_ = false, context_ = nullptr;
  ERR_clear_error();
  const std::lock_guard guard(claims_mutex);
  claims().erase(claimed_);
}

void Module::load(const ModuleSpec& spec) {
  // First by ourselves: libp11 would print the loader's complaint. What it then loads is the same image.
  image_ = dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (image_ == nullptr) {
    const char* text = dlerror();
    throw Error::unavailable("cannot load the PKCS#11 module " + printable(text != nullptr ? text : path_),
                             "check that `module` names the token's PKCS#11 library for this machine");
  }
  const auto get_list = reinterpret_cast<CK_C_GetFunctionList>(dlsym(image_, "C_GetFunctionList"));
  if (get_list == nullptr) throw Error::unavailable(printable(path_) + " is a library, but not a PKCS#11 module");
  context_ = PKCS11_CTX_new();
  if (context_ == nullptr) throw Error::unavailable("libp11 has no memory");
  if (!spec.init_args.empty()) PKCS11_CTX_init_args(context_, spec.init_args.c_str());
  ERR_clear_error();
  if (PKCS11_CTX_load(context_, path_.c_str()) != 0) {
    const CK_RV rv = take_libp11_error();
    if (rv == CKR_ARGUMENTS_BAD) {
      throw Error::unavailable("cannot start " + printable(path_) + ": C_Initialize: CKR_ARGUMENTS_BAD (the module does not accept its arguments)",
                               spec.init_args.empty() ? "this module may need --module-args; NSS does, see kmtool-init(1)" : "check --module-args");
    }
    if (rv != CKR_OK) fail(rv, "C_Initialize", "cannot start " + printable(path_));
    throw Error::unavailable("libp11 cannot load the PKCS#11 module " + printable(path_));
  }
  loaded_ = true;
  if (const CK_RV rv = get_list(&functions_); rv != CKR_OK) fail(rv, "C_GetFunctionList");
  if (functions_ == nullptr) throw Error::internal("C_GetFunctionList: the module gives no functions");
}

void Module::enumerate() {
  if (PKCS11_enumerate_slots(context_, &slots_, &slot_count_) == 0) return;
  slots_ = nullptr;
  const CK_RV rv = take_libp11_error();
  if (rv != CKR_OK) fail(rv, "C_GetSlotList", "cannot list the tokens of " + printable(path_));
  throw Error::unavailable("cannot list the tokens of " + printable(path_));
}

TokenInfo Module::info(CK_SLOT_ID slot) const {
  CK_TOKEN_INFO token{};
  CK_SLOT_INFO slot_info{};
  CK_INFO library{};
  if (const CK_RV rv = functions_->C_GetTokenInfo(slot, &token); rv != CKR_OK) fail(rv, "C_GetTokenInfo");
  if (const CK_RV rv = functions_->C_GetSlotInfo(slot, &slot_info); rv != CKR_OK) fail(rv, "C_GetSlotInfo");
  if (const CK_RV rv = functions_->C_GetInfo(&library); rv != CKR_OK) fail(rv, "C_GetInfo");
  const auto has = [&](CK_FLAGS flag) { return (token.flags & flag) != 0; };
  TokenInfo out;
  out.label = trimmed(token.label);
  out.serial = trimmed(token.serialNumber);
  out.manufacturer = trimmed(token.manufacturerID);
  out.model = trimmed(token.model);
  out.firmware_version = version(token.firmwareVersion);
  out.hardware_version = version(token.hardwareVersion);
  out.library_description = trimmed(library.libraryDescription);
  out.library_version = version(library.libraryVersion);
  out.cryptoki_version = version(library.cryptokiVersion);
  out.module_path = path_;
  out.module_digest = digest_;
  out.hardware = (slot_info.flags & CKF_HW_SLOT) != 0;
  out.initialized = has(CKF_TOKEN_INITIALIZED);
  out.login_required = has(CKF_LOGIN_REQUIRED);
  out.protected_path = has(CKF_PROTECTED_AUTHENTICATION_PATH);
  out.write_protected = has(CKF_WRITE_PROTECTED);
  out.pin_count_low = has(CKF_USER_PIN_COUNT_LOW);
  out.pin_final_try = has(CKF_USER_PIN_FINAL_TRY);
  out.pin_locked = has(CKF_USER_PIN_LOCKED);
  return out;
}

std::vector<Module::Found> Module::tokens() const {
  std::vector<Found> out;
  for (unsigned int i = 0; i < slot_count_; ++i) {
    if (slots_[i].token == nullptr) continue;
    const CK_SLOT_ID id = PKCS11_get_slotid_from_slot(&slots_[i]);
    out.push_back({id, info(id)});
  }
  return out;
}

Module::Found Module::select(const TokenSelector& selector) const {
  const auto all = tokens();
  const std::string asked = describe(selector);
  std::vector<Found> found;
  for (const auto& token : all) {
    // Soft tokens always show a blank one: it is only meant when it is asked for.
    if (matches(selector, token.info) && (token.info.initialized || !asked.empty())) found.push_back(token);
  }
  if (found.empty()) {
    throw Error::unavailable(asked.empty() ? "the module has no initialised token" : "there is no token with " + asked,
                             "tokens there are: " + list(all));
  }
  if (found.size() > 1) {
    throw Error::unavailable(asked.empty() ? "the module has several tokens" : "several tokens have " + asked,
                             "give the serial number; tokens there are: " + list(found));
  }
  if (!found.front().info.initialized) {
    throw Error::unavailable("the token with " + asked + " is not initialised", "initialise it with its vendor's tool first");
  }
  return found.front();
}

PKCS11_slot_st* Module::slot(CK_SLOT_ID id) const {
  for (unsigned int i = 0; i < slot_count_; ++i) {
    if (PKCS11_get_slotid_from_slot(&slots_[i]) == id) return &slots_[i];
  }
  throw Error::internal("the slot has gone from libp11's list");
}

}  // namespace kmtool::pkcs11
