#pragma once
// What libkmforward does beside failing and killing: it lies about what the real module answered, hangs, and loses things.
//
//   KMFORWARD_LIE       long     lengths and counts say 8 octets (or items) more than the caller's buffer holds
//                       huge     ... 2^40
//                       most     ... the largest number there is
//                       full     ... that the buffer is full, whatever was written; a search with this never ends
//                       nothing  ... 0, and new handles are 0
//                       cut      ... half of what they were; a new handle is the one before it, another object's
//                       garbage  octets, numbers, flags and new handles are other ones
//   KMFORWARD_LIE_AT    at the Nth call (default: at each) ...
//   KMFORWARD_LIE_NAME  ... of this name (default: of any)
//   KMFORWARD_LIE_ITEM  only the so-manieth answer of a call that gives several, such as C_GetAttributeValue (default: all)
//   KMFORWARD_HANG_AT   the Nth call never returns
//   KMFORWARD_LOSE_AT   before the Nth call is forwarded there are gone ...
//   KMFORWARD_LOSE      sessions  all sessions; their handles are invalid from then on
//                       login     the login
//                       token     the token: the slot is empty from then on
//
// A lie is told about successful calls alone (and what attribute calls answer in part), and never writes beyond what the caller gave.
#include <p11-kit/pkcs11.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace kmforward {

enum class Lie { none, too_long, huge, most, full, nothing, cut, garbage };

inline Lie lie_from(std::string_view text) {
  constexpr std::pair<std::string_view, Lie> names[] = {{"long", Lie::too_long}, {"huge", Lie::huge}, {"most", Lie::most}, {"full", Lie::full},
                                                        {"nothing", Lie::nothing}, {"cut", Lie::cut}, {"garbage", Lie::garbage}};
  for (const auto& [name, lie] : names) {
    if (name == text) return lie;
  }
  return Lie::none;
}

/// One thing that a call answers.
class Answer {
 public:
  /// `capacity` items of `unit` octets; the module sets `length` to how many it wrote. A null `data` asks for the length.
  static Answer items(void* data, CK_ULONG* length, std::size_t unit) {
    return {data, length, data == nullptr || length == nullptr ? 0 : *length, unit};
  }
  static Answer counted(void* data, CK_ULONG capacity, CK_ULONG* count, std::size_t unit) { return {data, count, capacity, unit}; }
  static Answer handle(CK_ULONG* handle) { return {nullptr, handle, 0, 0}; }
  /// Always `size` octets.
  static Answer fixed(void* data, std::size_t size) { return {data, nullptr, size, 1}; }

  /// Whether there was anything that this lie could be about.
  bool distort(Lie lie) {
    if (unit_ == 0) return length_ != nullptr && distort_handle(lie);
    if (length_ == nullptr) return distort_fixed(lie);
    if (*length_ == ~CK_ULONG{0}) return false;  // an attribute that there is not
    switch (lie) {
      case Lie::too_long:
        *length_ = std::max(capacity_, *length_) + 8;
        return true;
      case Lie::huge:
        *length_ = CK_ULONG{1} << 40;
        return true;
      case Lie::most:
        *length_ = ~CK_ULONG{0};
        return true;
      case Lie::full:
        return std::exchange(*length_, capacity_) != capacity_;
      case Lie::nothing:
        return std::exchange(*length_, 0) != 0;
      case Lie::cut:
        return std::exchange(*length_, *length_ / 2) != 0;
      default:
        return lie == Lie::garbage && spoil(std::min(*length_, capacity_) * unit_);
    }
  }

 private:
  Answer(void* data, CK_ULONG* length, CK_ULONG capacity, std::size_t unit)
      : data_(static_cast<unsigned char*>(data)), length_(length), capacity_(capacity), unit_(unit) {}

  bool spoil(std::size_t octets) {
    if (data_ == nullptr || octets == 0) return false;
    for (std::size_t i = 0; i < octets; ++i) data_[i] ^= octets == 1 ? 0x01 : 0x5A;
    return true;
  }
  bool distort_fixed(Lie lie) {
    if (lie == Lie::garbage) return spoil(capacity_);
    if (data_ == nullptr || capacity_ == 0 || (lie != Lie::nothing && lie != Lie::cut)) return false;
    const std::size_t kept = lie == Lie::cut ? capacity_ / 2 : 0;
    std::memset(data_ + kept, 0, capacity_ - kept);
    return true;
  }
  bool distort_handle(Lie lie) {
    if (lie == Lie::nothing) *length_ = 0;
    if (lie == Lie::cut) *length_ -= 1;
    if (lie == Lie::garbage) *length_ ^= 0x5A5A;
    if (lie == Lie::huge) *length_ = CK_ULONG{1} << 40;
    if (lie == Lie::most) *length_ = ~CK_ULONG{0};
    return lie != Lie::too_long && lie != Lie::full;
  }

  unsigned char* data_;
  CK_ULONG* length_;
  CK_ULONG capacity_;
  std::size_t unit_;
};

/// What a call will answer, collected before it is forwarded: afterwards the sizes of the caller's buffers are gone.
class Answers {
 public:
  Answers() = default;
  template <class... Args>
  static Answers of(std::string_view name, Args... args) {
    Answers out;
    out.collect(name, std::make_tuple(args...), std::index_sequence_for<Args...>());
    return out;
  }
  /// How many of them are lied about; `only` (from 1) picks one, 0 means all.
  unsigned distort(Lie lie, std::uint64_t only) {
    unsigned told = 0;
    for (std::size_t i = 0; i < list_.size(); ++i) {
      if (only == 0 || (only - 1) % list_.size() == i) told += list_[i].distort(lie) ? 1 : 0;
    }
    return told;
  }

