#include "kmtool/core/secret.hpp"

#include <doctest/doctest.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <thread>
#include <type_traits>
#include <vector>

using namespace kmtool;

static_assert(!std::is_copy_constructible_v<SecretBytes> && !std::is_copy_assignable_v<SecretBytes>);

TEST_CASE("within a scope every OpenSSL allocation lies on the secure heap, and stays there") {
  install_secret_heap();  // a second time: harmless
  REQUIRE(CRYPTO_secure_malloc_initialized() == 1);
  void* outside = OPENSSL_malloc(100);
  CHECK(CRYPTO_secure_allocated(outside) == 0);
  OPENSSL_free(outside);
  void* plain = nullptr;
  {
    const LockedScope locked;
    plain = OPENSSL_malloc(100);
  }
  CHECK(CRYPTO_secure_allocated(plain) == 1);
  std::memset(plain, 7, 100);
  plain = OPENSSL_realloc(plain, 1000);
  CHECK(CRYPTO_secure_allocated(plain) == 1);
  CHECK(static_cast<unsigned char*>(plain)[99] == 7);
  plain = OPENSSL_realloc(plain, 10);
  CHECK(static_cast<unsigned char*>(plain)[9] == 7);
  CHECK(OPENSSL_realloc(plain, 0) == nullptr);
  const LockedScope locked;
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  CHECK(CRYPTO_secure_allocated(context) == 1);
  EVP_MD_CTX_free(context);
  CHECK(OPENSSL_malloc(0) == nullptr);
  OPENSSL_free(nullptr);
}

TEST_CASE("a full heap falls back and recovers") {
  const LockedScope locked;
  const std::size_t before = CRYPTO_secure_used();
  std::vector<void*> blocks;
  bool fell_back = false;
  for (int i = 0; i < 200; ++i) {
    blocks.push_back(OPENSSL_malloc(60000));
    REQUIRE(blocks.back() != nullptr);
    std::memset(blocks.back(), 1, 60000);
    fell_back = fell_back || CRYPTO_secure_allocated(blocks.back()) == 0;
  }
  CHECK(fell_back);
  // A block outside may move inside again and the other way round.
  blocks.back() = OPENSSL_realloc(blocks.back(), 120000);
  REQUIRE(blocks.back() != nullptr);
  CHECK(static_cast<unsigned char*>(blocks.back())[59999] == 1);
  for (void* block : blocks) OPENSSL_free(block);
  CHECK(CRYPTO_secure_used() == before);
}

#ifndef KMTOOL_SANITIZED  // it reads what was freed
TEST_CASE("a freed block is cleansed") {
  auto* block = static_cast<volatile unsigned char*>(OPENSSL_malloc(64));
  for (int i = 0; i < 64; ++i) block[i] = 0xa5;
  OPENSSL_free(const_cast<unsigned char*>(block));
  // Still mapped: the arena stays. The allocator's own list pointers may stand in the first bytes.
  for (int i = 32; i < 64; ++i) CHECK(block[i] == 0);
}
#endif

TEST_CASE("many threads at once") {
  std::vector<std::thread> threads;
  std::vector<int> wrong(8, 0);
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([t, &wrong] {
      for (std::size_t i = 1; i < 500; ++i) {
        auto* block = static_cast<unsigned char*>(OPENSSL_malloc(i));
        std::memset(block, static_cast<int>(t), i);
        block = static_cast<unsigned char*>(OPENSSL_realloc(block, i * 3));
        for (std::size_t j = 0; j < i; ++j) wrong[t] += block[j] != t;
        OPENSSL_free(block);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const int count : wrong) CHECK(count == 0);
}

TEST_CASE("secret bytes") {
  const SecretBytes none;
  CHECK(none.empty());
  CHECK(std::string(none.reveal_c_str()).empty());
  SecretBytes pin(view("123456"));
  CHECK(pin.size() == 6);
  CHECK(std::string(pin.reveal_c_str()) == "123456");
  CHECK(CRYPTO_secure_allocated(pin.reveal().data()) == 1);
  CHECK(pin.equals(SecretBytes(view("123456"))));
  CHECK_FALSE(pin.equals(SecretBytes(view("123457"))));
  CHECK_FALSE(pin.equals(SecretBytes(view("12345"))));
  CHECK(none.equals(SecretBytes(std::size_t{0})));

  SecretBytes moved(std::move(pin));
  CHECK(pin.empty());  // NOLINT: that it is empty is the point
  CHECK(moved.size() == 6);
  SecretBytes other(view("old"));
  other = std::move(moved);
  CHECK(moved.empty());  // NOLINT
  CHECK(std::string(other.reveal_c_str()) == "123456");

  other.truncate(10);
  CHECK(other.size() == 6);
  const std::uint8_t* data = other.reveal().data();
  other.truncate(2);
  CHECK(std::string(other.reveal_c_str()) == "12");
  for (int i = 2; i < 6; ++i) CHECK(data[i] == 0);

  SecretBytes zeros(8);
  CHECK(equal(zeros.reveal(), Bytes(8, 0)));
  zeros.reveal_mutable()[0] = 9;
  CHECK(zeros.reveal()[0] == 9);
  cleanse(zeros.reveal_mutable().data(), zeros.size());
  CHECK(zeros.reveal()[0] == 0);
  cleanse(nullptr, 0);
}

namespace {

/// Runs a check in a child, as it cannot be undone in this process.
template <typename Check>
bool holds_in_child(const Check& check) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) _exit(check() ? 0 : 1);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool dumps_forbidden() {
  rlimit limit{};
  getrlimit(RLIMIT_CORE, &limit);
  return limit.rlim_max == 0 && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0;
}

}  // namespace

TEST_CASE("core dumps are forbidden, unless the test's variable says so") {
  CHECK(holds_in_child([] {
    unsetenv("KMTOOL_TEST_ALLOW_DUMP");
    forbid_core_dumps();
    return dumps_forbidden();
  }));
  CHECK(holds_in_child([] {
    setenv("KMTOOL_TEST_ALLOW_DUMP", "0", 1);
    forbid_core_dumps();
    return dumps_forbidden();
  }));
  CHECK(holds_in_child([] {
    setenv("KMTOOL_TEST_ALLOW_DUMP", "1", 1);
    const int before = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    forbid_core_dumps();
    return before == 1 && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1;
  }));
}
