// Looks at a token as a stranger to kmtool would, through PKCS#11 alone: what stands on it, what its keys can do, and (for
// keys that may leave) what their values are. For tests with throwaway keys.
//
//   lister MODULE INIT-ARGS TOKEN-LABEL PIN-FILE list                    one JSON line an object
//   lister …                                     reveal LABEL            values of the secret keys with this label, JSON lines
//   lister …                                     encrypt|decrypt LABEL HEX   AES-CBC-PAD with a zero IV; hex
//   lister …                                     mac LABEL HEX           HMAC-SHA-256; hex
//   lister …                                     try LABEL               the CKR of every use, and of every attempt to add one
//   lister unwrap KEK-HEX BASE64                                         RFC 5649 by OpenSSL alone; hex
#include <dlfcn.h>
#include <openssl/evp.h>
#include <p11-kit/pkcs11.h>

#include <array>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kmtool/core/encoding.hpp"

namespace {

using Json = nlohmann::ordered_json;
using kmtool::Bytes;
using kmtool::ByteView;

constexpr CK_MECHANISM_TYPE aes_key_wrap = 0x2109;

std::string rv_text(CK_RV rv) {
  static const std::map<CK_RV, const char*> names = {{CKR_OK, "CKR_OK"},
                                                     {CKR_ATTRIBUTE_READ_ONLY, "CKR_ATTRIBUTE_READ_ONLY"},
                                                     {CKR_ACTION_PROHIBITED, "CKR_ACTION_PROHIBITED"},
                                                     {CKR_KEY_FUNCTION_NOT_PERMITTED, "CKR_KEY_FUNCTION_NOT_PERMITTED"},
                                                     {CKR_KEY_UNEXTRACTABLE, "CKR_KEY_UNEXTRACTABLE"},
                                                     {CKR_ATTRIBUTE_SENSITIVE, "CKR_ATTRIBUTE_SENSITIVE"}};
  const auto found = names.find(rv);
  return found == names.end() ? "CKR 0x" + kmtool::hex(kmtool::big_endian(rv, 4)) : found->second;
}

void require(CK_RV rv, const char* call) {
  if (rv != CKR_OK) throw std::runtime_error(std::string(call) + ": " + rv_text(rv));
}

unsigned char* bytes_of(const Bytes& data) { return const_cast<unsigned char*>(data.data()); }

CK_ULONG long_of(std::size_t n) { return static_cast<CK_ULONG>(n); }

const std::vector<std::pair<CK_ATTRIBUTE_TYPE, const char*>>& flags() {
  static const std::vector<std::pair<CK_ATTRIBUTE_TYPE, const char*>> all = {{CKA_TOKEN, "token"},
                                                                             {CKA_PRIVATE, "private"},
                                                                             {CKA_SENSITIVE, "sensitive"},
                                                                             {CKA_EXTRACTABLE, "extractable"},
                                                                             {CKA_MODIFIABLE, "modifiable"},
                                                                             {CKA_LOCAL, "local"},
                                                                             {CKA_ENCRYPT, "encrypt"},
                                                                             {CKA_DECRYPT, "decrypt"},
                                                                             {CKA_SIGN, "sign"},
                                                                             {CKA_VERIFY, "verify"},
                                                                             {CKA_WRAP, "wrap"},
                                                                             {CKA_UNWRAP, "unwrap"},
                                                                             {CKA_DERIVE, "derive"}};
  return all;
}

class Token {
 public:
  Token(const char* module, const char* init_args, const std::string& label, const char* pin_file) {
    void* library = dlopen(module, RTLD_NOW | RTLD_LOCAL);
    void* symbol = library == nullptr ? nullptr : dlsym(library, "C_GetFunctionList");
    if (symbol == nullptr) throw std::runtime_error(std::string(module) + " is not a PKCS#11 module");
    CK_C_GetFunctionList get = nullptr;
    std::memcpy(&get, &symbol, sizeof get);
    require(get(&f_), "C_GetFunctionList");
    std::string reserved = init_args;
    CK_C_INITIALIZE_ARGS args{};
    args.flags = CKF_OS_LOCKING_OK;
    args.pReserved = reserved.empty() ? nullptr : reserved.data();
    require(f_->C_Initialize(&args), "C_Initialize");
    std::string pin;
    std::ifstream(pin_file) >> pin;
    open(label, pin);
  }
  ~Token() { f_->C_Finalize(nullptr); }
  Token(const Token&) = delete;
  Token& operator=(const Token&) = delete;

