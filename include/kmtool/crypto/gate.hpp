#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "kmtool/core/bytes.hpp"
#include "kmtool/core/secret.hpp"

namespace kmtool::crypto {

/// The quorum's layer: values that are wrapped already are encrypted once more, on the host, under a key made from a gate secret
/// that custodians hold in shares. It adds dual control and nothing else: it never counts as strength, for it has been on a host.

/// Where a wrapped value stands; it decides its key, and is bound to it as associated data.
struct GatePlace {
  std::string bundle;  ///< UUID text
  std::uint32_t record = 0, recipient = 0;
};

inline constexpr std::size_t gate_secret_size = 32;  ///< octets, of C_GenerateRandom
inline constexpr std::size_t gate_iv_size = 12;
inline constexpr std::size_t gate_overhead = gate_iv_size + 16;

/// iv ‖ AES-256-GCM(wrapped) ‖ tag (128 bits). The key is HKDF-SHA256 (RFC 5869) of the gate secret without salt; info and
/// associated data are "kmtool-gate-v1\n" ‖ bundle id ‖ record ‖ recipient (numbers in 4 octets, big-endian). `iv`: 12 octets of
/// C_GenerateRandom; each key encrypts one value only. Throws internal (70).
Bytes gate_lock(const SecretBytes& gate, const GatePlace& place, ByteView iv, ByteView wrapped);
/// nullopt where the tag does not hold: another gate secret, another place, or a changed value.
std::optional<Bytes> gate_open(const SecretBytes& gate, const GatePlace& place, ByteView locked);

}  // namespace kmtool::crypto
