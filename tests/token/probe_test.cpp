#include "kmtool/core/json.hpp"
#include "soft_token.hpp"

using namespace kmtool;
using namespace kmtool::test;
using namespace kmtool::pkcs11;

TEST_CASE("SoftHSM does what TOKENS.md says of it") {
  const SoftToken soft;
  auto token = soft.open();
  const auto before = token.scan().size();
  const auto started = std::chrono::steady_clock::now();
  const Profile profile = token.probe();
  CHECK(std::chrono::steady_clock::now() - started < std::chrono::seconds(10));
  CHECK(token.scan().size() == before);
  CHECK(profile.kw_mechanism == 0x2109);
  CHECK(profile.kwp_mechanism == 0x210A);
  CHECK(profile.kwp_note == "odd lengths come back zero-padded");
  CHECK(profile.oaep_hashes == std::vector<std::string>{"SHA-1"});
  CHECK(profile.extractable_enforced);
  CHECK(profile.wrap_with_trusted_enforced);
  CHECK(profile.local_correct);
  CHECK(profile.modifiable_enforced);
  CHECK(profile.copies);
  CHECK(profile.copy_keeps_extractable_false);
  CHECK_FALSE(profile.copyable_known);  // honoured where it is set at birth, but not taken in a copy
  CHECK(profile.private_pairs_copy);
  CHECK_FALSE(profile.one_object_per_id);
  CHECK(profile.relabels);
  CHECK(profile.hmac_sha256);
  CHECK(profile.ecdsa_p256);
  CHECK(profile.ed25519);
  CHECK(profile.aes_gcm);
  CHECK(profile.can_wrap(KeyType::aes256));
  CHECK(profile.can_wrap(KeyType::rsa4096));
  CHECK(profile.can_wrap(KeyType::ec_p521));
  CHECK_FALSE(profile.can_wrap(KeyType::ed25519));
  CHECK(profile.wraps.at("ed25519") == "CKR_KEY_NOT_WRAPPABLE");
  CHECK(profile.generates.size() == 12);
}

TEST_CASE("NSS does what TOKENS.md says of it") {
  const NssToken nss;
  auto token = nss.open();
  const auto before = token.scan().size();
  const Profile profile = token.probe();
  CHECK(token.scan().size() == before);
  CHECK(profile.kw_mechanism == 0x2109);
  CHECK(profile.kwp_mechanism == 0x210B);
  CHECK(profile.kwp_note == "0x210A is PKCS#7 padding, not RFC 5649");
  CHECK(std::find(profile.oaep_hashes.begin(), profile.oaep_hashes.end(), "SHA-256") != profile.oaep_hashes.end());
  CHECK_FALSE(profile.extractable_enforced);
  CHECK_FALSE(profile.wrap_with_trusted_enforced);
  CHECK_FALSE(profile.local_correct);
  CHECK(profile.modifiable_enforced);
  CHECK(profile.copies);
  CHECK_FALSE(profile.copy_keeps_extractable_false);
  CHECK_FALSE(profile.copyable_known);
  CHECK(profile.private_pairs_copy);
  CHECK(profile.one_object_per_id);
  CHECK(profile.relabels);
  CHECK(profile.ecdsa_p256);
  CHECK_FALSE(profile.ed25519);
  CHECK_FALSE(profile.can_generate(KeyType::ed25519));
  CHECK(profile.can_wrap(KeyType::ec_p256));
}

TEST_CASE("a profile survives JSON, and nothing else passes for one") {
  Profile profile;
  profile.kwp_mechanism = 0x210B;
  profile.kwp_note = "a \"note\"";
  profile.oaep_hashes = {"SHA-256"};
  profile.copies = true;
  profile.wraps["aes-256"] = "yes";
  profile.wraps["ed25519"] = "CKR_KEY_NOT_WRAPPABLE";
  profile.generates = {"aes-256"};
  const std::string text = profile.to_json();
  const auto back = Profile::from_json(text);
  REQUIRE(back);
  CHECK(back->to_json() == text);
  CHECK(back->can_wrap(KeyType::aes256));
  CHECK_FALSE(back->can_wrap(KeyType::ed25519));
  CHECK(back->can_generate(KeyType::aes256));

  const auto changed = [&](const std::function<void(Json&)>& change) {
    Json document = Json::parse(text);
    change(document);
    return Profile::from_json(document.dump());
  };
  CHECK_FALSE(Profile::from_json(""));
  CHECK_FALSE(Profile::from_json("{}"));
  CHECK_FALSE(Profile::from_json(text + "x"));
  CHECK_FALSE(changed([](Json& d) { d["kmprofile"] = 1; }));
  CHECK_FALSE(changed([](Json& d) { d["extra"] = 1; }));
  CHECK_FALSE(changed([](Json& d) { d.erase("copies"); }));
  CHECK_FALSE(changed([](Json& d) { d["copies"] = "true"; }));
  CHECK_FALSE(changed([](Json& d) { d["kwp_mechanism"] = -1; }));
  CHECK_FALSE(changed([](Json& d) { d["wraps"]["des"] = "yes"; }));
  CHECK_FALSE(changed([](Json& d) { d["wraps"]["aes-256"] = 1; }));
  CHECK_FALSE(changed([](Json& d) { d["generates"].push_back("des"); }));
}

TEST_CASE("the cache key depends on every field, and fields do not run together") {
  const auto key = profile_key("d", "s", "m", "f");
  CHECK(key.size() == 64);
  CHECK(key == profile_key("d", "s", "m", "f"));
  CHECK(key != profile_key("e", "s", "m", "f"));
  CHECK(key != profile_key("d", "t", "m", "f"));
  CHECK(key != profile_key("d", "s", "n", "f"));
  CHECK(key != profile_key("d", "s", "m", "g"));
  CHECK(profile_key("d", "ab", "c", "f") != profile_key("d", "a", "bc", "f"));
}