  std::vector<CK_OBJECT_HANDLE> find(std::vector<CK_ATTRIBUTE> wanted) {
    std::vector<CK_OBJECT_HANDLE> result;
    require(f_->C_FindObjectsInit(session_, wanted.data(), long_of(wanted.size())), "C_FindObjectsInit");
    std::array<CK_OBJECT_HANDLE, 256> some{};
    CK_ULONG n = 0;
    do {
      require(f_->C_FindObjects(session_, some.data(), some.size(), &n), "C_FindObjects");
      result.insert(result.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(n));
    } while (n != 0);
    f_->C_FindObjectsFinal(session_);
    return result;
  }
  std::vector<CK_OBJECT_HANDLE> with_label(std::string label) { return find({{CKA_LABEL, label.data(), long_of(label.size())}}); }

  Json describe(CK_OBJECT_HANDLE object) {
    Json json;
    const CK_ULONG kind = number(object, CKA_CLASS);
    static const std::map<CK_ULONG, const char*> classes = {{CKO_DATA, "data"},
                                                            {CKO_CERTIFICATE, "certificate"},
                                                            {CKO_PUBLIC_KEY, "public"},
                                                            {CKO_PRIVATE_KEY, "private"},
                                                            {CKO_SECRET_KEY, "secret"}};
    json["class"] = classes.count(kind) != 0 ? classes.at(kind) : "other";
    const Bytes label = value(object, CKA_LABEL);
    json["label"] = std::string(label.begin(), label.end());
    json["id"] = kmtool::hex(value(object, CKA_ID));
    json["key_type"] = number(object, CKA_KEY_TYPE);
    json["length"] = number(object, CKA_VALUE_LEN);
    for (const auto& [type, name] : flags()) {
      const Bytes flag = value(object, type);
      if (flag.size() == 1) json[name] = flag[0] != 0;
    }
    return json;
  }

  Bytes reveal(CK_OBJECT_HANDLE object) {
    const Bytes known = kmtool::from_hex("6b6d746f6f6c2d746573742d77726170706572212121212121212121212121aa").value();
    const CK_OBJECT_HANDLE wrapper = import_aes(known);
    CK_MECHANISM mechanism{aes_key_wrap, nullptr, 0};
    Bytes wrapped(256);
    CK_ULONG size = long_of(wrapped.size());
    require(f_->C_WrapKey(session_, &mechanism, wrapper, object, wrapped.data(), &size), "C_WrapKey");
    wrapped.resize(size);
    f_->C_DestroyObject(session_, wrapper);
    return unwrap_by_openssl(EVP_aes_256_wrap(), known, wrapped);
  }

  Bytes crypt(CK_OBJECT_HANDLE key, const Bytes& input, bool encrypting) {
    std::array<unsigned char, 16> iv{};
    CK_MECHANISM mechanism{CKM_AES_CBC_PAD, iv.data(), iv.size()};
    Bytes output(input.size() + 32);
    CK_ULONG size = long_of(output.size());
    if (encrypting) {
      require(f_->C_EncryptInit(session_, &mechanism, key), "C_EncryptInit");
      require(f_->C_Encrypt(session_, bytes_of(input), long_of(input.size()), output.data(), &size), "C_Encrypt");
    } else {
      require(f_->C_DecryptInit(session_, &mechanism, key), "C_DecryptInit");
      require(f_->C_Decrypt(session_, bytes_of(input), long_of(input.size()), output.data(), &size), "C_Decrypt");
    }
    output.resize(size);
    return output;
  }