 private:
  static bool makes_handles(std::string_view name) {
    return name == "C_CreateObject" || name == "C_CopyObject" || name == "C_GenerateKey" || name == "C_GenerateKeyPair" ||
           name == "C_UnwrapKey" || name == "C_DeriveKey" || name == "C_OpenSession";
  }
  template <class Tuple, std::size_t... i>
  void collect(std::string_view name, const Tuple& args, std::index_sequence<i...>) {
    (collect_one<i>(name, args), ...);
  }
  template <std::size_t i, class Tuple>
  void collect_one(std::string_view name, const Tuple& args) {
    using Arg = std::tuple_element_t<i, Tuple>;
    const Arg arg = std::get<i>(args);
    constexpr bool followed = i + 1 < std::tuple_size_v<Tuple>;
    if constexpr (std::is_same_v<Arg, CK_TOKEN_INFO*> || std::is_same_v<Arg, CK_SLOT_INFO*> || std::is_same_v<Arg, CK_INFO*> ||
                  std::is_same_v<Arg, CK_SESSION_INFO*> || std::is_same_v<Arg, CK_MECHANISM_INFO*>) {
      if (arg != nullptr) list_.push_back(Answer::fixed(arg, sizeof *arg));
    } else if constexpr (std::is_same_v<Arg, CK_ATTRIBUTE*> && followed) {
      if (name != "C_GetAttributeValue") return;
      for (CK_ULONG n = 0; n < std::get<i + 1>(args); ++n) list_.push_back(Answer::items(arg[n].pValue, &arg[n].ulValueLen, 1));
    } else if constexpr (std::is_same_v<Arg, CK_BYTE*> && followed) {
      using Next = std::tuple_element_t<i + 1, Tuple>;
      if constexpr (std::is_same_v<Next, CK_ULONG*>) {
        if (std::get<i + 1>(args) != nullptr) list_.push_back(Answer::items(arg, std::get<i + 1>(args), 1));
      } else if constexpr (std::is_same_v<Next, CK_ULONG>) {
        if (name == "C_GenerateRandom") list_.push_back(Answer::fixed(arg, std::get<i + 1>(args)));
      }
    } else if constexpr (std::is_same_v<Arg, CK_ULONG*>) {
      collect_numbers<i>(name, args);
    }
  }
  template <std::size_t i, class Tuple>
  void collect_numbers(std::string_view name, const Tuple& args) {
    CK_ULONG* const arg = std::get<i>(args);
    if (makes_handles(name) && arg != nullptr) list_.push_back(Answer::handle(arg));
    if constexpr (i + 2 < std::tuple_size_v<Tuple>) {
      using Last = std::tuple_element_t<i + 2, Tuple>;
      if constexpr (std::is_same_v<Last, CK_ULONG*> && std::is_same_v<std::tuple_element_t<i + 1, Tuple>, CK_ULONG>) {
        if (name == "C_FindObjects") list_.push_back(Answer::counted(arg, std::get<i + 1>(args), std::get<i + 2>(args), sizeof(CK_ULONG)));
      }
    }
    if constexpr (i + 1 < std::tuple_size_v<Tuple>) {
      if constexpr (std::is_same_v<std::tuple_element_t<i + 1, Tuple>, CK_ULONG*>) {
        const bool list = name == "C_GetSlotList" || name == "C_GetMechanismList";
        if (list && std::get<i + 1>(args) != nullptr) list_.push_back(Answer::items(arg, std::get<i + 1>(args), sizeof(CK_ULONG)));
      }
    }
  }

  std::vector<Answer> list_;
};

/// Sessions, login and token that disappear.
class Losses {
 public:
  Losses(std::string_view what, std::uint64_t at) : what_(what), at_(at) {}

  void opened(CK_SLOT_ID slot, CK_SESSION_HANDLE session) {
    const std::lock_guard guard(mutex_);
    sessions_[session] = slot;
  }
  void closed(CK_SESSION_HANDLE session) {
    const std::lock_guard guard(mutex_);
    sessions_.erase(session);
  }
  void reach(std::uint64_t number, const CK_FUNCTION_LIST* real) {
    if (at_ == 0 || number < at_) return;
    const std::lock_guard guard(mutex_);
    if (std::exchange(done_, true)) return;
    if (what_ == "login") {
      if (!sessions_.empty()) real->C_Logout(sessions_.begin()->first);
      return;
    }
    for (const auto& [session, slot] : sessions_) real->C_CloseAllSessions(slot);
    sessions_.clear();
    removed_ = what_ == "token";
  }
  /// What a call answers that needs the token, when that is gone; CKR_OK for the others.
  [[nodiscard]] CK_RV answer(std::string_view name) const {
    constexpr std::string_view of_library[] = {"C_GetFunctionList", "C_Initialize", "C_Finalize", "C_GetInfo", "C_GetSlotList", "C_GetSlotInfo"};
    constexpr std::string_view of_slot[] = {"C_GetTokenInfo", "C_GetMechanismList", "C_GetMechanismInfo", "C_InitToken", "C_OpenSession",
                                            "C_CloseAllSessions"};
    const auto among = [&](const auto& names) { return std::find(std::begin(names), std::end(names), name) != std::end(names); };
    if (!removed_ || among(of_library)) return CKR_OK;
    return among(of_slot) ? CKR_TOKEN_NOT_PRESENT : CKR_DEVICE_REMOVED;
  }
  [[nodiscard]] bool removed() const { return removed_; }

 private:
  std::string_view what_;
  std::uint64_t at_;
  bool done_ = false;
  std::atomic<bool> removed_{false};
  std::mutex mutex_;
  std::map<CK_SESSION_HANDLE, CK_SLOT_ID> sessions_;
};

[[noreturn]] inline void hang() {
  for (;;) pause();
}

}  // namespace kmforward
