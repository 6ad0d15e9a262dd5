#pragma once
#include <cstddef>
#include <filesystem>

#include "kmtool/core/file.hpp"
#include "kmtool/core/secret.hpp"

namespace kmtool {

/// For libraries that keep what they are given on the plain heap (the one that draws QR codes): from here on the heap of the main
/// thread, grown by a megabyte beforehand, cannot be swapped out and is left out of core dumps. Best effort: false where the
/// limit on locked memory (RLIMIT_MEMLOCK) is too small.
bool lock_heap();

/// A file's bytes, read straight into locked memory. Throws missing (66), io (74), damaged (65) beyond `limit` bytes.
SecretBytes read_secret_file(const fs::path& path, std::size_t limit);
/// Writes bytes that lie in locked memory into a file, past its buffer, which lies on the plain heap.
void write_secret(AtomicFile& file, const SecretBytes& bytes);

}  // namespace kmtool
