#include "kmtool/core/secret.hpp"
#include "kmtool/core/locked_size.hpp"

#include <malloc.h>
#include <openssl/crypto.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "kmtool/core/error.hpp"

namespace kmtool {
namespace {

constexpr std::size_t heap_size = std::size_t{1} << 20;  // a power of two, as OpenSSL's buddy allocator wants it
constexpr std::size_t smallest_block = 32;

std::atomic<bool> heap_ready{false};

/// CRYPTO_secure_malloc hands over to CRYPTO_malloc, which is allocate() below, while its heap is not there yet or no
/// longer there (OPENSSL_cleanup takes it down when it is empty). This ends the circle.
thread_local bool inside = false;
thread_local int scopes = 0;
thread_local std::size_t only_size = 0;  ///< a LockedSize is there

void* from_secure_heap(std::size_t size) {
  if (inside || !heap_ready.load(std::memory_order_acquire)) return nullptr;
  inside = true;
  void* memory = CRYPTO_secure_malloc(size, nullptr, 0);
  inside = false;
  return memory;
}

void* allocate(std::size_t size, const char*, int) {
  if (size == 0) return nullptr;
  if (scopes > 0 || size == only_size) {
    if (void* memory = from_secure_heap(size)) return memory;
  }
  return std::malloc(size);  // before the heap is made, inside its own making, and when it is full
}

void release(void* memory, const char*, int) {
  if (memory == nullptr) return;
  if (CRYPTO_secure_allocated(memory) != 0) {
    CRYPTO_secure_free(memory, nullptr, 0);  // cleanses the whole block
    return;
  }
  OPENSSL_cleanse(memory, malloc_usable_size(memory));
  std::free(memory);
}

void* reallocate(void* memory, std::size_t size, const char* file, int line) {
  if (memory == nullptr) return allocate(size, file, line);
  if (size == 0) {
    release(memory, file, line);
    return nullptr;
  }
  const bool locked = CRYPTO_secure_allocated(memory) != 0;
  const std::size_t have = locked ? CRYPTO_secure_actual_size(memory) : malloc_usable_size(memory);
  if (size <= have && size > have / 2) return memory;
  const LockedScope stay(locked);  // what was born locked stays so
  void* moved = allocate(size, file, line);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, memory, std::min(size, have));
  release(memory, file, line);
  return moved;
}

bool install_once() {
  const bool routed = CRYPTO_set_mem_functions(allocate, reallocate, release) == 1;
  const int made = CRYPTO_secure_malloc_init(heap_size, smallest_block);
  heap_ready.store(made != 0, std::memory_order_release);
  return routed && made == 1;
}

}  // namespace

LockedScope::LockedScope(bool on) noexcept : on_(on) { scopes += on_ ? 1 : 0; }
LockedScope::~LockedScope() { scopes -= on_ ? 1 : 0; }

LockedSize::LockedSize(std::size_t size) noexcept : before_(only_size) { only_size = size; }
LockedSize::~LockedSize() { only_size = before_; }

bool install_secret_heap() {
  static const bool installed = install_once();
  return installed;
}

void forbid_core_dumps() {
  const char* allow = std::getenv("KMTOOL_TEST_ALLOW_DUMP");
  if (allow != nullptr && std::strcmp(allow, "1") == 0) return;
  const rlimit none{0, 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
    throw Error::internal("core dumps cannot be switched off");
  }
}

SecretBytes::SecretBytes(std::size_t size) : size_(size) {
  if (size == 0) return;
  data_ = static_cast<std::uint8_t*>(OPENSSL_secure_zalloc(size + 1));  // one more for reveal_c_str()
  if (data_ == nullptr) throw Error::internal("the locked memory for secrets is used up");
}

SecretBytes::SecretBytes(ByteView copy_of) : SecretBytes(copy_of.size()) {
  if (!copy_of.empty()) std::memcpy(data_, copy_of.data(), copy_of.size());
}

SecretBytes::SecretBytes(SecretBytes&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  // What was here does not linger in the moved-from object.
  SecretBytes gone(std::move(other));
  return *this;
}

SecretBytes::~SecretBytes() {
  if (data_ != nullptr) OPENSSL_secure_clear_free(data_, size_ + 1);
}

const char* SecretBytes::reveal_c_str() const noexcept { return data_ == nullptr ? "" : reinterpret_cast<const char*>(data_); }

void SecretBytes::truncate(std::size_t n) {
  if (n >= size_) return;
  OPENSSL_cleanse(data_ + n, size_ - n);
  size_ = n;
}

bool SecretBytes::equals(const SecretBytes& other) const noexcept {
  return size_ == other.size_ && (size_ == 0 || CRYPTO_memcmp(data_, other.data_, size_) == 0);
}

void cleanse(void* data, std::size_t size) noexcept {
  if (size != 0) OPENSSL_cleanse(data, size);
}

}  // namespace kmtool
