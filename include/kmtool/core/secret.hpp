#pragma once
#include <cstddef>
#include <string_view>

#include "kmtool/core/bytes.hpp"

namespace kmtool {

/// Makes OpenSSL's secure heap (locked, guard pages, left out of core dumps, cleansed on free) for SecretBytes and for what
/// OpenSSL allocates within a LockedScope. Every other OpenSSL allocation lies on the plain heap and is cleansed when it is freed.
/// Must be called before any other OpenSSL call. Returns false where the heap could not be locked (RLIMIT_MEMLOCK) —
/// it is then still excluded from dumps — or could not be made at all. Idempotent.
bool install_secret_heap();

/// While one lives, what OpenSSL allocates on this thread lies on the secure heap, and stays there when it is resized: the copy
/// of the PIN that libp11 keeps until logout, and a software token's buffers while it derives its key. (All of OpenSSL's
/// memory could lie there always; its allocator is slow enough to be a tenth of a command's time.)
class LockedScope {
 public:
  explicit LockedScope(bool on = true) noexcept;
  LockedScope(const LockedScope&) = delete;
  LockedScope& operator=(const LockedScope&) = delete;
  ~LockedScope();

 private:
  bool on_;
};

/// No core dump (RLIMIT_CORE 0) and no ptrace by other processes of the user (PR_SET_DUMPABLE 0). The environment
/// KMTOOL_TEST_ALLOW_DUMP=1 leaves both alone; it exists for the test that searches a dump for secrets.
void forbid_core_dumps();

/// Sensitive bytes (PIN, gate secret): on the secure heap, cleansed on destruction, move-only, no stream operator.
class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(std::size_t size);          ///< zeroed
  explicit SecretBytes(ByteView copy_of);          ///< the caller cleanses its own copy
  SecretBytes(SecretBytes&& other) noexcept;
  SecretBytes& operator=(SecretBytes&& other) noexcept;
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes();

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  /// The dangerous one: named so that it is easy to search for.
  [[nodiscard]] ByteView reveal() const noexcept { return {data_, size_}; }
  [[nodiscard]] std::span<std::uint8_t> reveal_mutable() noexcept { return {data_, size_}; }
  /// NUL-terminated text for C interfaces; the terminator lies behind size().
  [[nodiscard]] const char* reveal_c_str() const noexcept;
  /// Shortens to n bytes, cleansing the rest.
  void truncate(std::size_t n);
  /// Constant time in the contents.
  [[nodiscard]] bool equals(const SecretBytes& other) const noexcept;

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Overwrites memory so that the compiler cannot leave it out.
void cleanse(void* data, std::size_t size) noexcept;

}  // namespace kmtool
