#include <algorithm>
#include <set>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/json.hpp"
#include "pkcs11/keys.hpp"
#include "pkcs11/module.hpp"
#include "soft_token.hpp"

/// Project Wycheproof's cases through what the probe found on each token, under session KEKs of known value. Read from the folder
/// KMTOOL_VECTORS, by default ../shared/vectors beside the project; skipped by name where that is absent.
using namespace kmtool;
using namespace kmtool::test;
using namespace kmtool::pkcs11;

namespace {

struct Case {
  int id = 0;
  std::string flag, result;
  Bytes key, message, other;  ///< other: the wrapped value, or the tag
};

std::vector<Case> cases_of(const std::string& file) {
  const char* given = std::getenv("KMTOOL_VECTORS");
  const char* source = std::getenv("KMTOOL_SOURCE");
  const std::filesystem::path folder = given != nullptr ? given : std::filesystem::path(source != nullptr ? source : ".") / "../shared/vectors";
  if (!std::filesystem::exists(folder / file)) {
    MESSAGE("skipped: " << file << " (KMTOOL_VECTORS names no folder that has it)");
    return {};
  }
  const Json all = parse_json(read_file(folder / file), [](const std::string& what) { throw Error::tampered(what); });
  std::vector<Case> out;
  for (const auto& group : all["testGroups"]) {
    for (const auto& test : group["tests"]) {
      const auto octets = [&](const char* name) { return from_hex(test[name].get<std::string>()).value(); };
      out.push_back({test["tcId"].get<int>(), test["flags"][0].get<std::string>(), test["result"].get<std::string>(), octets("key"),
                     octets("msg"), octets(test.contains("ct") ? "ct" : "tag")});
    }
  }
  return out;
}

/// A token to try them on, below the wall: raw sessions and keys of known value.
class Bench {
 public:
  Bench(const ModuleSpec& spec, const TokenSelector& selector, std::string_view pin_text) : module_(spec) {
    const auto found = module_.select(selector);
    const SecretBytes pin = pin_of(pin_text);
    OpenOptions options;
    options.pin = &pin;
    module_.login(found, options);
    session_ = Session(module_.functions(), found.slot, true);
    profile = probe_token(session_, module_.functions(), found.slot);
  }
  ScopedObject kek(const Bytes& value) {
    Attributes what;
    what.number(CKA_CLASS, CKO_SECRET_KEY).number(CKA_KEY_TYPE, CKK_AES).flag(CKA_TOKEN, false).bytes(CKA_VALUE, value);
    what.flag(CKA_WRAP, true).flag(CKA_UNWRAP, true);
    return {session_, session_.create(std::move(what))};
  }
  ScopedObject secret(const Bytes& value) {
    Attributes what = readable();
    what.bytes(CKA_VALUE, value);
    return {session_, session_.create(std::move(what))};
  }
  std::optional<Bytes> wrap(WrapAlgorithm algorithm, const Bytes& key, const Bytes& value) {
    return attempt([&] { return session_.wrap(wrap_mechanism(profile, algorithm), kek(key).get(), secret(value).get()); });
  }
  std::optional<Bytes> unwrap(WrapAlgorithm algorithm, const Bytes& key, const Bytes& wrapped) {
    return attempt([&] {
      const ScopedObject opened(session_, session_.unwrap(wrap_mechanism(profile, algorithm), kek(key).get(), wrapped, readable()));
      Bytes value(1024);
      CK_ATTRIBUTE want{CKA_VALUE, value.data(), value.size()};
      REQUIRE(session_.get_attributes(opened.get(), {&want, 1}) == CKR_OK);
      value.resize(want.ulValueLen);
      return value;
    });
  }
  std::optional<Bytes> tag(const Bytes& key, const Bytes& message) {
    return attempt([&] { return session_.sign({CKM_SHA256_HMAC, nullptr, 0}, secret(key).get(), message); });
  }

  Profile profile;

 private:
  static Attributes readable() {
    Attributes what;
    what.number(CKA_CLASS, CKO_SECRET_KEY).number(CKA_KEY_TYPE, CKK_GENERIC_SECRET).flag(CKA_TOKEN, false);
    what.flag(CKA_SENSITIVE, false).flag(CKA_EXTRACTABLE, true).flag(CKA_SIGN, true);
    return what;
  }
  template <typename Act>
  static std::optional<Bytes> attempt(const Act& act) {
    try {
      return act();
    } catch (const Error&) {
      return std::nullopt;
    }
  }

