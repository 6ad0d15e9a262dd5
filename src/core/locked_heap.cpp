#include "kmtool/core/locked_heap.hpp"

#include <fcntl.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <system_error>

#include "kmtool/core/text.hpp"

namespace kmtool {

bool lock_heap() {
  constexpr int reserve = 1 << 20;
  mallopt(M_TOP_PAD, reserve);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);  // never given back
  mallopt(M_MMAP_THRESHOLD, 16 << 20);  // large blocks too
  std::free(std::malloc(static_cast<std::size_t>(reserve)));
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (!line.ends_with("[heap]")) continue;
    std::uintptr_t begin = 0, end = 0;  // `55d0a0000000-55d0a0021000 rw-p …`
    const char* const last = line.data() + line.size();
    const auto first = std::from_chars(line.data(), last, begin, 16);
    if (first.ec != std::errc{} || first.ptr == last || *first.ptr != '-') return false;
    if (std::from_chars(first.ptr + 1, last, end, 16).ec != std::errc{} || end < begin) return false;
    auto* start = reinterpret_cast<void*>(begin);  // NOLINT: an address out of the kernel's table
    const bool hidden = madvise(start, end - begin, MADV_DONTDUMP) == 0;
    return mlock(start, end - begin) == 0 && hidden;
  }
  return false;
}

SecretBytes read_secret_file(const fs::path& path, std::size_t limit) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) throw Error::from_errno("open", path.string(), errno);
  SecretBytes bytes(limit + 1);
  std::size_t used = 0;
  while (used <= limit) {
    const ssize_t n = ::read(fd.get(), bytes.reveal_mutable().data() + used, limit + 1 - used);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Error::from_errno("read", path.string(), errno);
    if (n == 0) break;
    used += static_cast<std::size_t>(n);
  }
  if (used > limit) throw Error::tampered(printable(path.string()) + " is longer than " + std::to_string(limit) + " bytes");
  bytes.truncate(used);
  return bytes;
}

void write_secret(AtomicFile& file, const SecretBytes& bytes) {
  file.write_unbuffered(bytes.reveal());
}

}  // namespace kmtool
