// The least that encrypting a file can cost: read 64 KiB, C_EncryptInit and C_Encrypt with AES-GCM, write; nothing else.
//
//   bare_encrypt MODULE TOKEN-LABEL PIN-FILE KEY-LABEL INPUT OUTPUT
#include <dlfcn.h>
#include <fcntl.h>
#include <p11-kit/pkcs11.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr std::size_t chunk = std::size_t{64} << 10;

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
    require(f->C_Login(session, CKU_USER, reinterpret_cast<unsigned char*>(pin.data()), pin.size()), "C_Login");
    return session;
  }
  throw std::runtime_error("no such token");
}

CK_OBJECT_HANDLE key_of(CK_FUNCTION_LIST* f, CK_SESSION_HANDLE session, std::string label) {
  CK_OBJECT_CLASS secret = CKO_SECRET_KEY;
  std::array<CK_ATTRIBUTE, 2> wanted{{{CKA_CLASS, &secret, sizeof secret}, {CKA_LABEL, label.data(), label.size()}}};
  CK_OBJECT_HANDLE key = 0;
  CK_ULONG n = 0;
  require(f->C_FindObjectsInit(session, wanted.data(), wanted.size()), "C_FindObjectsInit");
  require(f->C_FindObjects(session, &key, 1, &n), "C_FindObjects");
  f->C_FindObjectsFinal(session);
  if (n != 1) throw std::runtime_error("no such key");
  return key;
}

void write_all(int fd, const unsigned char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t put = write(fd, data, size);
    if (put <= 0) throw std::runtime_error("cannot write");
    data += put;
    size -= static_cast<std::size_t>(put);
  }
}

int run(char** argv) {
  CK_FUNCTION_LIST* f = load(argv[1]);
  require(f->C_Initialize(nullptr), "C_Initialize");
  const CK_SESSION_HANDLE session = log_in(f, argv[2], argv[3]);
  const CK_OBJECT_HANDLE key = key_of(f, session, argv[4]);
  const int in = open(argv[5], O_RDONLY), out = open(argv[6], O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (in < 0 || out < 0) throw std::runtime_error("cannot open the files");
  std::vector<unsigned char> plain(chunk), sealed(chunk + 16);
  std::array<unsigned char, 12> iv{};
  std::array<unsigned char, 41> about{};
  for (std::uint64_t index = 0;; ++index) {
    const ssize_t got = read(in, plain.data(), plain.size());
    if (got <= 0) break;
    std::memcpy(iv.data(), &index, sizeof index);
    CK_GCM_PARAMS gcm{iv.data(), iv.size(), 96, about.data(), about.size(), 128};
    CK_MECHANISM mechanism{CKM_AES_GCM, &gcm, sizeof gcm};
    CK_ULONG size = sealed.size();
    require(f->C_EncryptInit(session, &mechanism, key), "C_EncryptInit");
    require(f->C_Encrypt(session, plain.data(), static_cast<CK_ULONG>(got), sealed.data(), &size), "C_Encrypt");
    write_all(out, sealed.data(), size);
  }
  fsync(out);
  f->C_Finalize(nullptr);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr, "usage: see the head of bare_encrypt.cpp\n");
    return 64;
  }
  try {
    return run(argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bare_encrypt: %s\n", error.what());
    return 1;
  }
}
