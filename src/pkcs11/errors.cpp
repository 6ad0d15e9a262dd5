#include <algorithm>
#include <array>

#include "cryptoki.hpp"
#include "kmtool/pkcs11/uri.hpp"

#include <fmt/format.h>

namespace kmtool::pkcs11 {
namespace {

struct Entry {
  CK_RV rv;
  const char* name;
  const char* meaning;
  ExitCode exit;
  const char* hint;
};

constexpr auto gone = ExitCode::unavailable;
constexpr auto refused = ExitCode::refused;
constexpr auto damaged = ExitCode::damaged;
constexpr auto fault = ExitCode::internal;
constexpr auto busy = ExitCode::busy;

constexpr const char* reconnect = "check that the token is connected and its service runs, then try again";
constexpr const char* lacks = "run `kmtool token --mechanisms` to see what this token offers";
constexpr const char* full = "destroy what is no longer needed on the token, or use another";
constexpr const char* unlock = "the security officer can set a new PIN";

// clang-format off
// Ordered by number. Numbers as in the OASIS headers: the p11-kit header has 0x1b5 … 0x1b9 wrong.
constexpr std::array table{
    Entry{0x000, "CKR_OK", "done", fault, ""},
    Entry{0x001, "CKR_CANCEL", "cancelled", refused, ""},
    Entry{0x002, "CKR_HOST_MEMORY", "the module ran out of memory", gone, ""},
    Entry{0x003, "CKR_SLOT_ID_INVALID", "there is no such slot", gone, reconnect},
    Entry{0x005, "CKR_GENERAL_ERROR", "the module failed without saying why", gone, "the token's own log may say more"},
    Entry{0x006, "CKR_FUNCTION_FAILED", "the function could not be performed", gone, "the token's own log may say more"},
    Entry{0x007, "CKR_ARGUMENTS_BAD", "the module does not accept the arguments", fault, ""},
    Entry{0x008, "CKR_NO_EVENT", "no slot event", fault, ""},
    Entry{0x009, "CKR_NEED_TO_CREATE_THREADS", "the module wants to make threads", gone, ""},
    Entry{0x00a, "CKR_CANT_LOCK", "the module cannot lock", gone, ""},
    Entry{0x010, "CKR_ATTRIBUTE_READ_ONLY", "the attribute may not be changed", refused, ""},
    Entry{0x011, "CKR_ATTRIBUTE_SENSITIVE", "the attribute may not be read", refused, ""},
    Entry{0x012, "CKR_ATTRIBUTE_TYPE_INVALID", "the token does not know the attribute", gone, ""},
    Entry{0x013, "CKR_ATTRIBUTE_VALUE_INVALID", "the token does not accept the attribute's value", gone, ""},
    Entry{0x01a, "CKR_COPY_PROHIBITED", "the object may not be copied", refused, ""},
    Entry{0x01b, "CKR_ACTION_PROHIBITED", "the object's attributes forbid it", refused, ""},
    Entry{0x020, "CKR_DATA_INVALID", "the data is not acceptable", damaged, ""},
    Entry{0x021, "CKR_DATA_LEN_RANGE", "the data has an unacceptable length", damaged, ""},
    Entry{0x030, "CKR_DEVICE_ERROR", "the token reports a fault", gone, reconnect},
    Entry{0x031, "CKR_DEVICE_MEMORY", "the token is full", gone, full},
    Entry{0x032, "CKR_DEVICE_REMOVED", "the token was removed", gone, reconnect},
    Entry{0x040, "CKR_ENCRYPTED_DATA_INVALID", "the encrypted data is damaged or under another key", damaged, ""},
    Entry{0x041, "CKR_ENCRYPTED_DATA_LEN_RANGE", "the encrypted data has an impossible length", damaged, ""},
    Entry{0x042, "CKR_AEAD_DECRYPT_FAILED", "the encrypted data is damaged or under another key", damaged, ""},
    Entry{0x050, "CKR_FUNCTION_CANCELED", "cancelled at the token", refused, ""},
    Entry{0x051, "CKR_FUNCTION_NOT_PARALLEL", "no parallel function runs", fault, ""},
    Entry{0x052, "CKR_FUNCTION_PARALLEL", "a parallel function runs", fault, ""},
    Entry{0x054, "CKR_FUNCTION_NOT_SUPPORTED", "the token does not have this function", gone, lacks},
    Entry{0x060, "CKR_KEY_HANDLE_INVALID", "there is no such key", gone, ""},
    Entry{0x062, "CKR_KEY_SIZE_RANGE", "the token does not do keys of this size", gone, lacks},
    Entry{0x063, "CKR_KEY_TYPE_INCONSISTENT", "the key is not of the kind that the mechanism takes", gone, lacks},
    Entry{0x064, "CKR_KEY_NOT_NEEDED", "no key was needed", fault, ""},
    Entry{0x065, "CKR_KEY_CHANGED", "the key has changed", fault, ""},
    Entry{0x066, "CKR_KEY_NEEDED", "a key was needed", fault, ""},
    Entry{0x067, "CKR_KEY_INDIGESTIBLE", "the key cannot be digested", refused, ""},
    Entry{0x068, "CKR_KEY_FUNCTION_NOT_PERMITTED", "the key's attributes do not allow this use", refused, ""},
    Entry{0x069, "CKR_KEY_NOT_WRAPPABLE", "the token cannot wrap this kind of key", refused, ""},
    Entry{0x06a, "CKR_KEY_UNEXTRACTABLE", "the key may not leave the token", refused, "only keys made with --exportable can be wrapped again"},
    Entry{0x06b, "CKR_KEY_PARAMS_INVALID", "the token does not accept the key's parameters", gone, lacks},
    Entry{0x070, "CKR_MECHANISM_INVALID", "the token does not have this mechanism", gone, lacks},
    Entry{0x071, "CKR_MECHANISM_PARAM_INVALID", "the token does not accept the mechanism's parameters", gone, lacks},
    Entry{0x080, "CKR_OBJECT_CLASS_INCONSISTENT", "the object is of another class", fault, ""},
    Entry{0x081, "CKR_OBJECT_CLASS_INVALID", "the object's class is invalid", fault, ""},
    Entry{0x082, "CKR_OBJECT_HANDLE_INVALID", "there is no such object", gone, "another process may have destroyed it, or the token is full"},
    Entry{0x090, "CKR_OPERATION_ACTIVE", "another operation is active in the session", fault, ""},
    Entry{0x091, "CKR_OPERATION_NOT_INITIALIZED", "no operation is active in the session", fault, ""},
    Entry{0x0a0, "CKR_PIN_INCORRECT", "the PIN is wrong", refused, "repeated wrong PINs lock the token"},
    Entry{0x0a1, "CKR_PIN_INVALID", "the PIN has characters that the token does not take", refused, ""},
    Entry{0x0a2, "CKR_PIN_LEN_RANGE", "the PIN is too short or too long", refused, ""},
    Entry{0x0a3, "CKR_PIN_EXPIRED", "the PIN has expired", refused, "set a new PIN with the vendor's tool"},
    Entry{0x0a4, "CKR_PIN_LOCKED", "the PIN is locked", refused, unlock},
    Entry{0x0b0, "CKR_SESSION_CLOSED", "the session was closed", gone, reconnect},
    Entry{0x0b1, "CKR_SESSION_COUNT", "the token has no session left", busy, "wait for other programs to end, or use fewer --sessions"},
    Entry{0x0b3, "CKR_SESSION_HANDLE_INVALID", "the session is gone", gone, reconnect},
    Entry{0x0b4, "CKR_SESSION_PARALLEL_NOT_SUPPORTED", "parallel sessions are not supported", fault, ""},
    Entry{0x0b5, "CKR_SESSION_READ_ONLY", "the session is read-only", fault, ""},
    Entry{0x0b6, "CKR_SESSION_EXISTS", "a session is open", busy, "end the other programs that use the token"},
    Entry{0x0b7, "CKR_SESSION_READ_ONLY_EXISTS", "a read-only session is open", fault, ""},
    Entry{0x0b8, "CKR_SESSION_READ_WRITE_SO_EXISTS", "the security officer has a session open", busy, "end the security officer's session"},
    Entry{0x0c0, "CKR_SIGNATURE_INVALID", "the signature is wrong", damaged, ""},
    Entry{0x0c1, "CKR_SIGNATURE_LEN_RANGE", "the signature has an impossible length", damaged, ""},
    Entry{0x0d0, "CKR_TEMPLATE_INCOMPLETE", "the token asks for more attributes", gone, ""},
    Entry{0x0d1, "CKR_TEMPLATE_INCONSISTENT", "the token does not accept these attributes together", gone, ""},
    Entry{0x0e0, "CKR_TOKEN_NOT_PRESENT", "there is no token in the slot", gone, reconnect},
    Entry{0x0e1, "CKR_TOKEN_NOT_RECOGNIZED", "the token in the slot is not readable", gone, reconnect},
    Entry{0x0e2, "CKR_TOKEN_WRITE_PROTECTED", "the token is write-protected", gone, ""},
    Entry{0x0f0, "CKR_UNWRAPPING_KEY_HANDLE_INVALID", "there is no such unwrapping key", gone, ""},
    Entry{0x0f1, "CKR_UNWRAPPING_KEY_SIZE_RANGE", "the unwrapping key has an unacceptable size", gone, ""},
    Entry{0x0f2, "CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT", "the unwrapping key is of the wrong kind", gone, ""},
    Entry{0x100, "CKR_USER_ALREADY_LOGGED_IN", "somebody is logged in already", fault, ""},
    Entry{0x101, "CKR_USER_NOT_LOGGED_IN", "nobody is logged in", refused, ""},
    Entry{0x102, "CKR_USER_PIN_NOT_INITIALIZED", "the token has no user PIN yet", refused, "the security officer can set one"},
    Entry{0x103, "CKR_USER_TYPE_INVALID", "the token does not know this kind of user", fault, ""},
    Entry{0x104, "CKR_USER_ANOTHER_ALREADY_LOGGED_IN", "another user is logged in", busy, ""},
    Entry{0x105, "CKR_USER_TOO_MANY_TYPES", "too many kinds of users are logged in", busy, ""},
    Entry{0x110, "CKR_WRAPPED_KEY_INVALID", "the wrapped key is damaged or under another key", damaged, ""},
    Entry{0x112, "CKR_WRAPPED_KEY_LEN_RANGE", "the wrapped key has an impossible length", damaged, ""},
    Entry{0x113, "CKR_WRAPPING_KEY_HANDLE_INVALID", "there is no such wrapping key", gone, ""},
    Entry{0x114, "CKR_WRAPPING_KEY_SIZE_RANGE", "the wrapping key has an unacceptable size", gone, ""},
    Entry{0x115, "CKR_WRAPPING_KEY_TYPE_INCONSISTENT", "the wrapping key is of the wrong kind", gone, ""},
    Entry{0x120, "CKR_RANDOM_SEED_NOT_SUPPORTED", "the random generator takes no seed", fault, ""},
    Entry{0x121, "CKR_RANDOM_NO_RNG", "the token has no random generator", gone, ""},
    Entry{0x130, "CKR_DOMAIN_PARAMS_INVALID", "the token does not do these domain parameters", gone, lacks},
    Entry{0x140, "CKR_CURVE_NOT_SUPPORTED", "the token does not do this curve", gone, lacks},
    Entry{0x150, "CKR_BUFFER_TOO_SMALL", "the answer does not fit the buffer", fault, ""},
    Entry{0x160, "CKR_SAVED_STATE_INVALID", "the saved state is invalid", fault, ""},
    Entry{0x170, "CKR_INFORMATION_SENSITIVE", "the information is sensitive", refused, ""},
    Entry{0x180, "CKR_STATE_UNSAVEABLE", "the state cannot be saved", fault, ""},
    Entry{0x190, "CKR_CRYPTOKI_NOT_INITIALIZED", "the module is not initialised", gone, ""},
    Entry{0x191, "CKR_CRYPTOKI_ALREADY_INITIALIZED", "the module is initialised already", fault, ""},
    Entry{0x1a0, "CKR_MUTEX_BAD", "a mutex is bad", fault, ""},
    Entry{0x1a1, "CKR_MUTEX_NOT_LOCKED", "a mutex is not locked", fault, ""},
    Entry{0x1b0, "CKR_NEW_PIN_MODE", "the token wants a new PIN", refused, ""},
    Entry{0x1b1, "CKR_NEXT_OTP", "the token wants the next one-time password", refused, ""},
    Entry{0x1b5, "CKR_EXCEEDED_MAX_ITERATIONS", "too many iterations", gone, ""},
    Entry{0x1b6, "CKR_FIPS_SELF_TEST_FAILED", "the module's self test failed", gone, "stop using this token and ask its vendor"},
    Entry{0x1b7, "CKR_LIBRARY_LOAD_FAILED", "the module cannot load a library", gone, ""},
    Entry{0x1b8, "CKR_PIN_TOO_WEAK", "the PIN is too weak", refused, ""},
    Entry{0x1b9, "CKR_PUBLIC_KEY_INVALID", "the public key is invalid", damaged, ""},
    Entry{0x200, "CKR_FUNCTION_REJECTED", "the token rejected the request", refused, ""},
    Entry{0x201, "CKR_TOKEN_RESOURCE_EXCEEDED", "the token has run out of a resource", gone, ""},
    Entry{0x202, "CKR_OPERATION_CANCEL_FAILED", "the operation could not be cancelled", fault, ""},
    Entry{0x203, "CKR_KEY_EXHAUSTED", "the key has reached its limit of uses", refused, ""},
    Entry{0x204, "CKR_PENDING", "the operation is still going on", busy, ""},
    Entry{0x205, "CKR_SESSION_ASYNC_NOT_SUPPORTED", "asynchronous sessions are not supported", fault, ""},
    Entry{0x206, "CKR_SEED_RANDOM_REQUIRED", "the random generator must be seeded first", gone, ""},
    Entry{0x207, "CKR_OPERATION_NOT_VALIDATED", "the operation is outside the token's validation", refused, ""},
    Entry{0x208, "CKR_TOKEN_NOT_INITIALIZED", "the token is not initialised", gone, ""},
    Entry{0x209, "CKR_PARAMETER_SET_NOT_SUPPORTED", "the token does not do this parameter set", gone, lacks},
};
// clang-format on
static_assert(std::ranges::is_sorted(table, {}, &Entry::rv));

const Entry* lookup(CK_RV rv) {
  const auto found = std::ranges::lower_bound(table, rv, {}, &Entry::rv);
  return found != table.end() && found->rv == rv ? &*found : nullptr;
}

}  // namespace

std::string rv_name(unsigned long rv) {
  if (const Entry* entry = lookup(rv)) return entry->name;
  if (rv >= 0x80000000UL) return fmt::format("CKR_VENDOR_DEFINED+0x{:x}", rv - 0x80000000UL);
  return fmt::format("CKR_0x{:x}", rv);
}

std::string rv_meaning(unsigned long rv) {
  if (const Entry* entry = lookup(rv)) return entry->meaning;
  return rv >= 0x80000000UL ? "an error of the vendor's own" : "an error that PKCS#11 does not define";
}

std::string rv_text(CK_RV rv, const std::string& call) { return fmt::format("{}: {} ({})", call, rv_name(rv), rv_meaning(rv)); }

void fail(CK_RV rv, const std::string& call, const std::string& detail) {
  const Entry* entry = lookup(rv);
  const std::string text = rv_text(rv, call);
  throw Error(entry != nullptr ? entry->exit : ExitCode::unavailable, rv_name(rv), detail.empty() ? text : detail + ": " + text,
              entry != nullptr ? entry->hint : "the vendor's manual explains the number");
}

bool is_rv(const Error& error, CK_RV rv) { return error.code() == rv_name(rv); }

bool is_fatal(const Error& error) {
  constexpr std::array fatal{CKR_HOST_MEMORY,
                             CKR_SLOT_ID_INVALID,
                             CKR_DEVICE_REMOVED,
                             CKR_SESSION_CLOSED,
                             CKR_SESSION_HANDLE_INVALID,
                             CKR_TOKEN_NOT_PRESENT,
                             CKR_CRYPTOKI_NOT_INITIALIZED,
                             CKR_TOKEN_NOT_RECOGNIZED};
  return error.code().rfind("CKR_", 0) != 0 || std::ranges::any_of(fatal, [&](CK_RV rv) { return is_rv(error, rv); });
}

}  // namespace kmtool::pkcs11
