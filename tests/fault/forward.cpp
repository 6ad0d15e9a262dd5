// A PKCS#11 module that forwards every call to a real one, counts the calls, and dies, fails or waits where it is told to.
//
//   KMFORWARD_MODULE      path of the real module (must be set)
//   KMFORWARD_COUNT_FILE  a file that always holds the number of calls begun and the name of the last one (layout: Counter)
//   KMFORWARD_KILL_AT     SIGKILL to this process at the Nth call (the first is 1) ...
//   KMFORWARD_KILL_WHEN   ... `before` it is forwarded (default), or `after` it returned
//   KMFORWARD_FAIL_AT     the Nth call is not forwarded and returns ...
//   KMFORWARD_FAIL_RV     ... this number (hex)
//   KMFORWARD_FAIL_WHEN   `before` (default), or `after`: it is forwarded, and its success withheld
//   KMFORWARD_FAIL_NAME   only calls of this name count for FAIL_AT
//   KMFORWARD_DELAY_MS    pause before each call
//   KMFORWARD_MAP         mechanism numbers (hex, CALLER=REAL with commas between) that are other ones for the real module:
//                         p11-kit's protocol carries only mechanisms that it knows, so a pair of these modules, one at each
//                         end of it, lets AES key wrapping travel under another name
//   KMFORWARD_TOKEN_FLAGS these flags (hex) are added to those of every token, such as CKF_USER_PIN_COUNT_LOW (10000)
//   KMFORWARD_TRACE_FILE  the name of each call is written there, one a line
//   KMFORWARD_WEAK        a token as bad as some that Bortolozzo et al. found in 2010: it shows an (invented) CKA_VALUE of every key,
//                         and lets CKA_SENSITIVE and CKA_EXTRACTABLE be set either way
//
// Lies, hanging and losses: lies.hpp.
#include <dlfcn.h>
#include <fcntl.h>
#include <p11-kit/pkcs11.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

#include "lies.hpp"

