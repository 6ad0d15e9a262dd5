#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>

#include "kmtool/core/encoding.hpp"
#include "kmtool/pkcs11/survey.hpp"
#include "templates.hpp"

namespace kmtool::pkcs11 {
namespace {

using namespace std::string_view_literals;

constexpr CK_KEY_TYPE ckk_montgomery = 0x41;
constexpr CK_KEY_TYPE ckk_chacha20 = 0x33;

/// PKCS#11 3.1, pkcs11t.h: MD5 to SHA-224, SHA-3 and BLAKE2b, SHA-512/t. Between them stand ciphers and signature keys.
bool is_hmac(CK_KEY_TYPE type) {
  return (type >= CKK_MD5_HMAC && type <= CKK_SHA224_HMAC) || (type >= 0x36 && type <= 0x3d) || (type >= 0x43 && type <= 0x45);
}

struct CurveName {
  std::string_view params;  ///< DER of the namedCurve
  const char* name;
  unsigned long bits;
};
constexpr std::array curve_names{
    CurveName{"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x01"sv, "p192", 192},
    CurveName{"\x06\x05\x2b\x81\x04\x00\x21"sv, "p224", 224},
    CurveName{"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"sv, "p256", 256},
    CurveName{"\x06\x05\x2b\x81\x04\x00\x22"sv, "p384", 384},
    CurveName{"\x06\x05\x2b\x81\x04\x00\x23"sv, "p521", 521},
    CurveName{"\x06\x05\x2b\x81\x04\x00\x0a"sv, "secp256k1", 256},
    CurveName{"\x06\x05\x2b\x81\x04\x00\x08"sv, "secp160r1", 160},
    CurveName{"\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01\x07"sv, "brainpoolP256r1", 256},
    CurveName{"\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01\x0b"sv, "brainpoolP384r1", 384},
    CurveName{"\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01\x0d"sv, "brainpoolP512r1", 512},
    CurveName{"\x06\x03\x2b\x65\x6e"sv, "x25519", 255},
    CurveName{"\x06\x03\x2b\x65\x6f"sv, "x448", 448},
    CurveName{"\x06\x03\x2b\x65\x70"sv, "ed25519", 255},
    CurveName{"\x06\x03\x2b\x65\x71"sv, "ed448", 448},
    CurveName{"\x13\x0c"
              "edwards25519"sv,
              "ed25519", 255},
    CurveName{"\x13\x0a"
              "edwards448"sv,
              "ed448", 448},
    CurveName{"\x13\x0a"
              "curve25519"sv,
              "x25519", 255},
};

unsigned long bit_length(ByteView number) {
  const auto first = std::ranges::find_if(number, [](std::uint8_t octet) { return octet != 0; });
  if (first == number.end()) return 0;
  return static_cast<unsigned long>(number.end() - first) * 8 - static_cast<unsigned long>(std::countl_zero(*first));
}

KeyKind with_curve(Family family, ByteView params) {
  for (const auto& curve : curve_names) {
    if (equal(params, view(curve.params))) return {family, curve.bits, curve.name};
  }
  const bool oid = !params.empty() && params[0] == 0x06;
  return {family, 0, oid ? "oid-" + hex(params.subspan(std::min<std::size_t>(2, params.size()))) : ""};
}

KeyKind other_kind(const Object& object) {
  const unsigned long bits = object.value_length.value_or(0) * 8;
  if (is_hmac(object.key_type)) return {Family::generic, bits, ""};
  switch (object.key_type) {
    case CKK_CAST128:
      return {Family::cipher, bits, "cast128"};
    case CKK_RC5:
      return {Family::cipher, bits, "rc5"};
    case CKK_IDEA:
      return {Family::cipher, 128, "idea"};
    case CKK_SKIPJACK:
      return {Family::cipher, 80, "skipjack"};
    case CKK_BLOWFISH:
      return {Family::cipher, bits, "blowfish"};
    case CKK_CAMELLIA:
      return {Family::cipher, bits, "camellia"};
    case CKK_TWOFISH:
      return {Family::cipher, bits, "twofish"};
    case CKK_ARIA:
      return {Family::cipher, bits, "aria"};
    case CKK_SEED:
      return {Family::cipher, 128, "seed"};
    case CKK_GOST28147:
      return {Family::cipher, 256, "gost28147"};
    case ckk_chacha20:
      return {Family::cipher, 256, "chacha20"};
    default:
      return {Family::unknown, 0, fmt::format("key-type-{:#x}", object.key_type)};
  }
}

}  // namespace

KeyKind kind_of(const Object& object) {
  const unsigned long bits = object.value_length.value_or(0) * 8;
  if (object.object_class == ObjectClass::certificate) return {Family::certificate, 0, ""};
  if (object.object_class == ObjectClass::data) return {Family::data, 0, ""};
  if (object.object_class == ObjectClass::other) return {Family::unknown, 0, "no key"};
  switch (object.key_type) {
    case CKK_AES:
      return {Family::aes, bits, ""};
    case CKK_DES:
      return {Family::des, 56, ""};
    case CKK_DES2:
      return {Family::des3, 112, ""};
    case CKK_DES3:
      return {Family::des3, 168, ""};
    case CKK_RC2:
      return {Family::rc2, bits, ""};
    case CKK_RC4:
      return {Family::rc4, bits, ""};
    case CKK_GENERIC_SECRET:
      return {Family::generic, bits, ""};
    case CKK_RSA:
      return {Family::rsa, bit_length(object.modulus), ""};
    case CKK_DSA:
      return {Family::dsa, 0, ""};
    case CKK_DH:
    case CKK_X9_42_DH:
      return {Family::dh, 0, ""};
    case CKK_EC:
      return with_curve(Family::ec, object.ec_params);
    case ckk_edwards:
      return with_curve(Family::edwards, object.ec_params);
    case ckk_montgomery:
      return with_curve(Family::montgomery, object.ec_params);
    default:
      return other_kind(object);
  }
}

}  // namespace kmtool::pkcs11