  Bytes mac(CK_OBJECT_HANDLE key, const Bytes& input) {
    CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
    Bytes output(32);
    CK_ULONG size = long_of(output.size());
    require(f_->C_SignInit(session_, &mechanism, key), "C_SignInit");
    require(f_->C_Sign(session_, bytes_of(input), long_of(input.size()), output.data(), &size), "C_Sign");
    return output;
  }

  /// What the token answers to each use of the key, and to each attempt to change it so that it could.
  Json attempt(CK_OBJECT_HANDLE key) {
    Json json = describe(key);
    std::array<unsigned char, 16> iv{};
    CK_MECHANISM cbc{CKM_AES_CBC_PAD, iv.data(), iv.size()};
    CK_MECHANISM wrapping{aes_key_wrap, nullptr, 0};
    json["use encrypt"] = rv_text(f_->C_EncryptInit(session_, &cbc, key));
    reopen();
    json["use decrypt"] = rv_text(f_->C_DecryptInit(session_, &cbc, key));
    reopen();
    const CK_OBJECT_HANDLE other = import_aes(Bytes(32, 0x5a));
    Bytes wrapped(64);
    CK_ULONG size = long_of(wrapped.size());
    json["use wrap"] = rv_text(f_->C_WrapKey(session_, &wrapping, key, other, wrapped.data(), &size));
    size = long_of(wrapped.size());
    json["be wrapped"] = rv_text(f_->C_WrapKey(session_, &wrapping, other, key, wrapped.data(), &size));
    f_->C_DestroyObject(session_, other);
    for (const auto& [type, name] : flags()) {
      if (type == CKA_TOKEN || type == CKA_LOCAL) continue;
      for (const bool wanted : {true, false}) {
        CK_BBOOL flag = wanted ? CK_TRUE : CK_FALSE;
        CK_ATTRIBUTE change{type, &flag, sizeof flag};
        json[std::string("set ") + name + (wanted ? " true" : " false")] =
            rv_text(f_->C_SetAttributeValue(session_, key, &change, 1));
      }
    }
    CK_ATTRIBUTE secret{CKA_VALUE, wrapped.data(), long_of(wrapped.size())};
    json["read value"] = rv_text(f_->C_GetAttributeValue(session_, key, &secret, 1));
    json["after"] = describe(key);
    return json;
  }

  static Bytes unwrap_by_openssl(const EVP_CIPHER* cipher, const Bytes& kek, const Bytes& wrapped) {
    EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
    EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    Bytes plain(wrapped.size() + 16);
    int size = 0;
    int rest = 0;
    const bool good = EVP_DecryptInit_ex(context, cipher, nullptr, kek.data(), nullptr) == 1 &&
                      EVP_DecryptUpdate(context, plain.data(), &size, wrapped.data(), static_cast<int>(wrapped.size())) == 1 &&
                      EVP_DecryptFinal_ex(context, plain.data() + size, &rest) == 1;
    EVP_CIPHER_CTX_free(context);
    if (!good) throw std::runtime_error("OpenSSL does not unwrap it");
    plain.resize(static_cast<std::size_t>(size + rest));
    return plain;
  }

 private:
  void open(const std::string& label, const std::string& pin) {
    std::array<CK_SLOT_ID, 64> slots{};
    CK_ULONG n = slots.size();
    require(f_->C_GetSlotList(CK_TRUE, slots.data(), &n), "C_GetSlotList");
    for (CK_ULONG i = 0; i < n; ++i) {
      CK_TOKEN_INFO info{};
      if (f_->C_GetTokenInfo(slots.at(i), &info) != CKR_OK) continue;
      std::string found(reinterpret_cast<const char*>(info.label), sizeof info.label);
      found.erase(found.find_last_not_of(' ') + 1);
      if (found != label) continue;
      slot_ = slots.at(i);
      reopen();
      require(f_->C_Login(session_, CKU_USER, bytes_of(Bytes(pin.begin(), pin.end())), long_of(pin.size())), "C_Login");
      return;
    }
    throw std::runtime_error("no token " + label);
  }
  /// A fresh session ends what the old one had begun; the first stays open so that the login lasts.
  void reopen() {
    require(f_->C_OpenSession(slot_, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session_), "C_OpenSession");
  }