namespace {

using kmforward::Answers;

struct Counter {
  std::atomic<std::uint64_t> calls;
  char last[48];
  std::atomic<std::uint64_t> told;  // answers that were lied about
};
static_assert(sizeof(Counter) == 64);

std::uint64_t number_from(const char* variable, int base) {
  const char* text = std::getenv(variable);
  return text == nullptr ? 0 : std::strtoull(text, nullptr, base);
}

std::string_view text_from(const char* variable) {
  const char* text = std::getenv(variable);
  return text == nullptr ? std::string_view{} : std::string_view{text};
}

std::map<CK_MECHANISM_TYPE, CK_MECHANISM_TYPE> read_map() {
  std::map<CK_MECHANISM_TYPE, CK_MECHANISM_TYPE> result;
  const char* at = std::getenv("KMFORWARD_MAP");
  while (at != nullptr && *at != '\0') {
    char* end = nullptr;
    const CK_MECHANISM_TYPE caller = std::strtoul(at, &end, 16);
    if (*end != '=') break;
    result[caller] = std::strtoul(end + 1, &end, 16);
    at = *end == ',' ? end + 1 : nullptr;
  }
  return result;
}

Counter* open_counter() {
  static Counter in_memory{};
  const char* path = std::getenv("KMFORWARD_COUNT_FILE");
  if (path == nullptr) return &in_memory;
  const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  void* map = MAP_FAILED;
  if (fd >= 0 && ftruncate(fd, sizeof(Counter)) == 0) {
    map = mmap(nullptr, sizeof(Counter), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  }
  if (fd >= 0) close(fd);
  if (map == MAP_FAILED) {
    std::perror(path);
    std::abort();
  }
  return static_cast<Counter*>(map);
}

class Forwarder {
 public:
  static Forwarder& instance() {
    static Forwarder forwarder;
    return forwarder;
  }
  [[nodiscard]] CK_FUNCTION_LIST* real() const { return real_; }
  [[nodiscard]] CK_MECHANISM_TYPE to_real(CK_MECHANISM_TYPE number) const {
    const auto found = map_.find(number);
    return found == map_.end() ? number : found->second;
  }
  [[nodiscard]] CK_MECHANISM_TYPE to_caller(CK_MECHANISM_TYPE number) const {
    for (const auto& [caller, real] : map_) {
      if (real == number) return caller;
    }
    return number;
  }

  /// One call: counted, and disturbed as the environment asks.
  template <class Call>
  CK_RV run(const char* name, Answers answers, const Call& call) {
    const std::uint64_t number = ++counter_->calls;
    if (!failed_) {
      const std::lock_guard lock(naming_);
      std::snprintf(counter_->last, sizeof counter_->last, "%s", name);
    }
    if (trace_ >= 0) dprintf(trace_, "%s\n", name);
    if (delay_.count() != 0) std::this_thread::sleep_for(delay_);
    if (number == hang_at_) kmforward::hang();
    losses_.reach(number, real_);
    if (const CK_RV gone = losses_.answer(name); gone != CKR_OK) return gone;
    if (number == kill_at_ && !kill_after_) die();
    if (fail_at_ != 0 && (fail_name_.empty() || fail_name_ == name) && ++matching_ == fail_at_) {
      failed_ = true;
      // A call that ends an operation ends it when it fails, too, and one that begins an operation begins none: a module that kept it
      // active would break its contract.
      if (ends_operation(name) || (fail_after_ && !name_ends_with_init(name))) call();
      return fail_rv_;
    }
    const CK_RV rv = call();
    if (number == kill_at_) die();
    if ((rv == CKR_OK || answers_in_part(rv)) && is_lied_about(number, name)) counter_->told += answers.distort(lie_, lie_item_);
    return rv;
  }
  kmforward::Losses& losses() { return losses_; }

 private:
  Forwarder() {
    const char* path = std::getenv("KMFORWARD_MODULE");
    void* module = path == nullptr ? nullptr : dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void* symbol = module == nullptr ? nullptr : dlsym(module, "C_GetFunctionList");
    if (symbol == nullptr) {
      std::fprintf(stderr, "libkmforward: KMFORWARD_MODULE does not name a PKCS#11 module: %s\n", path == nullptr ? "" : path);
      return;
    }
    CK_C_GetFunctionList get = nullptr;
    std::memcpy(&get, &symbol, sizeof get);
    if (get(&real_) != CKR_OK) real_ = nullptr;
  }
  bool is_lied_about(std::uint64_t number, std::string_view name) {
    if (lie_ == kmforward::Lie::none || (!lie_name_.empty() && lie_name_ != name)) return false;
    return lie_at_ == 0 || (lie_name_.empty() ? number : ++lie_matching_) == lie_at_;
  }
  /// C_GetAttributeValue has these for some of the attributes, and answers the others.
  static bool answers_in_part(CK_RV rv) { return rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE; }
  static int open_trace() {
    const char* path = std::getenv("KMFORWARD_TRACE_FILE");
    return path == nullptr ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  }
  static bool name_ends_with_init(std::string_view name) { return name.size() > 4 && name.substr(name.size() - 4) == "Init"; }
  static bool ends_operation(std::string_view name) {
    return name == "C_Sign" || name == "C_Verify" || name == "C_Encrypt" || name == "C_Decrypt" || name == "C_Digest" ||
           name == "C_FindObjectsFinal";
  }
  [[noreturn]] static void die() {
    kill(getpid(), SIGKILL);
    std::abort();
  }

  CK_FUNCTION_LIST* real_ = nullptr;
  Counter* counter_ = open_counter();
  std::uint64_t kill_at_ = number_from("KMFORWARD_KILL_AT", 10);
  bool kill_after_ = text_from("KMFORWARD_KILL_WHEN") == "after";
  std::uint64_t fail_at_ = number_from("KMFORWARD_FAIL_AT", 10);
  CK_RV fail_rv_ = number_from("KMFORWARD_FAIL_RV", 16);
  bool fail_after_ = text_from("KMFORWARD_FAIL_WHEN") == "after";
  std::atomic<bool> failed_{false};
  std::mutex naming_;  ///< the last call's name is written by every thread
  std::string_view fail_name_ = text_from("KMFORWARD_FAIL_NAME");
  std::atomic<std::uint64_t> matching_{0};
  std::map<CK_MECHANISM_TYPE, CK_MECHANISM_TYPE> map_ = read_map();
  std::chrono::milliseconds delay_{number_from("KMFORWARD_DELAY_MS", 10)};
  int trace_ = open_trace();
  kmforward::Lie lie_ = kmforward::lie_from(text_from("KMFORWARD_LIE"));
  std::uint64_t lie_at_ = number_from("KMFORWARD_LIE_AT", 10);
  std::uint64_t lie_item_ = number_from("KMFORWARD_LIE_ITEM", 10);
  std::string_view lie_name_ = text_from("KMFORWARD_LIE_NAME");
  std::atomic<std::uint64_t> lie_matching_{0};
  std::uint64_t hang_at_ = number_from("KMFORWARD_HANG_AT", 10);
  kmforward::Losses losses_{text_from("KMFORWARD_LOSE"), number_from("KMFORWARD_LOSE_AT", 10)};
};

CK_FUNCTION_LIST table{};

/// What is handed on for one argument: mechanisms under the real module's number.
class Mechanism {
 public:
  Mechanism(const Forwarder& forwarder, CK_MECHANISM* mechanism) {
    if (mechanism == nullptr) return;
    copy_ = *mechanism;
    copy_.mechanism = forwarder.to_real(mechanism->mechanism);
    pointer_ = &copy_;
  }
  Mechanism(const Mechanism&) = delete;
  Mechanism& operator=(const Mechanism&) = delete;
  CK_MECHANISM* get() { return pointer_; }

 private:
  CK_MECHANISM copy_{};
  CK_MECHANISM* pointer_ = nullptr;
};
template <class Arg>
class Same {
 public:
  Same(const Forwarder&, Arg arg) : arg_(arg) {}
  Arg get() { return arg_; }

 private:
  Arg arg_;
};
template <class Arg>
using Handed = std::conditional_t<std::is_same_v<Arg, CK_MECHANISM*>, Mechanism, Same<Arg>>;

/// `member` of the function list, wrapped: Forward<type, member>::call has exactly the type of the entry.
template <class Type, Type CK_FUNCTION_LIST::*member>
struct Forward;

template <class... Args, CK_RV (*CK_FUNCTION_LIST::*member)(Args...)>
struct Forward<CK_RV (*)(Args...), member> {
  static inline const char* name = "";
  static CK_RV call(Args... args) {
    Forwarder& forwarder = Forwarder::instance();
    const auto function = forwarder.real()->*member;
    if (function == nullptr) return CKR_FUNCTION_NOT_SUPPORTED;
    return forwarder.run(name, Answers::of(name, args...), [&] { return function(Handed<Args>(forwarder, args).get()...); });
  }
  static void put(const char* own_name) {
    name = own_name;
    table.*member = &call;
  }
};

CK_RV get_mechanism_list(CK_SLOT_ID slot, CK_MECHANISM_TYPE* list, CK_ULONG* count) {
  Forwarder& forwarder = Forwarder::instance();
  return forwarder.run("C_GetMechanismList", Answers::of("C_GetMechanismList", slot, list, count), [&] {
    const CK_RV rv = forwarder.real()->C_GetMechanismList(slot, list, count);
    for (CK_ULONG i = 0; rv == CKR_OK && list != nullptr && i < *count; ++i) list[i] = forwarder.to_caller(list[i]);
    return rv;
  });
}

CK_RV get_mechanism_info(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO* info) {
  Forwarder& forwarder = Forwarder::instance();
  return forwarder.run("C_GetMechanismInfo", Answers::of("C_GetMechanismInfo", slot, type, info),
                       [&] { return forwarder.real()->C_GetMechanismInfo(slot, forwarder.to_real(type), info); });
}

CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO* info) {
  Forwarder& forwarder = Forwarder::instance();
  return forwarder.run("C_GetTokenInfo", Answers::of("C_GetTokenInfo", slot, info), [&] {
    const CK_RV rv = forwarder.real()->C_GetTokenInfo(slot, info);
    if (rv == CKR_OK) info->flags |= number_from("KMFORWARD_TOKEN_FLAGS", 16);
    return rv;
  });
}

CK_RV get_slot_info(CK_SLOT_ID slot, CK_SLOT_INFO* info) {
  Forwarder& forwarder = Forwarder::instance();
  return forwarder.run("C_GetSlotInfo", Answers::of("C_GetSlotInfo", slot, info), [&] {
    const CK_RV rv = forwarder.real()->C_GetSlotInfo(slot, info);
    if (rv == CKR_OK && forwarder.losses().removed()) info->flags &= ~CK_FLAGS{CKF_TOKEN_PRESENT};
    return rv;
  });
}

CK_RV get_slot_list(CK_BBOOL present, CK_SLOT_ID* list, CK_ULONG* count) {
  Forwarder& forwarder = Forwarder::instance();
  return forwarder.run("C_GetSlotList", Answers::of("C_GetSlotList", present, list, count), [&] {
    if (present == CK_FALSE || !forwarder.losses().removed()) return forwarder.real()->C_GetSlotList(present, list, count);
    *count = 0;
    return CK_RV{CKR_OK};
  });
}

CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void* application, CK_NOTIFY notify, CK_SESSION_HANDLE* session) {
  Forwarder& forwarder = Forwarder::instance();
  return forwarder.run("C_OpenSession", Answers::of("C_OpenSession", slot, flags, application, notify, session), [&] {
    const CK_RV rv = forwarder.real()->C_OpenSession(slot, flags, application, notify, session);
    if (rv == CKR_OK) forwarder.losses().opened(slot, *session);
    return rv;
  });
}

