#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "kmtool/core/bytes.hpp"
#include "kmtool/core/secret.hpp"

namespace kmtool::share {

/// `M/N`: so many of so many.
struct Quorum {
  unsigned needed = 0, shares = 0;
  /// Throws usage (64) unless 2 ≤ M ≤ N ≤ 255: one share alone is no quorum.
  static Quorum parse(const std::string& text);
};

/// One custodian's part of a gate secret (Shamir over GF(2^8), the share's index is where the polynomial is taken).
struct Share {
  std::string bundle;  ///< UUID text
  unsigned index = 0;  ///< 1…shares
  Quorum quorum;
  std::string custodian;  ///< a name
  SecretBytes value;      ///< 32 octets
};

/// The file's text: see kmtool-share(5). Printable, and every line with secret digits carries a check of its own.
SecretBytes dump(const Share& share);
/// Reads what a person may have typed: capitals, blanks, hyphens, empty lines and CR LF do not matter; O counts as 0, I and L
/// as 1. Throws damaged (65) with the line that does not match its check; refused (77) for a share that is still encrypted to its
/// custodian.
Share parse(const SecretBytes& text, const std::string& name);
Share read_share(const std::filesystem::path& path);

/// What the bundle keeps of a share, so that a custodian can check theirs alone: SHA-256 over bundle id, index and value. (256
/// random bits are not found from it.)
std::string commitment(const Share& share);

/// Octets of C_GenerateRandom that split() wants.
std::size_t random_needed(const Quorum& quorum);
/// Splits the gate secret. The library that does it keeps what it is given on the plain heap: it sees the secret only under a
/// random mask, which is taken off the shares again (the constant polynomial that the mask is, is a share of itself everywhere).
/// Throws internal (70).
std::vector<Share> split(const SecretBytes& gate, const Quorum& quorum, const std::string& bundle, const SecretBytes& random);
/// The gate secret of at least `needed` shares that are one bundle's and all different (gather() sees to that). `mask`: 32 random
/// octets.
SecretBytes combine(const std::vector<Share>& shares, const SecretBytes& mask);

}  // namespace kmtool::share
