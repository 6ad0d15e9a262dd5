#include <fstream>
#include <regex>

#include "soft_token.hpp"

// Speed is the number of calls: pkcs11-spy writes every one down.

using namespace kmtool;
using namespace kmtool::test;
using namespace kmtool::pkcs11;

namespace {

std::size_t count(const std::string& log, const std::string& function) {
  const std::regex line("[0-9]+: " + function + "\\b");
  return static_cast<std::size_t>(std::distance(std::sregex_iterator(log.begin(), log.end(), line), std::sregex_iterator()));
}

}  // namespace

TEST_CASE("a key costs one reading and one wrap, and many keys one find") {
  const std::string spy = existing({"/usr/lib/x86_64-linux-gnu/pkcs11-spy.so", "/usr/lib/aarch64-linux-gnu/pkcs11-spy.so"});
  if (spy.empty()) {
    MESSAGE("pkcs11-spy.so (package opensc) is not installed");
    return;
  }
  const SoftToken soft;
  constexpr std::size_t keys = 30;
  std::vector<Bytes> ids;
  Bytes kek_id;
  {
    auto token = soft.ready();
    kek_id = new_id(token);
    for (const auto& fresh : token.generate(Role::kek, KeyType::aes256, "root@1", kek_id, false))
      (void)token.persist(fresh, false);
    for (std::size_t i = 0; i < keys; ++i) {
      ids.push_back(new_id(token));
      (void)token.persist(token.generate(Role::data, KeyType::aes256, "k@1", ids.back(), true)[0], true);
    }
  }
  const auto log_path = soft.dir() / "spy.log";
  setenv("PKCS11SPY", SoftToken::module().path.c_str(), 1);
  setenv("PKCS11SPY_OUTPUT", log_path.c_str(), 1);
  {
    const SecretBytes pin = pin_of(SoftToken::user_pin);
    OpenOptions options;
    options.pin = &pin;
    const auto profile = [&] { return soft.ready().profile(); }();
    auto token = Token::open({spy, {}}, soft.selector(), options);
    token.use_profile(profile);
    auto asked = ids;
    asked.push_back(kek_id);
    const auto found = token.locate(asked);
    const auto& pair = found.at(kek_id);
    const auto& kek = pair[0].wrap == true ? pair[0] : pair[1];
    for (const Bytes& id : ids) (void)token.wrap(kek.handle, found.at(id).front().handle, WrapAlgorithm::aes_kwp);
  }
  unsetenv("PKCS11SPY");
  unsetenv("PKCS11SPY_OUTPUT");
  const std::string log = slurp(log_path);
  CHECK(count(log, "C_Initialize") == 1);
  CHECK(count(log, "C_Finalize") == 1);
  CHECK(count(log, "C_Login") == 1);
  CHECK(count(log, "C_FindObjectsInit") == 1);
  CHECK(count(log, "C_GetAttributeValue") == keys + 2);
  CHECK(count(log, "C_WrapKey") == keys);
}
