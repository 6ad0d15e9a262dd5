#include <fmt/format.h>
#include <libp11.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <string_view>

#include "kmtool/core/locked_size.hpp"
#include "kmtool/core/secret.hpp"
#include "kmtool/core/text.hpp"
#include "module.hpp"

namespace kmtool::pkcs11 {
namespace {

struct LoginResult {
  CK_RV rv = CKR_OK;
  bool opening = false;  ///< it was C_OpenSession that failed
};

constexpr time_t longest_login_s = 30;

extern "C" void end_login(int) {
  constexpr std::string_view text =
      "error: the token did not let kmtool log in within 30 seconds\nhint: check the token and its module, then try again\n";
  if (::write(STDERR_FILENO, text.data(), text.size()) < 0) _exit(static_cast<int>(ExitCode::unavailable));
  _exit(static_cast<int>(ExitCode::unavailable));
}

/// libp11 0.4.12 waits for ever when a C_OpenSession of its own fails. Nothing has been begun on the token by then, so a watch that
/// ends the process is safe. A timer and not a thread: once a process has had a second thread, glibc takes and releases its locks for each
/// malloc to the end, which modules feel in every call. Not alarm(), which whoever started kmtool may have set. A PIN pad may take as long
/// as its user does.
class LoginWatch {
 public:
  explicit LoginWatch(bool armed) {
    if (!armed) return;
    struct sigaction action {};
    action.sa_handler = end_login;
    sigemptyset(&action.sa_mask);
    struct sigevent event {};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGRTMIN;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer_) != 0) throw Error::from_errno("create a timer for", "the login", errno);
    armed_ = true;
    sigaction(SIGRTMIN, &action, &before_);
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGRTMIN);
    pthread_sigmask(SIG_UNBLOCK, &ours, &mask_);
    const itimerspec within{.it_interval = {}, .it_value = {.tv_sec = longest_login_s, .tv_nsec = 0}};
    timer_settime(timer_, 0, &within, nullptr);
  }
  LoginWatch(const LoginWatch&) = delete;
  LoginWatch& operator=(const LoginWatch&) = delete;
  ~LoginWatch() {
    if (!armed_) return;
    timer_delete(timer_);
    pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
    sigaction(SIGRTMIN, &before_, nullptr);
  }

 private:
  bool armed_ = false;
  timer_t timer_ = nullptr;
  struct sigaction before_ {};
  sigset_t mask_{};
};

LoginResult log_in(PKCS11_SLOT* slot, const SecretBytes* secret) {
  const char* pin = secret == nullptr ? nullptr : secret->reveal_c_str();
  const LoginWatch watch(pin != nullptr);
  const LockedSize locked(secret == nullptr ? 0 : secret->size() + 1);  // libp11 keeps a copy of the PIN, taken from OpenSSL's allocator
  ERR_clear_error();
  LoginResult result;
  result.opening = PKCS11_open_session(slot, 1) != 0;
  if (result.opening || PKCS11_login(slot, 0, pin) != 0) {
    const CK_RV rv = take_libp11_error();
    result.rv = rv != CKR_OK ? rv : CKR_GENERAL_ERROR;
  }
  return result;
}

/// What is wrong before the token is asked, so that no try is spent on it.
void hold_pin_to_token(CK_FUNCTION_LIST* functions, CK_SLOT_ID slot, const SecretBytes& pin) {
  CK_TOKEN_INFO token{};
  if (const CK_RV rv = functions->C_GetTokenInfo(slot, &token); rv != CKR_OK) fail(rv, "C_GetTokenInfo");
  const CK_ULONG most = token.ulMaxPinLen;
  const bool bounded = most != CK_EFFECTIVELY_INFINITE && most != unavailable_length && most >= token.ulMinPinLen;
  if (bounded && (pin.size() > most || pin.size() < token.ulMinPinLen)) {
    throw Error::refused("CKR_PIN_LEN_RANGE",
                         fmt::format("the PIN is too {}: this token's PINs have {} to {} octets",
                                     pin.size() > most ? "long" : "short", token.ulMinPinLen, most),
                         "the token was not asked; no try was used up");
  }
  const ByteView octets = pin.reveal();
  if (std::find(octets.begin(), octets.end(), std::uint8_t{0}) != octets.end()) {
    throw Error::refused("CKR_PIN_INVALID", "the PIN has a NUL octet in it", "the token was not asked; no try was used up");
  }
}

void hold_tries(const TokenInfo& info, const OpenOptions& options) {
  if (info.pin_locked) {
    throw Error::refused("CKR_PIN_LOCKED", "the PIN of token " + printable(info.label) + " is locked",
                         "the security officer can set a new PIN");
  }
  if ((options.careful && info.pin_count_low) || ((options.careful || options.unattended) && info.pin_final_try)) {
    throw Error::refused(info.pin_final_try ? "pin-final-try" : "pin-count-low",
                         fmt::format("token {} has seen wrong PINs: {}; not trying without a person", printable(info.label),
                                     info.pin_final_try ? "only one try is left before it locks" : "few tries are left"),
                         "log in once at a terminal, without --no-input: the right PIN clears the count");
  }
}

[[noreturn]] void fail_login(CK_RV rv, const TokenInfo& after) {
  std::string hint;
  if (after.pin_locked) {
    hint = "the PIN is now locked; the security officer can set a new one";
  } else if (after.pin_final_try) {
    hint = "only one try is left before the PIN locks";
  } else if (after.pin_count_low) {
    hint = "few tries are left before the PIN locks";
  }
  try {
    fail(rv, "C_Login");
  } catch (const Error& error) {
    throw Error(error.exit(), error.code(), error.message(), hint.empty() ? error.hint() : hint);
  }
}

}  // namespace

void Module::login(const Found& token, const OpenOptions& options) {
  const bool by_path = options.pin == nullptr;
  if (by_path && !token.info.protected_path) {
    if (!token.info.login_required) return;
    throw Error::refused("pin", "token " + printable(token.info.label) + " wants a PIN and none was given",
                         "give --pin-source or KMTOOL_PIN_SOURCE, or type it at a terminal");
  }
  hold_tries(token.info, options);
  if (!by_path) hold_pin_to_token(functions_, token.slot, *options.pin);
  {
    // libp11 hangs where C_OpenSession fails, and takes any PIN where somebody is logged in already.
    const Session trial(functions_, token.slot, true);
    const CK_STATE state = trial.state();
    if (token.info.login_required && state != CKS_RO_PUBLIC_SESSION && state != CKS_RW_PUBLIC_SESSION) {
      throw Error::internal("somebody is logged in to the token before kmtool is");
    }
  }
  const auto result = log_in(slot(token.slot), by_path ? nullptr : options.pin);
  if (result.rv == CKR_OK) return;
  if (result.opening) fail(result.rv, "C_OpenSession");
  TokenInfo after = token.info;
  try {
    after = info(token.slot);
  } catch (const Error&) {  // the failure of the login is what matters
  }
  fail_login(result.rv, after);
}

}  // namespace kmtool::pkcs11
