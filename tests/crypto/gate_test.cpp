#include "kmtool/crypto/gate.hpp"

#include <doctest/doctest.h>

#include <numeric>

#include "kmtool/core/encoding.hpp"

namespace kmtool::crypto {

namespace {

SecretBytes counting_secret() {
  SecretBytes secret(gate_secret_size);
  std::iota(secret.reveal_mutable().begin(), secret.reveal_mutable().end(), std::uint8_t{0});
  return secret;
}

const GatePlace place{"e5506cfc-d9ae-4ffe-a779-6ce00ccfadb0", 1, 0};

}  // namespace

TEST_CASE("the layer is HKDF-SHA256 and AES-256-GCM as documented") {
  install_secret_heap();
  // Made with Python's hmac and cryptography's AESGCM from the same secret, place, IV of zeros and "wrapped value".
  const auto expected = std::string(24, '0') + "ef5ffecc1de8f1a90d7fd6c08412b8c26d39141ceb37cc1c710cdb7396";
  const auto secret = counting_secret();
  const auto locked = gate_lock(secret, place, Bytes(gate_iv_size), view("wrapped value"));
  CHECK(hex(locked) == expected);
  CHECK(locked.size() == 13 + gate_overhead);
  CHECK(gate_open(secret, place, locked) == to_bytes("wrapped value"));
}

TEST_CASE("another secret, another place and every changed bit are refused") {
  const auto secret = counting_secret();
  const auto locked = gate_lock(secret, place, Bytes(gate_iv_size, 7), view("x"));
  auto other = counting_secret();
  other.reveal_mutable()[31] ^= 1;
  CHECK_FALSE(gate_open(other, place, locked));
  for (const GatePlace& elsewhere :
       {GatePlace{place.bundle, 1, 1}, GatePlace{place.bundle, 0, 0}, GatePlace{"f5506cfc-d9ae-4ffe-a779-6ce00ccfadb0", 1, 0}}) {
    CHECK_FALSE(gate_open(secret, elsewhere, locked));
  }
  for (std::size_t bit = 0; bit < locked.size() * 8; ++bit) {
    Bytes changed = locked;
    changed[bit / 8] = static_cast<std::uint8_t>(changed[bit / 8] ^ (1U << bit % 8));
    CHECK_FALSE(gate_open(secret, place, changed));
  }
  for (std::size_t size = 0; size < locked.size(); ++size) CHECK_FALSE(gate_open(secret, place, ByteView(locked).first(size)));
}

}  // namespace kmtool::crypto