CK_RV close_session(CK_SESSION_HANDLE session) {
  Forwarder& forwarder = Forwarder::instance();
  return forwarder.run("C_CloseSession", {}, [&] {
    forwarder.losses().closed(session);
    return forwarder.real()->C_CloseSession(session);
  });
}

/// KMFORWARD_WEAK: what was set although the real module refuses it.
std::map<std::pair<CK_OBJECT_HANDLE, CK_ATTRIBUTE_TYPE>, CK_BYTE>& weak_flags() {
  static std::map<std::pair<CK_OBJECT_HANDLE, CK_ATTRIBUTE_TYPE>, CK_BYTE> flags;
  return flags;
}

CK_RV weak_get(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE* list, CK_ULONG count) {
  Forwarder& forwarder = Forwarder::instance();
  return forwarder.run("C_GetAttributeValue", Answers::of("C_GetAttributeValue", session, object, list, count), [&] {
    constexpr CK_ULONG invented = 32;
    if (count == 1 && list[0].type == CKA_VALUE && list[0].ulValueLen >= invented && list[0].pValue != nullptr) {
      std::memset(list[0].pValue, 0x2A, invented);
      list[0].ulValueLen = invented;
      return CK_RV{CKR_OK};
    }
    const CK_RV rv = forwarder.real()->C_GetAttributeValue(session, object, list, count);
    for (CK_ULONG i = 0; i < count; ++i) {
      const auto set = weak_flags().find({object, list[i].type});
      if (set != weak_flags().end() && list[i].ulValueLen == 1) *static_cast<CK_BYTE*>(list[i].pValue) = set->second;
    }
    return rv;
  });
}

