#include <set>

#include "kmtool/crypto/digest.hpp"
#include "soft_token.hpp"

using namespace kmtool;
using namespace kmtool::test;
using namespace kmtool::pkcs11;

namespace {

using Texts = std::vector<std::string>;

/// Generates, persists and checks every part of one key.
void check_key(Token& token, Role role, KeyType type, bool extractable) {
  INFO(to_text(role), " ", to_text(type), extractable ? " extractable" : "");
  const Bytes id = new_id(token);
  const std::string label = "k." + std::string(to_text(type)) + "@1";
  const auto made = token.generate(role, type, label, id, extractable);
  REQUIRE(made.size() == parts_of(role).size());
  for (std::size_t i = 0; i < made.size(); ++i) {
    CHECK(made[i].spec.part == parts_of(role)[i]);
    const Object session = token.read(made[i].handle);
    CHECK(session.token == false);
    const Object object = token.persist(made[i], extractable);
    CHECK(token.differences(
              object,
              [&] {
                ObjectSpec spec = made[i].spec;
                spec.extractable = extractable && spec.part != Part::public_half;
                return spec;
              }(),
              false) == Texts{});
    CHECK(object.token == true);
    CHECK(object.modifiable == false);
    CHECK(object.label == label);
    CHECK(object.id == id);
    if (made[i].spec.part == Part::public_half) continue;
    CHECK(object.is_private == true);
    CHECK(object.sensitive == true);
    CHECK(object.extractable == extractable);
    CHECK(object.never_extractable == !extractable);
    const bool seal = made[i].spec.part == Part::kek_seal;
    CHECK(object.type(role) == (seal ? KeyType::hmac_sha256 : type));
    CHECK(object.always_sensitive == true);
    CHECK(object.local == true);
    // The session object is gone.
    CHECK_THROWS_AS((void)token.read(made[i].handle), Error);
  }
  CHECK(token.find_by_id(id).size() == made.size());
}

}  // namespace

TEST_CASE("keys of every role and type are made as they should be") {
  const SoftToken soft;
  auto token = soft.ready();
  std::size_t objects = 0;
  for (const Role role : all_roles()) {
    for (const KeyType type : types_of(role)) {
      if (type == KeyType::rsa4096) continue;  // seconds; RSA-3072 takes the same way
      check_key(token, role, type, false);
      objects += parts_of(role).size();
      if (class_of(type) == KeyClass::pair && is_rsa(type)) continue;
      check_key(token, role, type, true);
      objects += parts_of(role).size();
    }
  }
  const auto all = token.scan();
  CHECK(all.size() == objects);
  for (const auto& object : all) CHECK_FALSE(object.nameless());
  CHECK(exit_of([&] { (void)token.generate(Role::kek, KeyType::ec_p256, "x", new_id(token), false); }) == ExitCode::usage);
}

TEST_CASE("direct generation gives the same keys") {
  const SoftToken soft;
  auto token = soft.ready();
  for (const auto& [role, type] : {std::pair{Role::kek, KeyType::aes256}, std::pair{Role::sign, KeyType::ec_p256}}) {
    const auto made = token.generate_on_token(role, type, "direct@1", new_id(token), false);
    CHECK(made.size() == 2);
    for (const auto& object : made) CHECK(object.modifiable == false);
  }
  CHECK(token.find_by_label("direct@1").size() == 4);
  CHECK(token.find_by_label("direct").empty());
  std::set<std::string> labels{"direct@1"};
  CHECK(token.find_by_labels(labels).size() == 4);
  for (int i = 0; i < 20; ++i) labels.insert(fmt::format("nobody-{}", i));
  CHECK(token.find_by_labels(labels).size() == 4);
  labels.erase("direct@1");
  CHECK(token.find_by_labels(labels).empty());
}

