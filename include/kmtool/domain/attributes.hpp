#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kmtool/domain/role.hpp"

namespace kmtool {

/// Which object of a key this is: a KEK is two objects, a pair has two halves.
enum class Part {
  value,         ///< data and mac keys
  kek_wrap,      ///< the KEK's AES key: wraps and unwraps
  kek_seal,      ///< the KEK's HMAC key: seals
  private_half,  ///< of sign and transport
  public_half,
  anchor,        ///< the rollback anchor: a secret object that nothing can be done with
};
std::string_view to_text(Part part);
std::optional<Part> part_from(std::string_view text);
/// The parts a key of this role consists of, secret or private ones first.
const std::vector<Part>& parts_of(Role role);

/// The usage attributes of one object; the only combinations that exist are those usage_of() gives.
struct Usage {
  bool encrypt = false, decrypt = false, sign = false, verify = false, wrap = false, unwrap = false, derive = false;
  bool operator==(const Usage&) const = default;
};
/// Role and part fix it (transport: RSA private halves unwrap, EC private halves derive). Nothing else makes templates.
Usage usage_of(Role role, KeyType type, Part part);
/// `wrap,unwrap`; `none` where nothing is set.
std::string to_text(const Usage& usage);

}  // namespace kmtool