  Module module_;
  Session session_;
};

/// A case in which a token does something else than the vector wants, and why that does no harm.
struct Deviation {
  const char *token, *file, *flag;  ///< every case with this flag …
  std::size_t length;               ///< … and this length of the message (any: 0xffff)
  const char* what;                 ///< what the token does
};
constexpr std::size_t any = 0xffff;

const std::vector<Deviation> deviations = {
#include "vectors_deviations.inc"
};

struct Tally {
  Tally(std::string token_in, std::string file_in) : token(std::move(token_in)), file(std::move(file_in)) {}
  std::string token, file;
  int passed = 0;
  std::map<std::string, int> deviated;
  std::vector<std::string> unexpected;
  std::set<const Deviation*> met;

  void count(const Case& test, const std::string& what) {
    if (what.empty()) {
      ++passed;
      return;
    }
    for (const auto& known : deviations) {
      const bool fits = token == known.token && file == known.file && test.flag == known.flag && what == known.what;
      if (fits && (known.length == any || known.length == test.message.size())) {
        met.insert(&known);
        ++deviated[test.flag + ": " + what];
        return;
      }
    }
    unexpected.push_back(fmt::format("case {} ({}, {} bytes, {}): {}", test.id, test.flag, test.message.size(), test.result, what));
  }
  void finish() const {
    std::string text;
    for (const auto& [what, times] : deviated) text += fmt::format("; {} x {}", times, what);
    std::printf("vectors: %s, %s: %d as wanted%s\n", token.c_str(), file.c_str(), passed, text.c_str());
    for (const auto& line : unexpected) FAIL_CHECK(token << ", " << file << ": " << line);
    for (const auto& known : deviations) {
      if (token == known.token && file == known.file && !met.contains(&known)) FAIL_CHECK("this deviation is gone: " << known.flag << ", " << known.what);
    }
  }
};

void wrap_cases(Bench& bench, const std::string& token, const std::string& file, WrapAlgorithm algorithm) {
  const auto cases = cases_of(file);
  if (cases.empty()) return;
  Tally tally(token, file);
  for (const auto& test : cases) {
    const auto opened = bench.unwrap(algorithm, test.key, test.other);
    if (test.result == "invalid") {
      tally.count(test, !opened ? "" : *opened == test.message ? "opens it to the message" : "opens it to something else");
      continue;
    }
    const auto wrapped = bench.wrap(algorithm, test.key, test.message);
    const bool acceptable = test.result == "acceptable";
    if (!opened && !wrapped) {
      tally.count(test, acceptable ? "" : "neither wraps nor opens");
    } else if (!opened) {
      tally.count(test, "does not open it");
    } else if (*opened != test.message) {
      tally.count(test, "opens it to something else");
    } else if (!wrapped) {
      tally.count(test, "does not wrap it");
    } else {
      tally.count(test, *wrapped == test.other ? "" : "wraps it to something else");
    }
  }
  tally.finish();
}

void mac_cases(Bench& bench, const std::string& token, const std::string& file) {
  const auto cases = cases_of(file);
  if (cases.empty()) return;
  Tally tally(token, file);
  for (const auto& test : cases) {
    const auto tag = bench.tag(test.key, test.message);
    const bool same = tag && tag->size() >= test.other.size() && std::equal(test.other.begin(), test.other.end(), tag->begin());
    tally.count(test, !tag ? fmt::format("makes no tag with a key of {} bytes", test.key.size()) : same == (test.result == "valid") ? std::string() : same ? "makes the wrong tag" : "makes another tag");
  }
  tally.finish();
}

void all_cases(Bench& bench, const std::string& token) {
  REQUIRE(bench.profile.kwp_mechanism != 0);
  REQUIRE(bench.profile.kw_mechanism != 0);
  wrap_cases(bench, token, "wycheproof_aes_kwp.json", WrapAlgorithm::aes_kwp);
  wrap_cases(bench, token, "wycheproof_aes_wrap.json", WrapAlgorithm::aes_kw);
  mac_cases(bench, token, "wycheproof_hmac_sha256.json");
}

}  // namespace

TEST_CASE("Wycheproof's cases on SoftHSM") {
  const SoftToken soft;
  Bench bench(SoftToken::module(), soft.selector(), SoftToken::user_pin);
  all_cases(bench, "SoftHSM");
}

TEST_CASE("Wycheproof's cases on NSS") {
  const NssToken nss;
  Bench bench(nss.module(), {"NSS Certificate DB", {}, {}, {}}, NssToken::user_pin);
  all_cases(bench, "NSS");
}
