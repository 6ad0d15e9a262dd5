// The least that wrapping can cost: a loop of C_GetAttributeValue and C_WrapKey over keys of a token, nothing else.
//
//   bare_wrap MODULE TOKEN-LABEL PIN-FILE KEK-LABEL KEY-ID-FILE
//
// KEY-ID-FILE holds one CKA_ID (hex) a line. One search finds the objects; each is read once and, when wanted, wrapped once.
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

void require(CK_RV rv, const char* call) {
  if (rv != CKR_OK) throw std::runtime_error(std::string(call) + " failed: " + std::to_string(rv));
}

CK_FUNCTION_LIST* load(const char* module) {
  void* library = dlopen(module, RTLD_NOW | RTLD_LOCAL);
  void* symbol = library == nullptr ? nullptr : dlsym(library, "C_GetFunctionList");
  if (symbol == nullptr) throw std::runtime_error("not a PKCS#11 module");
  CK_C_GetFunctionList get = nullptr;
  std::memcpy(&get, &symbol, sizeof get);
  CK_FUNCTION_LIST* list = nullptr;
  require(get(&list), "C_GetFunctionList");
  return list;
}

CK_SESSION_HANDLE log_in(CK_FUNCTION_LIST* f, const std::string& label, const char* pin_file) {
  std::string pin;
  std::ifstream(pin_file) >> pin;
  std::array<CK_SLOT_ID, 64> slots{};
  CK_ULONG n = slots.size();
  require(f->C_GetSlotList(CK_TRUE, slots.data(), &n), "C_GetSlotList");
  for (CK_ULONG i = 0; i < n; ++i) {
    CK_TOKEN_INFO info{};
    if (f->C_GetTokenInfo(slots.at(i), &info) != CKR_OK || std::memcmp(info.label, label.data(), label.size()) != 0) continue;
    CK_SESSION_HANDLE session = 0;
    require(f->C_OpenSession(slots.at(i), CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session), "C_OpenSession");
    std::vector<unsigned char> bytes(pin.begin(), pin.end());
    require(f->C_Login(session, CKU_USER, bytes.data(), bytes.size()), "C_Login");
    return session;
  }
  throw std::runtime_error("no such token");
}

std::vector<CK_OBJECT_HANDLE> find(CK_FUNCTION_LIST* f, CK_SESSION_HANDLE session, std::vector<CK_ATTRIBUTE> wanted) {
  std::vector<CK_OBJECT_HANDLE> found(100000);
  CK_ULONG n = 0;
  require(f->C_FindObjectsInit(session, wanted.data(), wanted.size()), "C_FindObjectsInit");
  require(f->C_FindObjects(session, found.data(), found.size(), &n), "C_FindObjects");
  f->C_FindObjectsFinal(session);
  found.resize(n);
  return found;
}

std::string hex(const unsigned char* data, CK_ULONG size) {
  std::string text;
  for (CK_ULONG i = 0; i < size; ++i) {
    std::array<char, 3> digits{};
    std::snprintf(digits.data(), digits.size(), "%02x", data[i]);
    text += digits.data();
  }
  return text;
}

constexpr std::size_t id_index = 4;  // of CKA_ID in Read::list()

/// The attributes that decide whether a key may be wrapped and that its record states: those of kmtool's own one read.
struct Read {
  CK_ULONG kind = 0, type = 0, length = 0;
  std::array<CK_BBOOL, 20> flags{};
  std::array<unsigned char, 128> label{}, id{};
  std::vector<CK_ATTRIBUTE> list() {
    std::vector<CK_ATTRIBUTE> all = {{CKA_CLASS, &kind, sizeof kind},
                                     {CKA_KEY_TYPE, &type, sizeof type},
                                     {CKA_VALUE_LEN, &length, sizeof length},
                                     {CKA_LABEL, label.data(), label.size()},
                                     {CKA_ID, id.data(), id.size()}};
    std::size_t next = 0;
    for (const CK_ATTRIBUTE_TYPE flag :
         {CKA_TOKEN, CKA_PRIVATE, CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_MODIFIABLE, CKA_COPYABLE, CKA_LOCAL, CKA_ALWAYS_SENSITIVE,
          CKA_NEVER_EXTRACTABLE, CKA_WRAP_WITH_TRUSTED, CKA_TRUSTED, CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_WRAP,
          CKA_UNWRAP, CKA_DERIVE}) {
      all.push_back({flag, &flags.at(next++), sizeof(CK_BBOOL)});
    }
    return all;
  }
};

int run(char** argv) {
  CK_FUNCTION_LIST* f = load(argv[1]);
  require(f->C_Initialize(nullptr), "C_Initialize");
  const CK_SESSION_HANDLE session = log_in(f, argv[2], argv[3]);
  std::string kek_label = argv[4];
  CK_OBJECT_CLASS secret = CKO_SECRET_KEY;
  CK_KEY_TYPE aes = CKK_AES;
  const auto keks = find(
      f, session,
      {{CKA_CLASS, &secret, sizeof secret}, {CKA_KEY_TYPE, &aes, sizeof aes}, {CKA_LABEL, kek_label.data(), kek_label.size()}});
  if (keks.size() != 1) throw std::runtime_error("no KEK");
  std::set<std::string> wanted;
  std::ifstream ids(argv[5]);
  for (std::string line; ids >> line;) wanted.insert(line);

  // Each object of the token is read once, each wanted one wrapped once.
  std::size_t wrapped_keys = 0;
  for (const auto object : find(f, session, {{CKA_CLASS, &secret, sizeof secret}})) {
    Read read;
    auto attributes = read.list();
    f->C_GetAttributeValue(session, object, attributes.data(), attributes.size());
    if (!wanted.contains(hex(read.id.data(), attributes.at(id_index).ulValueLen))) continue;
    CK_MECHANISM mechanism{0x210A, nullptr, 0};
    std::array<unsigned char, 256> wrapped{};
    CK_ULONG size = wrapped.size();
    require(f->C_WrapKey(session, &mechanism, keks.front(), object, wrapped.data(), &size), "C_WrapKey");
    ++wrapped_keys;
  }
  if (wrapped_keys != wanted.size()) throw std::runtime_error("not every key was found");
  f->C_Finalize(nullptr);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: see the head of bare_wrap.cpp\n");
    return 64;
  }
  try {
    return run(argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bare_wrap: %s\n", error.what());
    return 1;
  }
}