CK_RV weak_set(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE* list, CK_ULONG count) {
  Forwarder& forwarder = Forwarder::instance();
  return forwarder.run("C_SetAttributeValue", {}, [&] {
    const bool weak = count == 1 && (list[0].type == CKA_SENSITIVE || list[0].type == CKA_EXTRACTABLE);
    if (!weak) return forwarder.real()->C_SetAttributeValue(session, object, list, count);
    weak_flags()[{object, list[0].type}] = *static_cast<CK_BYTE*>(list[0].pValue);
    return CK_RV{CKR_OK};
  });
}

void fill_table() {
#define PUT(function) Forward<decltype(CK_FUNCTION_LIST::function), &CK_FUNCTION_LIST::function>::put(#function)
  PUT(C_Initialize), PUT(C_Finalize), PUT(C_GetInfo), PUT(C_GetSlotList), PUT(C_GetSlotInfo), PUT(C_GetTokenInfo);
  PUT(C_GetMechanismList), PUT(C_GetMechanismInfo), PUT(C_InitToken), PUT(C_InitPIN), PUT(C_SetPIN), PUT(C_OpenSession);
  PUT(C_CloseSession), PUT(C_CloseAllSessions), PUT(C_GetSessionInfo), PUT(C_GetOperationState), PUT(C_SetOperationState);
  PUT(C_Login), PUT(C_Logout), PUT(C_CreateObject), PUT(C_CopyObject), PUT(C_DestroyObject), PUT(C_GetObjectSize);
  PUT(C_GetAttributeValue), PUT(C_SetAttributeValue), PUT(C_FindObjectsInit), PUT(C_FindObjects), PUT(C_FindObjectsFinal);
  PUT(C_EncryptInit), PUT(C_Encrypt), PUT(C_EncryptUpdate), PUT(C_EncryptFinal), PUT(C_DecryptInit), PUT(C_Decrypt);
  PUT(C_DecryptUpdate), PUT(C_DecryptFinal), PUT(C_DigestInit), PUT(C_Digest), PUT(C_DigestUpdate), PUT(C_DigestKey);
  PUT(C_DigestFinal), PUT(C_SignInit), PUT(C_Sign), PUT(C_SignUpdate), PUT(C_SignFinal), PUT(C_SignRecoverInit);
  PUT(C_SignRecover), PUT(C_VerifyInit), PUT(C_Verify), PUT(C_VerifyUpdate), PUT(C_VerifyFinal), PUT(C_VerifyRecoverInit);
  PUT(C_VerifyRecover), PUT(C_DigestEncryptUpdate), PUT(C_DecryptDigestUpdate), PUT(C_SignEncryptUpdate);
  PUT(C_DecryptVerifyUpdate), PUT(C_GenerateKey), PUT(C_GenerateKeyPair), PUT(C_WrapKey), PUT(C_UnwrapKey), PUT(C_DeriveKey);
  PUT(C_SeedRandom), PUT(C_GenerateRandom), PUT(C_GetFunctionStatus), PUT(C_CancelFunction), PUT(C_WaitForSlotEvent);
#undef PUT
  table.C_GetMechanismList = &get_mechanism_list;
  table.C_GetMechanismInfo = &get_mechanism_info;
  table.C_GetTokenInfo = &get_token_info;
  table.C_GetSlotInfo = &get_slot_info;
  table.C_GetSlotList = &get_slot_list;
  table.C_OpenSession = &open_session;
  table.C_CloseSession = &close_session;
  if (std::getenv("KMFORWARD_WEAK") == nullptr) return;
  table.C_GetAttributeValue = &weak_get;
  table.C_SetAttributeValue = &weak_set;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST** list) {
  Forwarder& forwarder = Forwarder::instance();
  if (forwarder.real() == nullptr) return CKR_GENERAL_ERROR;
  if (list == nullptr) return CKR_ARGUMENTS_BAD;
  return forwarder.run("C_GetFunctionList", {}, [&]() -> CK_RV {
    table.version = forwarder.real()->version;
    table.C_GetFunctionList = &C_GetFunctionList;
    fill_table();
    *list = &table;
    return CKR_OK;
  });
}
