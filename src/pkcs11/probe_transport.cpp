#include <algorithm>

#include "host.hpp"
#include "keys.hpp"
#include "objects.hpp"

/// Which ways to and from public keys are what they are called: the token's opening is held against the host's encryption
/// (probe.cpp, oaep_opens; here the KDF), its wrapping against its own opening.
namespace kmtool::pkcs11 {
namespace {

using Kind = Transport::Kind;

/// What a KEK's seal is to a transport: 32 octets that make tags.
Attributes sample_template(bool extractable) {
  Attributes out;
  out.number(CKA_CLASS, CKO_SECRET_KEY).number(CKA_KEY_TYPE, CKK_GENERIC_SECRET).flag(CKA_TOKEN, false).flag(CKA_PRIVATE, true);
  out.flag(CKA_SENSITIVE, true).flag(CKA_EXTRACTABLE, extractable).flag(CKA_SIGN, true).flag(CKA_VERIFY, true);
  return out;
}

class TransportProbe {
 public:
  TransportProbe(const Session& session, Profile& profile) : session_(session), profile_(profile) {}

  /// Wraps a sample by `wrap` and opens it with the private key: both hold, or neither is recorded.
  void both_ways(const Transport& transport, CK_OBJECT_HANDLE private_key, std::size_t head, const std::function<Bytes(CK_OBJECT_HANDLE)>& wrap) {
    bool same = false;
    attempt([&] {
      Attributes what = sample_template(true);
      what.number(CKA_VALUE_LEN, 32);
      const ScopedObject sample(session_, session_.generate(CKM_GENERIC_SECRET_KEY_GEN, std::move(what)));
      const Bytes value = wrap(sample.get());
      if (value.size() <= head) return;
      const ScopedObject back(session_, open_transported(session_, profile_, private_key, value, head, transport, sample_template(false)));
      const Bytes message = session_.random(32);
      same = hmac_tag(session_, back.get(), message) == hmac_tag(session_, sample.get(), message);
    });
    if (!same) return;
    profile_.transports_out.emplace_back(to_text(transport));
    profile_.transports_in.emplace_back(to_text(transport));
  }

  /// Does a derivation by this KDF give what X9.63 says?
  bool kdf_is_real(CK_OBJECT_HANDLE private_key, const crypto::PublicKey& key, const std::string& hash) {
    bool right = false;
    attempt([&] {
      host::Agreement host_side = host::agree(key);
      CK_ECDH1_DERIVE_PARAMS parameters{};
      parameters.kdf = kdf_number(hash);
      parameters.pPublicData = host_side.point.data();
      parameters.ulPublicDataLen = host_side.point.size();
      Attributes what = sample_template(false);
      what.number(CKA_VALUE_LEN, 32);
      const ScopedObject derived(session_, session_.derive({CKM_ECDH1_DERIVE, &parameters, sizeof parameters}, private_key, std::move(what)));
      const Bytes message = session_.random(32);
      right = hmac_tag(session_, derived.get(), message) == host::hmac_sha256(host::x963_kdf(hash, host_side.secret, 32), message);
    });
    return right;
  }

 private:
  const Session& session_;
  Profile& profile_;
};

}  // namespace

void probe_rsa_transport(const Session& session, Profile& profile, const KeyPair& pair, const crypto::PublicKey& key) {
  TransportProbe probe(session, profile);
  const std::size_t modulus = host::numbers_of(key).modulus.size();
  for (const Transport& transport : all_transports()) {
    if (transport.kind == Kind::rsa_oaep_kwp && profile.kwp_mechanism == 0) continue;
    if (transport.kind == Kind::ecdh_kwp || std::ranges::find(profile.oaep_hashes, transport.hash) == profile.oaep_hashes.end()) continue;
    probe.both_ways(transport, pair.private_half, transport.kind == Kind::rsa_oaep ? 0 : modulus, [&](CK_OBJECT_HANDLE sample) {
      return wrap_under_public(session, profile, pair.public_half, sample, transport);
    });
  }
}

void probe_agreement(const Session& session, Profile& profile) {
  TransportProbe probe(session, profile);
  attempt([&] {
    const ObjectSpec spec{Role::transport, KeyType::ec_p384, Part::private_half, "kmtool-probe", session.random(16), false};
    const auto made = generate_key(session, profile, spec, Lifetime::session);
    const ScopedObject private_half(session, made[0].handle.value), public_half(session, made[1].handle.value);
    const auto key = public_key_of(read_object(session, public_half.get(), ObjectClass::public_key));
    for (const Transport& transport : all_transports()) {
      if (transport.kind != Kind::ecdh_kwp || !probe.kdf_is_real(private_half.get(), key, std::string(transport.hash))) continue;
      probe.both_ways(transport, private_half.get(), transport_head(transport, KeyType::ec_p384),
                      [&](CK_OBJECT_HANDLE sample) { return wrap_by_agreement(session, profile, key, sample, transport); });
    }
  });
}

}  // namespace kmtool::pkcs11
