#include "kmtool/crypto/digest.hpp"

#include <doctest/doctest.h>

#include "core/temp_dir.hpp"
#include "kmtool/core/encoding.hpp"

using namespace kmtool;
using namespace kmtool::crypto;

namespace {
const std::string abc_256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const std::string abc_384 = "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7";
const std::string abc_512 =
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54c"
    "a49f";
const std::string empty_256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

std::string streamed(Hash hash, std::string_view text) {
  Digest digest(hash);
  for (const char& c : text) digest.update(view({&c, 1}));
  return hex(digest.value());
}
}  // namespace

TEST_CASE("digests: FIPS 180-4 examples, in one go and byte by byte") {
  CHECK(hex(sha256(view("abc"))) == abc_256);
  CHECK(hex(sha256({})) == empty_256);
  CHECK(hex(sha512(view("abc"))) == abc_512);
  CHECK(streamed(Hash::sha256, "abc") == abc_256);
  CHECK(streamed(Hash::sha384, "abc") == abc_384);
  CHECK(streamed(Hash::sha512, "abc") == abc_512);
  CHECK(streamed(Hash::sha256, "") == empty_256);
}

TEST_CASE("a value on the way leaves the stream as it is") {
  Digest digest(Hash::sha256);
  digest.update(view("ab"));
  CHECK(hex(digest.value()) == hex(sha256(view("ab"))));
  CHECK(digest.value() == digest.value());
  digest.update(view("c"));
  CHECK(hex(digest.value()) == abc_256);
  Digest moved(std::move(digest));
  moved.update(view("d"));
  CHECK(hex(moved.value()) == hex(sha256(view("abcd"))));
  Digest other(Hash::sha512);
  other = std::move(moved);
  CHECK(other.value().size() == 32);
}

TEST_CASE("digest of a file") {
  const test::TempDir dir;
  CHECK(sha256_file_hex(dir.file("empty", "")) == empty_256);
  CHECK(sha256_file_hex(dir.file("abc", "abc")) == abc_256);
  const std::string large(300000, 'a');
  CHECK(sha256_file_hex(dir.file("large", large)) == hex(sha256(view(large))));
  CHECK(test::exit_of([&] { sha256_file_hex(dir / "none"); }) == ExitCode::missing);
  CHECK(test::exit_of([&] { sha256_file_hex(dir.path()); }) == ExitCode::io);
}
