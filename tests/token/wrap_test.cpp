#include "kmtool/core/encoding.hpp"
#include "pkcs11/host.hpp"
#include "pkcs11/keys.hpp"
#include "pkcs11/module.hpp"
#include "soft_token.hpp"

using namespace kmtool;
using namespace kmtool::test;
using namespace kmtool::pkcs11;

namespace {

struct Kek {
  Object wrap, seal;
};
Kek make_kek(Token& token) {
  const auto made = token.generate(Role::kek, KeyType::aes256, "root@1", new_id(token), false);
  return {token.persist(made[0], false), token.persist(made[1], false)};
}

}  // namespace

TEST_CASE("the host's KW and KWP are those of RFC 3394 and RFC 5649") {
  const auto octets = [](const char* text) { return from_hex(text).value(); };
  CHECK(hex(host::aes_kw(octets("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
                         octets("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f"))) ==
        "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21");
  const Bytes kek = octets("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8");
  CHECK(hex(host::aes_kwp(kek, octets("c37b7e6492584340bed12207808941155068f738"))) ==
        "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a");
  CHECK(hex(host::aes_kwp(kek, octets("466f7250617369"))) == "afbeb0f07dfbf5419200f2ccb50bb24f");
}

TEST_CASE("what the token wraps under a known kek is RFC 5649 of the exact value") {
  const SoftToken soft;
  Module module(SoftToken::module());
  const auto found = module.select(soft.selector());
  const SecretBytes pin = pin_of(SoftToken::user_pin);
  OpenOptions options;
  options.pin = &pin;
  module.login(found, options);
  const Session session(module.functions(), found.slot, true);
  const Profile profile = probe_token(session, module.functions(), found.slot);
  const Bytes kek_value = session.random(32), value = session.random(32);
  const auto import = [&](const Bytes& octets, bool kek) {
    Attributes what;
    what.number(CKA_CLASS, CKO_SECRET_KEY).number(CKA_KEY_TYPE, CKK_AES).flag(CKA_TOKEN, false).bytes(CKA_VALUE, octets);
    what.flag(CKA_SENSITIVE, true).flag(CKA_EXTRACTABLE, !kek).flag(CKA_WRAP, kek).flag(CKA_UNWRAP, kek);
    return session.create(std::move(what));
  };
  const auto kek = import(kek_value, true), key = import(value, false);
  CHECK(session.wrap(wrap_mechanism(profile, WrapAlgorithm::aes_kwp), kek, key) == host::aes_kwp(kek_value, value));
  CHECK(session.wrap(wrap_mechanism(profile, WrapAlgorithm::aes_kw), kek, key) == host::aes_kw(kek_value, value));

  // And back: a value made on the host opens to the same key.
  const Wrapped made_here{{kek}, WrapAlgorithm::aes_kwp, {}, nullptr};
  const Bytes host_side = host::aes_kwp(kek_value, value);
  Wrapped wrapped = made_here;
  wrapped.value = host_side;
  const auto opened =
      unwrap_key(session, profile, wrapped, {Role::data, KeyType::aes256, Part::value, "t@1", session.random(16), false});
  const Bytes block = session.random(16);
  CHECK(session.encrypt({CKM_AES_ECB, nullptr, 0}, opened.handle.value, block) == host::aes_ecb(value, block));
}

TEST_CASE("keys of every kind come back, persist, and are the same keys") {
  const SoftToken soft;
  auto token = soft.ready();
  const Kek kek = make_kek(token);
  for (const Role role : all_roles()) {
    for (const KeyType type : types_of(role)) {
      if (type == KeyType::rsa4096 || type == KeyType::ed25519) continue;
      INFO(to_text(role), " ", to_text(type));
      const auto made = token.generate(role, type, "k@1", new_id(token), true);
      for (const FreshObject& fresh : made) {
        if (fresh.spec.part == Part::public_half) continue;
        const Bytes wrapped = token.wrap(kek.wrap.handle, fresh.handle, WrapAlgorithm::aes_kwp);
        const auto back = token.unwrap(kek.wrap.handle, WrapAlgorithm::aes_kwp, wrapped, fresh.spec, false);
        const Object original = token.read(fresh.handle);
        CHECK(token.same_key(original, token.read(back.handle), role, fresh.spec.part));
        const Object kept = token.persist(back, false);
        CHECK(token.differences(kept, back.spec, true).empty());
        CHECK(token.same_key(original, kept, role, fresh.spec.part));
        if (is_ec(type) || is_rsa(type)) continue;
        const auto other = token.generate(role, type, "o@1", new_id(token), true);
        const auto& counterpart = fresh.spec.part == Part::kek_seal ? other[1] : other[0];
        CHECK_FALSE(token.same_key(original, token.read(counterpart.handle), role, fresh.spec.part));
      }
    }
  }
}

TEST_CASE("what was damaged does not open, and nothing is left") {
  const SoftToken soft;
  auto token = soft.ready();
  const Kek kek = make_kek(token);
  const auto fresh = token.generate(Role::data, KeyType::aes256, "k@1", new_id(token), true)[0];
  const Bytes wrapped = token.wrap(kek.wrap.handle, fresh.handle, WrapAlgorithm::aes_kwp);
  CHECK(wrapped.size() == 40);
  const auto open = [&](const Bytes& value, const ObjectSpec& spec) {
    return exit_of([&] { (void)token.unwrap(kek.wrap.handle, WrapAlgorithm::aes_kwp, value, spec, false); });
  };
  for (std::size_t i = 0; i < wrapped.size(); i += 3) {
    Bytes damaged = wrapped;
    damaged[i] ^= 0x10;
    CHECK(open(damaged, fresh.spec) == ExitCode::damaged);
  }
  CHECK(open(Bytes(wrapped.begin(), wrapped.end() - 8), fresh.spec) == ExitCode::damaged);
  CHECK(open({}, fresh.spec) == ExitCode::damaged);
  ObjectSpec shorter = fresh.spec;
  shorter.type = KeyType::aes128;
  CHECK(open(wrapped, shorter) == ExitCode::damaged);
  const ObjectSpec pair{Role::sign, KeyType::ec_p256, Part::private_half, "k@1", fresh.spec.id, false};
  CHECK(open(wrapped, pair) == ExitCode::damaged);
  const auto p384 = token.generate(Role::sign, KeyType::ec_p384, "p@1", new_id(token), true)[0];
  CHECK(open(token.wrap(kek.wrap.handle, p384.handle, WrapAlgorithm::aes_kwp), pair) == ExitCode::damaged);
  const auto other = token.generate(Role::kek, KeyType::aes256, "other@1", new_id(token), false)[0];
  const auto wrong = error_of([&] { (void)token.unwrap(other.handle, WrapAlgorithm::aes_kwp, wrapped, fresh.spec, false); });
  CHECK(wrong.exit() == ExitCode::damaged);
  CHECK(wrong.message().find("does not open under this kek") != std::string::npos);
}

TEST_CASE("the algorithm is chosen by kind, or the reason told") {
  const SoftToken soft;
  auto token = soft.ready();
  std::string why;
  CHECK(token.wrap_algorithm(KeyType::aes256, &why) == WrapAlgorithm::aes_kwp);
  CHECK(token.wrap_mechanism_name(WrapAlgorithm::aes_kwp) == "CKM_AES_KEY_WRAP_PAD");
  CHECK(token.wrap_mechanism_name(WrapAlgorithm::aes_kw) == "CKM_AES_KEY_WRAP");
  CHECK_FALSE(token.wrap_algorithm(KeyType::ed25519, &why));
  CHECK(why == "this token does not wrap ed25519 keys (CKR_KEY_NOT_WRAPPABLE)");
  Profile kw_only = token.profile();
  kw_only.kwp_mechanism = 0;
  token.use_profile(kw_only);
  CHECK(token.wrap_algorithm(KeyType::aes256) == WrapAlgorithm::aes_kw);
  CHECK_FALSE(token.wrap_algorithm(KeyType::ec_p256, &why));
  CHECK(why.find("AES-KW only") != std::string::npos);
  CHECK(exit_of([&] { (void)token.wrap({1}, {2}, WrapAlgorithm::aes_kwp); }) == ExitCode::unavailable);
  token.use_profile({});
  CHECK_FALSE(token.wrap_algorithm(KeyType::aes256, &why));
  CHECK(why == "this token has neither AES-KWP nor AES-KW");
}

TEST_CASE("a public half is made from its SPKI and persists") {
  const SoftToken soft;
  auto token = soft.ready();
  for (const auto& kind : {std::pair{Role::sign, KeyType::ec_p256}, std::pair{Role::sign, KeyType::ed25519},
                           std::pair{Role::transport, KeyType::rsa3072}, std::pair{Role::sign, KeyType::ec_p521}}) {
    const Role role = kind.first;
    const KeyType type = kind.second;
    INFO(to_text(type));
    const auto pair = token.generate(role, type, "p@1", new_id(token), false);
    const auto key = token.public_key(token.read(pair[1].handle));
    const auto made = token.create_public(key, {role, type, Part::public_half, "r@1", new_id(token), false});
    CHECK(token.public_key(token.read(made.handle)).spki() == key.spki());
    const Object kept = token.persist(made, false);
    CHECK(token.public_key(kept).fingerprint() == key.fingerprint());
    CHECK(exit_of([&] {
            (void)token.create_public(key, {role, KeyType::ec_p384, Part::public_half, "r@1", new_id(token), false});
          }) == ExitCode::damaged);
  }
}
