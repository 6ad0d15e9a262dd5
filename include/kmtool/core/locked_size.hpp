#pragma once
#include <cstddef>

namespace kmtool {

/// A LockedScope for one thing of known length: OpenSSL allocations of exactly `size` octets come from the locked heap. For a login: libp11
/// keeps its copy of the PIN, octets and NUL, until it logs out. A software token in the same process derives its key from the PIN in
/// thousands of short allocations, which would take a third longer from there; those are cleansed when they are freed like every other.
class LockedSize {
 public:
  explicit LockedSize(std::size_t size) noexcept;
  LockedSize(const LockedSize&) = delete;
  LockedSize& operator=(const LockedSize&) = delete;
  ~LockedSize();

 private:
  std::size_t before_;
};

}  // namespace kmtool
