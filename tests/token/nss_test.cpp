#include "soft_token.hpp"

using namespace kmtool;
using namespace kmtool::test;
using namespace kmtool::pkcs11;

TEST_CASE("NSS: a KEK's two objects live beside each other under one id") {
  const NssToken nss;
  auto token = nss.ready();
  const Bytes id = new_id(token);
  const auto made = token.generate(Role::kek, KeyType::aes256, "root@1", id, false);
  const auto wrap = token.persist(made[0], false);
  const auto seal = token.persist(made[1], false);
  CHECK(wrap.id == id);
  CHECK(seal.id == id);
  const auto found = token.find_by_id(id);
  REQUIRE(found.size() == 2);
  CHECK(found[0].key_type != found[1].key_type);
  CHECK(token.read(wrap.handle).wrap == true);
  CHECK(token.hmac_sha256(seal.handle, view("x")).size() == 32);
  CHECK(token.locate({id}).at(id).size() == 2);
  std::vector<Bytes> many(20);
  for (auto& other : many) other = new_id(token);
  many.push_back(id);
  CHECK(token.locate(many).at(id).size() == 2);

  // A second key under the same id would replace the first one without a word.
  const auto again = token.generate(Role::kek, KeyType::aes256, "other@1", id, false);
  for (const auto& fresh : again) CHECK(error_of([&] { (void)token.persist(fresh, false); }).code() == "duplicate-id");
  CHECK(error_of([&] { (void)token.generate_on_token(Role::kek, KeyType::aes256, "other@1", id, false); }).code() ==
        "duplicate-id");
  CHECK(token.find_by_id(id).size() == 2);
  CHECK(token.read(wrap.handle).label == "root@1");
}

TEST_CASE("NSS: keys of every role and type persist and come back") {
  const NssToken nss;
  auto token = nss.ready();
  const auto kek = token.persist(token.generate(Role::kek, KeyType::aes256, "root@1", new_id(token), false)[0], false);
  for (const Role role : all_roles()) {
    for (const KeyType type : types_of(role)) {
      if (type == KeyType::rsa4096 || !token.profile().can_generate(type)) continue;
      INFO(to_text(role), " ", to_text(type));
      const auto made = token.generate(role, type, "k@1", new_id(token), true);
      std::optional<crypto::PublicKey> key;
      if (class_of(type) == KeyClass::pair) key = token.public_key(token.read(made[1].handle));
      for (const auto algorithm : {WrapAlgorithm::aes_kwp, WrapAlgorithm::aes_kw}) {
        if (key && algorithm == WrapAlgorithm::aes_kw) continue;
        const Bytes wrapped = token.wrap(kek.handle, made[0].handle, algorithm);
        const auto back = token.unwrap(kek.handle, algorithm, wrapped, made[0].spec, false, key ? &*key : nullptr);
        const Object session = token.read(back.handle);
        CHECK(token.same_key(token.read(made[0].handle), session, role, made[0].spec.part));
        if (algorithm == WrapAlgorithm::aes_kw) continue;
        const Object kept = token.persist(back, false);
        CHECK(token.differences(kept, back.spec, true).empty());
        if (key) CHECK(token.private_matches(kept, *key));
        Bytes damaged = wrapped;
        damaged[9] ^= 1;
        CHECK(exit_of([&] { (void)token.unwrap(kek.handle, algorithm, damaged, made[0].spec, false, key ? &*key : nullptr); }) ==
              ExitCode::damaged);
        token.destroy(kept.handle);
      }
      for (const auto& fresh : made) CHECK(token.persist(fresh, false).modifiable == false);
    }
  }
}

TEST_CASE("NSS: an EC private key opens only together with its public key") {
  const NssToken nss;
  auto token = nss.ready();
  const auto kek = token.generate(Role::kek, KeyType::aes256, "root@1", new_id(token), false)[0];
  const auto pair = token.generate(Role::sign, KeyType::ec_p256, "k@1", new_id(token), true);
  const Bytes wrapped = token.wrap(kek.handle, pair[0].handle, WrapAlgorithm::aes_kwp);
  const auto error = error_of([&] { (void)token.unwrap(kek.handle, WrapAlgorithm::aes_kwp, wrapped, pair[0].spec, false); });
  CHECK(error.hint().find("public key") != std::string::npos);
}

TEST_CASE("NSS: the anchor relabels, and its two objects do not replace each other") {
  const NssToken nss;
  const std::string label(200, 'n');
  Bytes id;
  {
    auto token = nss.ready();
    id = new_id(token);
    const auto a = token.create_anchor_object(id, "one-a");
    const auto b = token.create_anchor_object(id, "one-b");
    CHECK(a.value != b.value);
    token.relabel(a, label);
    CHECK(token.read(b).label == "one-b");
    CHECK(error_of([&] { (void)token.create_anchor_object(id, "one-c"); }).code() == "duplicate-id");
  }
  auto token = nss.ready();  // it lasts
  const auto found = token.find_by_id(id);
  REQUIRE(found.size() == 2);
  CHECK(found[0].id == id);
  CHECK((found[0].label == label || found[1].label == label));
}

TEST_CASE("NSS: a wrong PIN is refused") {
  const NssToken nss;
  const auto error = error_of([&] { (void)nss.open("wrong-PIN-1"); });
  CHECK(error.exit() == ExitCode::refused);
  CHECK(error.code() == "CKR_PIN_INCORRECT");
}