TEST_CASE("backed up at birth: extractable in the session, wrapped, then not extractable on the token") {
  const SoftToken soft;
  auto token = soft.ready();
  const auto kek = token.persist(token.generate(Role::kek, KeyType::aes256, "root@1", new_id(token), false)[0], false);
  const auto fresh = token.generate(Role::data, KeyType::aes256, "payments@1", new_id(token), true)[0];
  const Bytes wrapped = token.wrap(kek.handle, fresh.handle, WrapAlgorithm::aes_kwp);
  const Object key = token.persist(fresh, false);
  CHECK(key.extractable == false);
  const auto error = error_of([&] { (void)token.wrap(kek.handle, key.handle, WrapAlgorithm::aes_kwp); });
  CHECK(error.exit() == ExitCode::refused);
  CHECK(error.message() == "C_WrapKey: CKR_KEY_UNEXTRACTABLE (the key may not leave the token)");
  const auto back = token.unwrap(kek.handle, WrapAlgorithm::aes_kwp, wrapped, fresh.spec, false);
  CHECK(token.same_key(key, token.read(back.handle), Role::data, Part::value));
}

TEST_CASE("a persistent key cannot be changed or copied into an extractable one, but destroyed") {
  const SoftToken soft;
  auto token = soft.ready();
  const auto kek = token.persist(token.generate(Role::kek, KeyType::aes256, "root@1", new_id(token), false)[0], false);
  CHECK(exit_of([&] { token.relabel(kek.handle, "other"); }) == ExitCode::refused);
  CHECK(token.read(kek.handle).label == "root@1");
  CHECK(error_of([&] {
          (void)token.persist({{Role::kek, KeyType::aes256, Part::kek_wrap, "root@1", kek.id, false}, kek.handle}, true);
        }).exit() == ExitCode::refused);
}

TEST_CASE("differences names what is not as it should be") {
  const SoftToken soft;
  auto token = soft.ready();
  const auto made = token.generate(Role::data, KeyType::aes256, "a@1", new_id(token), true)[0];
  const auto object = token.persist(made, true);
  ObjectSpec other = made.spec;
  other.extractable = false;
  CHECK(token.differences(object, other, false) == Texts{"CKA_EXTRACTABLE is true, wanted false"});
  other = made.spec;
  other.role = Role::mac;
  other.type = KeyType::hmac_sha256;
  other.label = "b@1";
  const auto all = token.differences(object, other, false);
  CHECK(std::find(all.begin(), all.end(), "CKA_LABEL is a@1, wanted b@1") != all.end());
  CHECK(std::find(all.begin(), all.end(), "CKA_ENCRYPT is true, wanted false") != all.end());
  CHECK(std::find(all.begin(), all.end(), "CKA_SIGN is false, wanted true") != all.end());
  CHECK(std::find(all.begin(), all.end(), "CKA_KEY_TYPE is 0x1f, wanted 0x10") != all.end());
  CHECK(token.differences(object, made.spec, true) ==
        Texts{"CKA_LOCAL is true, wanted false", "CKA_ALWAYS_SENSITIVE is true, wanted false"});
}

TEST_CASE("objects are located by id, few or many, and duplicates show") {
  const SoftToken soft;
  auto token = soft.ready();
  std::vector<Bytes> ids;
  for (int i = 0; i < 12; ++i) {
    ids.push_back(new_id(token));
    (void)token.persist(token.generate(Role::data, KeyType::aes128, "n@" + std::to_string(i + 1), ids.back(), false)[0], false);
  }
  (void)token.persist(token.generate(Role::data, KeyType::aes128, "double@1", ids[0], false)[0], false);
  const Bytes absent = new_id(token);
  const auto few = token.locate({ids[0], ids[1], absent});
  CHECK(few.size() == 2);
  CHECK(few.at(ids[0]).size() == 2);
  auto asked = ids;
  asked.push_back(absent);
  const auto many = token.locate(asked);
  CHECK(many.size() == 12);
  CHECK(many.at(ids[0]).size() == 2);
  CHECK(many.at(ids[5]).front().label == "n@6");
  CHECK(token.locate({}).empty());
  CHECK(token.find_by_id(absent).empty());
  token.destroy(few.at(ids[1]).front().handle);
  CHECK(token.find_by_id(ids[1]).empty());
}