  Bytes value(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
    Bytes buffer(4096);
    CK_ATTRIBUTE attribute{type, buffer.data(), long_of(buffer.size())};
    if (f_->C_GetAttributeValue(session_, object, &attribute, 1) != CKR_OK || attribute.ulValueLen > buffer.size()) return {};
    buffer.resize(attribute.ulValueLen);
    return buffer;
  }
  /// The buffer has exactly the number's size: NSS gives its own shorter form into a larger one.
  CK_ULONG number(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
    CK_ULONG n = 0;
    CK_ATTRIBUTE attribute{type, &n, sizeof n};
    return f_->C_GetAttributeValue(session_, object, &attribute, 1) == CKR_OK ? n : 0;
  }
  CK_OBJECT_HANDLE import_aes(const Bytes& key) {
    CK_OBJECT_CLASS kind = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_BBOOL yes = CK_TRUE;
    CK_BBOOL no = CK_FALSE;
    std::vector<CK_ATTRIBUTE> attributes = {{CKA_CLASS, &kind, sizeof kind},
                                            {CKA_KEY_TYPE, &type, sizeof type},
                                            {CKA_TOKEN, &no, sizeof no},
                                            {CKA_PRIVATE, &yes, sizeof yes},
                                            {CKA_WRAP, &yes, sizeof yes},
                                            {CKA_EXTRACTABLE, &yes, sizeof yes},
                                            {CKA_VALUE, bytes_of(key), long_of(key.size())}};
    CK_OBJECT_HANDLE object = 0;
    require(f_->C_CreateObject(session_, attributes.data(), long_of(attributes.size()), &object), "C_CreateObject");
    return object;
  }

  CK_FUNCTION_LIST* f_ = nullptr;
  CK_SLOT_ID slot_ = 0;
  CK_SESSION_HANDLE session_ = 0;
};

int run(const std::vector<std::string>& words) {
  if (words.size() == 4 && words[1] == "unwrap") {
    const Bytes kek = kmtool::from_hex(words[2]).value();
    const auto* cipher = kek.size() == 32   ? EVP_aes_256_wrap_pad()
                         : kek.size() == 24 ? EVP_aes_192_wrap_pad()
                                            : EVP_aes_128_wrap_pad();
    std::cout << kmtool::hex(Token::unwrap_by_openssl(cipher, kek, kmtool::from_base64(words[3]).value())) << "\n";
    return 0;
  }
  if (words.size() < 6) throw std::runtime_error("see the head of lister.cpp");
  Token token(words[1].c_str(), words[2].c_str(), words[3], words[4].c_str());
  const std::string& verb = words[5];
  if (verb == "list") {
    for (const auto object : token.find({})) std::cout << token.describe(object).dump() << "\n";
    return 0;
  }
  const auto objects = token.with_label(words.at(6));
  if (objects.empty()) throw std::runtime_error("no object " + words.at(6));
  for (const auto object : objects) {
    const Json json = token.describe(object);
    if (verb == "try") {
      std::cout << token.attempt(object).dump() << "\n";
    } else if (verb == "reveal" && json["class"] == "secret") {
      std::cout << Json{{"key_type", json["key_type"]}, {"value", kmtool::hex(token.reveal(object))}}.dump() << "\n";
    } else if (verb == "mac") {
      std::cout << kmtool::hex(token.mac(object, kmtool::from_hex(words.at(7)).value())) << "\n";
    } else if (verb == "encrypt" || verb == "decrypt") {
      std::cout << kmtool::hex(token.crypt(object, kmtool::from_hex(words.at(7)).value(), verb == "encrypt")) << "\n";
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << "lister: " << error.what() << "\n";
    return 1;
  }
}
