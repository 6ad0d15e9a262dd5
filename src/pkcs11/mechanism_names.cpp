#include "mechanism_names.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace kmtool::pkcs11 {
namespace {

struct Entry {
  unsigned long number;
  const char* name;  // without CKM_
};

// clang-format off
// Ordered by number: PKCS#11 2.40 and what is common of 3.x.
constexpr Entry table[]{
    Entry{0x0, "RSA_PKCS_KEY_PAIR_GEN"}, Entry{0x1, "RSA_PKCS"}, Entry{0x2, "RSA_9796"}, Entry{0x3, "RSA_X_509"},
    Entry{0x4, "MD2_RSA_PKCS"}, Entry{0x5, "MD5_RSA_PKCS"}, Entry{0x6, "SHA1_RSA_PKCS"}, Entry{0x7, "RIPEMD128_RSA_PKCS"},
    Entry{0x8, "RIPEMD160_RSA_PKCS"}, Entry{0x9, "RSA_PKCS_OAEP"}, Entry{0xa, "RSA_X9_31_KEY_PAIR_GEN"},
    Entry{0xb, "RSA_X9_31"}, Entry{0xc, "SHA1_RSA_X9_31"}, Entry{0xd, "RSA_PKCS_PSS"}, Entry{0xe, "SHA1_RSA_PKCS_PSS"},
    Entry{0xf, "ML_KEM_KEY_PAIR_GEN"}, Entry{0x10, "DSA_KEY_PAIR_GEN"}, Entry{0x11, "DSA"}, Entry{0x12, "DSA_SHA1"},
    Entry{0x13, "DSA_SHA224"}, Entry{0x14, "DSA_SHA256"}, Entry{0x15, "DSA_SHA384"}, Entry{0x16, "DSA_SHA512"},
    Entry{0x17, "ML_KEM"}, Entry{0x1c, "ML_DSA_KEY_PAIR_GEN"}, Entry{0x1d, "ML_DSA"}, Entry{0x20, "DH_PKCS_KEY_PAIR_GEN"},
    Entry{0x21, "DH_PKCS_DERIVE"}, Entry{0x30, "X9_42_DH_KEY_PAIR_GEN"}, Entry{0x31, "X9_42_DH_DERIVE"},
    Entry{0x32, "X9_42_DH_HYBRID_DERIVE"}, Entry{0x33, "X9_42_MQV_DERIVE"}, Entry{0x40, "SHA256_RSA_PKCS"},
    Entry{0x41, "SHA384_RSA_PKCS"}, Entry{0x42, "SHA512_RSA_PKCS"}, Entry{0x43, "SHA256_RSA_PKCS_PSS"},
    Entry{0x44, "SHA384_RSA_PKCS_PSS"}, Entry{0x45, "SHA512_RSA_PKCS_PSS"}, Entry{0x46, "SHA224_RSA_PKCS"},
    Entry{0x47, "SHA224_RSA_PKCS_PSS"}, Entry{0x48, "SHA512_224"}, Entry{0x49, "SHA512_224_HMAC"},
    Entry{0x4a, "SHA512_224_HMAC_GENERAL"}, Entry{0x4b, "SHA512_224_KEY_DERIVATION"}, Entry{0x4c, "SHA512_256"},
    Entry{0x4d, "SHA512_256_HMAC"}, Entry{0x4e, "SHA512_256_HMAC_GENERAL"}, Entry{0x4f, "SHA512_256_KEY_DERIVATION"},
    Entry{0x50, "SHA512_T"}, Entry{0x51, "SHA512_T_HMAC"}, Entry{0x52, "SHA512_T_HMAC_GENERAL"},
    Entry{0x53, "SHA512_T_KEY_DERIVATION"}, Entry{0x100, "RC2_KEY_GEN"}, Entry{0x101, "RC2_ECB"}, Entry{0x102, "RC2_CBC"},
    Entry{0x103, "RC2_MAC"}, Entry{0x104, "RC2_MAC_GENERAL"}, Entry{0x105, "RC2_CBC_PAD"}, Entry{0x110, "RC4_KEY_GEN"},
    Entry{0x111, "RC4"}, Entry{0x120, "DES_KEY_GEN"}, Entry{0x121, "DES_ECB"}, Entry{0x122, "DES_CBC"}, Entry{0x123, "DES_MAC"},
    Entry{0x124, "DES_MAC_GENERAL"}, Entry{0x125, "DES_CBC_PAD"}, Entry{0x130, "DES2_KEY_GEN"}, Entry{0x131, "DES3_KEY_GEN"},
    Entry{0x132, "DES3_ECB"}, Entry{0x133, "DES3_CBC"}, Entry{0x134, "DES3_MAC"}, Entry{0x135, "DES3_MAC_GENERAL"},
    Entry{0x136, "DES3_CBC_PAD"}, Entry{0x137, "DES3_CMAC_GENERAL"}, Entry{0x138, "DES3_CMAC"}, Entry{0x140, "CDMF_KEY_GEN"},
    Entry{0x141, "CDMF_ECB"}, Entry{0x142, "CDMF_CBC"}, Entry{0x143, "CDMF_MAC"}, Entry{0x144, "CDMF_MAC_GENERAL"},
    Entry{0x145, "CDMF_CBC_PAD"}, Entry{0x150, "DES_OFB64"}, Entry{0x151, "DES_OFB8"}, Entry{0x152, "DES_CFB64"},
    Entry{0x153, "DES_CFB8"}, Entry{0x200, "MD2"}, Entry{0x201, "MD2_HMAC"}, Entry{0x202, "MD2_HMAC_GENERAL"},
    Entry{0x210, "MD5"}, Entry{0x211, "MD5_HMAC"}, Entry{0x212, "MD5_HMAC_GENERAL"}, Entry{0x220, "SHA_1"},
    Entry{0x221, "SHA_1_HMAC"}, Entry{0x222, "SHA_1_HMAC_GENERAL"}, Entry{0x230, "RIPEMD128"}, Entry{0x231, "RIPEMD128_HMAC"},
    Entry{0x232, "RIPEMD128_HMAC_GENERAL"}, Entry{0x240, "RIPEMD160"}, Entry{0x241, "RIPEMD160_HMAC"},
    Entry{0x242, "RIPEMD160_HMAC_GENERAL"}, Entry{0x250, "SHA256"}, Entry{0x251, "SHA256_HMAC"},
    Entry{0x252, "SHA256_HMAC_GENERAL"}, Entry{0x255, "SHA224"}, Entry{0x256, "SHA224_HMAC"},
    Entry{0x257, "SHA224_HMAC_GENERAL"}, Entry{0x260, "SHA384"}, Entry{0x261, "SHA384_HMAC"},
    Entry{0x262, "SHA384_HMAC_GENERAL"}, Entry{0x270, "SHA512"}, Entry{0x271, "SHA512_HMAC"},
    Entry{0x272, "SHA512_HMAC_GENERAL"}, Entry{0x280, "SECURID_KEY_GEN"}, Entry{0x282, "SECURID"}, Entry{0x290, "HOTP_KEY_GEN"},
    Entry{0x291, "HOTP"}, Entry{0x2a0, "ACTI"}, Entry{0x2a1, "ACTI_KEY_GEN"}, Entry{0x2b0, "SHA3_256"},
    Entry{0x2b1, "SHA3_256_HMAC"}, Entry{0x2b5, "SHA3_224"}, Entry{0x2b6, "SHA3_224_HMAC"}, Entry{0x2c0, "SHA3_384"},
    Entry{0x2c1, "SHA3_384_HMAC"}, Entry{0x2d0, "SHA3_512"}, Entry{0x2d1, "SHA3_512_HMAC"}, Entry{0x300, "CAST_KEY_GEN"},
    Entry{0x301, "CAST_ECB"}, Entry{0x302, "CAST_CBC"}, Entry{0x303, "CAST_MAC"}, Entry{0x304, "CAST_MAC_GENERAL"},
    Entry{0x305, "CAST_CBC_PAD"}, Entry{0x310, "CAST3_KEY_GEN"}, Entry{0x311, "CAST3_ECB"}, Entry{0x312, "CAST3_CBC"},
    Entry{0x313, "CAST3_MAC"}, Entry{0x314, "CAST3_MAC_GENERAL"}, Entry{0x315, "CAST3_CBC_PAD"}, Entry{0x320, "CAST5_KEY_GEN"},
    Entry{0x321, "CAST5_ECB"}, Entry{0x322, "CAST5_CBC"}, Entry{0x323, "CAST5_MAC"}, Entry{0x324, "CAST5_MAC_GENERAL"},
    Entry{0x325, "CAST5_CBC_PAD"}, Entry{0x330, "RC5_KEY_GEN"}, Entry{0x331, "RC5_ECB"}, Entry{0x332, "RC5_CBC"},
    Entry{0x333, "RC5_MAC"}, Entry{0x334, "RC5_MAC_GENERAL"}, Entry{0x335, "RC5_CBC_PAD"}, Entry{0x340, "IDEA_KEY_GEN"},
    Entry{0x341, "IDEA_ECB"}, Entry{0x342, "IDEA_CBC"}, Entry{0x343, "IDEA_MAC"}, Entry{0x344, "IDEA_MAC_GENERAL"},
    Entry{0x345, "IDEA_CBC_PAD"}, Entry{0x350, "GENERIC_SECRET_KEY_GEN"}, Entry{0x360, "CONCATENATE_BASE_AND_KEY"},
    Entry{0x362, "CONCATENATE_BASE_AND_DATA"}, Entry{0x363, "CONCATENATE_DATA_AND_BASE"}, Entry{0x364, "XOR_BASE_AND_DATA"},
    Entry{0x365, "EXTRACT_KEY_FROM_KEY"}, Entry{0x370, "SSL3_PRE_MASTER_KEY_GEN"}, Entry{0x371, "SSL3_MASTER_KEY_DERIVE"},
    Entry{0x372, "SSL3_KEY_AND_MAC_DERIVE"}, Entry{0x373, "SSL3_MASTER_KEY_DERIVE_DH"}, Entry{0x374, "TLS_PRE_MASTER_KEY_GEN"},
    Entry{0x375, "TLS_MASTER_KEY_DERIVE"}, Entry{0x376, "TLS_KEY_AND_MAC_DERIVE"}, Entry{0x377, "TLS_MASTER_KEY_DERIVE_DH"},
    Entry{0x378, "TLS_PRF"}, Entry{0x380, "SSL3_MD5_MAC"}, Entry{0x381, "SSL3_SHA1_MAC"}, Entry{0x390, "MD5_KEY_DERIVATION"},
    Entry{0x391, "MD2_KEY_DERIVATION"}, Entry{0x392, "SHA1_KEY_DERIVATION"}, Entry{0x393, "SHA256_KEY_DERIVATION"},
    Entry{0x394, "SHA384_KEY_DERIVATION"}, Entry{0x395, "SHA512_KEY_DERIVATION"}, Entry{0x396, "SHA224_KEY_DERIVATION"},
    Entry{0x3a0, "PBE_MD2_DES_CBC"}, Entry{0x3a1, "PBE_MD5_DES_CBC"}, Entry{0x3a2, "PBE_MD5_CAST_CBC"},
    Entry{0x3a3, "PBE_MD5_CAST3_CBC"}, Entry{0x3a4, "PBE_MD5_CAST5_CBC"}, Entry{0x3a5, "PBE_SHA1_CAST5_CBC"},
    Entry{0x3a6, "PBE_SHA1_RC4_128"}, Entry{0x3a7, "PBE_SHA1_RC4_40"}, Entry{0x3a8, "PBE_SHA1_DES3_EDE_CBC"},
    Entry{0x3a9, "PBE_SHA1_DES2_EDE_CBC"}, Entry{0x3aa, "PBE_SHA1_RC2_128_CBC"}, Entry{0x3ab, "PBE_SHA1_RC2_40_CBC"},
    Entry{0x3ac, "SP800_108_COUNTER_KDF"}, Entry{0x3ad, "SP800_108_FEEDBACK_KDF"},
    Entry{0x3ae, "SP800_108_DOUBLE_PIPELINE_KDF"}, Entry{0x3b0, "PKCS5_PBKD2"}, Entry{0x3c0, "PBA_SHA1_WITH_SHA1_HMAC"},
    Entry{0x3d0, "WTLS_PRE_MASTER_KEY_GEN"}, Entry{0x3d1, "WTLS_MASTER_KEY_DERIVE"},
    Entry{0x3d2, "WTLS_MASTER_KEY_DERIVE_DH_ECC"}, Entry{0x3d3, "WTLS_PRF"}, Entry{0x3d4, "WTLS_SERVER_KEY_AND_MAC_DERIVE"},
    Entry{0x3d5, "WTLS_CLIENT_KEY_AND_MAC_DERIVE"}, Entry{0x3d6, "TLS10_MAC_SERVER"}, Entry{0x3d7, "TLS10_MAC_CLIENT"},
    Entry{0x3d8, "TLS12_MAC"}, Entry{0x3d9, "TLS12_KDF"}, Entry{0x3e0, "TLS12_MASTER_KEY_DERIVE"},
    Entry{0x3e1, "TLS12_KEY_AND_MAC_DERIVE"}, Entry{0x3e2, "TLS12_MASTER_KEY_DERIVE_DH"}, Entry{0x3e3, "TLS12_KEY_SAFE_DERIVE"},
    Entry{0x3e4, "TLS_MAC"}, Entry{0x3e5, "TLS_KDF"}, Entry{0x400, "KEY_WRAP_LYNKS"}, Entry{0x401, "KEY_WRAP_SET_OAEP"},
    Entry{0x500, "CMS_SIG"}, Entry{0x510, "KIP_DERIVE"}, Entry{0x511, "KIP_WRAP"}, Entry{0x512, "KIP_MAC"},
    Entry{0x550, "CAMELLIA_KEY_GEN"}, Entry{0x551, "CAMELLIA_ECB"}, Entry{0x552, "CAMELLIA_CBC"}, Entry{0x553, "CAMELLIA_MAC"},
    Entry{0x554, "CAMELLIA_MAC_GENERAL"}, Entry{0x555, "CAMELLIA_CBC_PAD"}, Entry{0x556, "CAMELLIA_ECB_ENCRYPT_DATA"},
    Entry{0x557, "CAMELLIA_CBC_ENCRYPT_DATA"}, Entry{0x558, "CAMELLIA_CTR"}, Entry{0x560, "ARIA_KEY_GEN"},
    Entry{0x561, "ARIA_ECB"}, Entry{0x562, "ARIA_CBC"}, Entry{0x563, "ARIA_MAC"}, Entry{0x564, "ARIA_MAC_GENERAL"},
    Entry{0x565, "ARIA_CBC_PAD"}, Entry{0x566, "ARIA_ECB_ENCRYPT_DATA"}, Entry{0x567, "ARIA_CBC_ENCRYPT_DATA"},
    Entry{0x650, "SEED_KEY_GEN"}, Entry{0x651, "SEED_ECB"}, Entry{0x652, "SEED_CBC"}, Entry{0x653, "SEED_MAC"},
    Entry{0x654, "SEED_MAC_GENERAL"}, Entry{0x655, "SEED_CBC_PAD"}, Entry{0x656, "SEED_ECB_ENCRYPT_DATA"},
    Entry{0x657, "SEED_CBC_ENCRYPT_DATA"}, Entry{0x1000, "SKIPJACK_KEY_GEN"}, Entry{0x1001, "SKIPJACK_ECB64"},
    Entry{0x1002, "SKIPJACK_CBC64"}, Entry{0x1003, "SKIPJACK_OFB64"}, Entry{0x1004, "SKIPJACK_CFB64"},
    Entry{0x1005, "SKIPJACK_CFB32"}, Entry{0x1006, "SKIPJACK_CFB16"}, Entry{0x1007, "SKIPJACK_CFB8"},
    Entry{0x1008, "SKIPJACK_WRAP"}, Entry{0x1009, "SKIPJACK_PRIVATE_WRAP"}, Entry{0x100a, "SKIPJACK_RELAYX"},
    Entry{0x1010, "KEA_KEY_PAIR_GEN"}, Entry{0x1011, "KEA_KEY_DERIVE"}, Entry{0x1020, "FORTEZZA_TIMESTAMP"},
    Entry{0x1030, "BATON_KEY_GEN"}, Entry{0x1031, "BATON_ECB128"}, Entry{0x1032, "BATON_ECB96"}, Entry{0x1033, "BATON_CBC128"},
    Entry{0x1034, "BATON_COUNTER"}, Entry{0x1035, "BATON_SHUFFLE"}, Entry{0x1036, "BATON_WRAP"},
    Entry{0x1040, "EC_KEY_PAIR_GEN"}, Entry{0x1041, "ECDSA"}, Entry{0x1042, "ECDSA_SHA1"}, Entry{0x1043, "ECDSA_SHA224"},
    Entry{0x1044, "ECDSA_SHA256"}, Entry{0x1045, "ECDSA_SHA384"}, Entry{0x1046, "ECDSA_SHA512"}, Entry{0x1050, "ECDH1_DERIVE"},
    Entry{0x1051, "ECDH1_COFACTOR_DERIVE"}, Entry{0x1052, "ECMQV_DERIVE"}, Entry{0x1053, "ECDH_AES_KEY_WRAP"},
    Entry{0x1054, "RSA_AES_KEY_WRAP"}, Entry{0x1055, "EC_EDWARDS_KEY_PAIR_GEN"}, Entry{0x1056, "EC_MONTGOMERY_KEY_PAIR_GEN"},
    Entry{0x1057, "EDDSA"}, Entry{0x1058, "EC_KEY_PAIR_GEN_W_EXTRA_BITS"}, Entry{0x1060, "JUNIPER_KEY_GEN"},
    Entry{0x1061, "JUNIPER_ECB128"}, Entry{0x1062, "JUNIPER_CBC128"}, Entry{0x1063, "JUNIPER_COUNTER"},
    Entry{0x1064, "JUNIPER_SHUFFLE"}, Entry{0x1065, "JUNIPER_WRAP"}, Entry{0x1070, "FASTHASH"}, Entry{0x1071, "AES_XTS"},
    Entry{0x1072, "AES_XTS_KEY_GEN"}, Entry{0x1080, "AES_KEY_GEN"}, Entry{0x1081, "AES_ECB"}, Entry{0x1082, "AES_CBC"},
    Entry{0x1083, "AES_MAC"}, Entry{0x1084, "AES_MAC_GENERAL"}, Entry{0x1085, "AES_CBC_PAD"}, Entry{0x1086, "AES_CTR"},
    Entry{0x1087, "AES_GCM"}, Entry{0x1088, "AES_CCM"}, Entry{0x1089, "AES_CTS"}, Entry{0x108a, "AES_CMAC"},
    Entry{0x108b, "AES_CMAC_GENERAL"}, Entry{0x108c, "AES_XCBC_MAC"}, Entry{0x108d, "AES_XCBC_MAC_96"},
    Entry{0x108e, "AES_GMAC"}, Entry{0x1090, "BLOWFISH_KEY_GEN"}, Entry{0x1091, "BLOWFISH_CBC"},
    Entry{0x1092, "TWOFISH_KEY_GEN"}, Entry{0x1093, "TWOFISH_CBC"}, Entry{0x1094, "BLOWFISH_CBC_PAD"},
    Entry{0x1095, "TWOFISH_CBC_PAD"}, Entry{0x1100, "DES_ECB_ENCRYPT_DATA"}, Entry{0x1101, "DES_CBC_ENCRYPT_DATA"},
    Entry{0x1102, "DES3_ECB_ENCRYPT_DATA"}, Entry{0x1103, "DES3_CBC_ENCRYPT_DATA"}, Entry{0x1104, "AES_ECB_ENCRYPT_DATA"},
    Entry{0x1105, "AES_CBC_ENCRYPT_DATA"}, Entry{0x1200, "GOSTR3410_KEY_PAIR_GEN"}, Entry{0x1201, "GOSTR3410"},
    Entry{0x1202, "GOSTR3410_WITH_GOSTR3411"}, Entry{0x1203, "GOSTR3410_KEY_WRAP"}, Entry{0x1204, "GOSTR3410_DERIVE"},
    Entry{0x1210, "GOSTR3411"}, Entry{0x1211, "GOSTR3411_HMAC"}, Entry{0x1220, "GOST28147_KEY_GEN"},
    Entry{0x1221, "GOST28147_ECB"}, Entry{0x1222, "GOST28147"}, Entry{0x1223, "GOST28147_MAC"},
    Entry{0x1224, "GOST28147_KEY_WRAP"}, Entry{0x1225, "CHACHA20_KEY_GEN"}, Entry{0x1226, "CHACHA20"},
    Entry{0x2000, "DSA_PARAMETER_GEN"}, Entry{0x2001, "DH_PKCS_PARAMETER_GEN"}, Entry{0x2002, "X9_42_DH_PARAMETER_GEN"},
    Entry{0x2003, "DSA_PROBABLISTIC_PARAMETER_GEN"}, Entry{0x2004, "DSA_SHAWE_TAYLOR_PARAMETER_GEN"}, Entry{0x2104, "AES_OFB"},
    Entry{0x2105, "AES_CFB64"}, Entry{0x2106, "AES_CFB8"}, Entry{0x2107, "AES_CFB128"}, Entry{0x2108, "AES_CFB1"},
    Entry{0x2109, "AES_KEY_WRAP"}, Entry{0x210a, "AES_KEY_WRAP_PAD"}, Entry{0x210b, "AES_KEY_WRAP_KWP"},
    Entry{0x210c, "AES_KEY_WRAP_PKCS7"}, Entry{0x4001, "RSA_PKCS_TPM_1_1"}, Entry{0x4002, "RSA_PKCS_OAEP_TPM_1_1"},
    Entry{0x4021, "CHACHA20_POLY1305"}, Entry{0x402a, "HKDF_DERIVE"}, Entry{0x402b, "HKDF_DATA"}, Entry{0x402c, "HKDF_KEY_GEN"},
};
// clang-format on
static_assert(std::ranges::is_sorted(table, {}, &Entry::number));

struct FlagName {
  unsigned long flag;
  const char* name;
};
constexpr std::array flag_names{
    FlagName{1UL << 0, "hardware"},  FlagName{1UL << 8, "encrypt"},        FlagName{1UL << 9, "decrypt"},
    FlagName{1UL << 10, "digest"},   FlagName{1UL << 11, "sign"},          FlagName{1UL << 13, "verify"},
    FlagName{1UL << 15, "generate"}, FlagName{1UL << 16, "generate-pair"}, FlagName{1UL << 17, "wrap"},
    FlagName{1UL << 18, "unwrap"},   FlagName{1UL << 19, "derive"},
};

}  // namespace

std::string mechanism_name(unsigned long number) {
  const auto found = std::ranges::lower_bound(table, number, {}, &Entry::number);
  if (found != std::ranges::end(table) && found->number == number) return std::string("CKM_") + found->name;
  if (number >= 0x80000000UL) return fmt::format("CKM_VENDOR_DEFINED+0x{:x}", number - 0x80000000UL);
  return fmt::format("CKM_0x{:x}", number);
}

std::string mechanism_flags(unsigned long flags) {
  std::string out;
  for (const auto& [flag, name] : flag_names) {
    if ((flags & flag) == 0) continue;
    if (!out.empty()) out += ',';
    out += name;
  }
  return out;
}

}  // namespace kmtool::pkcs11
