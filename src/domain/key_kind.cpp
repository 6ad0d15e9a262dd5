#include "kmtool/domain/key_kind.hpp"

#include <algorithm>

#include "kmtool/domain/role.hpp"

namespace kmtool {
namespace {

const char* word(Family family) {
  switch (family) {
    case Family::aes:
      return "aes";
    case Family::des:
      return "des";
    case Family::des3:
      return "3des";
    case Family::rc2:
      return "rc2";
    case Family::rc4:
      return "rc4";
    case Family::generic:
      return "generic";
    case Family::rsa:
      return "rsa";
    case Family::dsa:
      return "dsa";
    case Family::dh:
      return "dh";
    case Family::ec:
      return "ec";
    case Family::certificate:
      return "certificate";
    case Family::data:
      return "data";
    case Family::cipher:
    case Family::edwards:
    case Family::montgomery:
    case Family::unknown:
      break;
  }
  return "";
}

}  // namespace

std::string KeyKind::text() const {
  const std::string begin = word(family);
  if (begin.empty()) return name.empty() ? "unknown" : name;
  if (family == Family::ec) return begin + "-" + (name.empty() ? "unknown" : name);
  return bits == 0 ? begin : begin + "-" + std::to_string(bits);
}

int KeyKind::strength() const {
  const int whole = static_cast<int>(std::min(bits, 100000UL));
  switch (family) {
    case Family::aes:
    case Family::generic:
      return bits == 0 ? -1 : std::min(whole, 256);
    case Family::des:
      return 56;
    case Family::des3:  // three keys: 112; two: 80 (SP 800-131A r2: disallowed)
      return bits == 0 || bits >= 168 ? 112 : 80;
    case Family::rc2:
    case Family::rc4:
      return 40;
    case Family::rsa:
    case Family::dsa:
    case Family::dh:
      return bits == 0 ? -1 : rsa_strength(bits);
    case Family::ec:
      return bits == 0 ? -1 : ec_strength(bits);
    case Family::edwards:
    case Family::montgomery:
      return bits >= 448 ? 224 : 128;
    default:
      return -1;
  }
}

}  // namespace kmtool