TEST_CASE("the rollback anchor relabels and does nothing else") {
  const SoftToken soft;
  auto token = soft.ready();
  const Bytes id = new_id(token);
  const auto a = token.create_anchor_object(id, "anchor:1-a");
  const auto b = token.create_anchor_object(id, "anchor:1-b");
  CHECK(token.find_by_id(id).size() == 2);
  for (const std::size_t length : {std::size_t{10}, std::size_t{450}, std::size_t{900}}) {
    token.relabel(a, std::string(length, 'x'));
    CHECK(token.read(a).label == std::string(length, 'x'));
  }
  CHECK(token.read(b).label == "anchor:1-b");
  const Object anchor = token.read(a);
  CHECK(anchor.extractable == false);
  CHECK(anchor.sensitive == true);
  CHECK(anchor.sign == false);
  CHECK_THROWS_AS((void)token.hmac_sha256(a, view("x")), Error);
}

TEST_CASE("signatures verify on the host") {
  const SoftToken soft;
  auto token = soft.ready();
  const Bytes digest = token.random(32);
  for (const KeyType type : {KeyType::ec_p256, KeyType::ec_p384, KeyType::ec_p521}) {
    const auto pair = token.generate(Role::sign, type, "s@1", new_id(token), false);
    const auto key = token.public_key(token.read(pair[1].handle));
    CHECK(key.type() == type);
    CHECK(key.verify_ecdsa_digest(digest, token.sign_ecdsa(pair[0].handle, digest)));
  }
  const auto pair = token.generate(Role::sign, KeyType::ed25519, "log@1", new_id(token), false);
  const auto key = token.public_key(token.read(pair[1].handle));
  CHECK(key.verify_ed25519(view("a checkpoint"), token.sign_ed25519(pair[0].handle, view("a checkpoint"))));
  const auto seal = token.generate(Role::kek, KeyType::aes256, "root@1", new_id(token), false)[1];
  CHECK(token.hmac_sha256(seal.handle, view("x")).size() == 32);
  CHECK(token.hmac_sha256(seal.handle, view("x")) != token.hmac_sha256(seal.handle, view("y")));
}

TEST_CASE("a private half is told from another") {
  const SoftToken soft;
  auto token = soft.ready();
  for (const auto& kind : {std::pair{Role::sign, KeyType::ec_p256}, std::pair{Role::sign, KeyType::ed25519},
                           std::pair{Role::sign, KeyType::rsa3072}, std::pair{Role::transport, KeyType::rsa3072},
                           std::pair{Role::transport, KeyType::ec_p384}, std::pair{Role::transport, KeyType::ec_p521}}) {
    const Role role = kind.first;
    const KeyType type = kind.second;
    INFO(to_text(role), " ", to_text(type));
    const auto one = token.generate(role, type, "one@1", new_id(token), false);
    const auto two = token.generate(role, type, "two@1", new_id(token), false);
    const auto key = token.public_key(token.read(one[1].handle));
    CHECK(token.private_matches(token.read(one[0].handle), key));
    CHECK_FALSE(token.private_matches(token.read(two[0].handle), key));
    CHECK(token.same_key(token.read(one[0].handle), token.read(one[0].handle), role, Part::private_half));
    CHECK_FALSE(token.same_key(token.read(one[0].handle), token.read(two[0].handle), role, Part::private_half));
    CHECK(token.same_key(token.read(one[1].handle), token.read(one[1].handle), role, Part::public_half));
    CHECK_FALSE(token.same_key(token.read(one[1].handle), token.read(two[1].handle), role, Part::public_half));
  }
}
