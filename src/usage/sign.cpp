#include "kmtool/usage/sign.hpp"

#include <functional>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"
#include "kmtool/op/turn.hpp"
#include "usage/admit.hpp"
#include "usage/signing.hpp"

namespace kmtool::usage {

namespace {

constexpr std::size_t step = std::size_t{64} << 10;

/// What is signed, and for the record always SHA-256 of the document.
struct Document {
  Bytes signed_over;
  std::string sha256;
};

Document read_document(InStream& in, crypto::Scheme scheme, const std::function<void(std::uint64_t)>& told) {
  const auto hash = crypto::hash_of(scheme);
  crypto::Digest digest(hash.value_or(crypto::Hash::sha256)), plain(crypto::Hash::sha256);
  Document document;
  std::uint64_t done = 0;
  for (ByteView part = in.take(step); !part.empty(); part = in.take(step)) {
    if (hash) {
      digest.update(part);
    } else {
      append(document.signed_over, part);
      if (document.signed_over.size() > longest_ed25519_document) {
        throw Error::usage(printable(in.name()) + " is longer than the 16 MiB that ed25519 signs: it takes the document whole",
                           "sign a digest of it (sha256sum), or use an ec-p256 key, which signs any size");
      }
    }
    if (hash != crypto::Hash::sha256) plain.update(part);
    told(done += part.size());
  }
  if (hash) document.signed_over = digest.value();
  document.sha256 = hex(hash == crypto::Hash::sha256 ? document.signed_over : plain.value());
  return document;
}

crypto::PublicKey public_key_of(const op::VersionRecord& version) {
  if (!version.public_spki) throw Error::tampered("the catalog has no public key of " + version.label(), "look at it with kmtool doctor");
  return crypto::PublicKey::from_spki(*version.public_spki);
}

}  // namespace

Bytes sign_with(op::Context& context, const op::VersionRecord& version, ByteView signed_over) {
  const auto key = public_key_of(version);
  const auto handle = object_for(context, version).handle;
  auto& token = context.token();
  Bytes signature;
  switch (crypto::scheme_of(key)) {
    case crypto::Scheme::ed25519:
      signature = token.sign_ed25519(handle, signed_over);
      break;
    case crypto::Scheme::rsa_pss_sha256:
      signature = token.sign_rsa_pss(handle, signed_over);
      break;
    default:
      signature = token.sign_ecdsa(handle, signed_over);
  }
  if (crypto::verify(key, signed_over, signature)) return signature;
  throw Error::tampered("what the token signed with " + version.label() + " does not verify under the public key in the catalog",
                        "the key on the token is another one, or the token is faulty; nothing was given out");
}

Signature sign(op::Context& context, const std::string& key, InStream& in) {
  Signature result;
  result.version = admit(context, key, policy::Use::sign, result.warnings);
  result.scheme = crypto::scheme_of(public_key_of(result.version));
  if (context.options.dry_run) return result;
  constexpr std::uint64_t moment = std::uint64_t{4} << 20;
  if (!in.size() || *in.size() > moment) op::give_turn(context);
  const auto document = read_document(in, result.scheme, [&](std::uint64_t done) {
    context.check_stop();
    if (in.size()) context.progress("reading (MiB)", done >> 20, *in.size() >> 20);
  });
  op::take_turn(context);
  result.version = admit(context, result.version.label(), policy::Use::sign, result.warnings);
  context.note("sign", result.version.label(), {{"algorithm", crypto::to_text(result.scheme)}, {"sha256", document.sha256}}, {});
  result.value = sign_with(context, result.version, document.signed_over);
  return result;
}

Verdict verify_signature(const crypto::PublicKey& key, ByteView signature, InStream& in) {
  Verdict verdict;
  verdict.scheme = crypto::scheme_of(key);
  verdict.by = key.fingerprint();
  const auto document = read_document(in, verdict.scheme, [](std::uint64_t) {});
  verdict.good = crypto::verify(key, document.signed_over, signature);
  return verdict;
}

Verdict verify_signature(op::Context& reader, const std::string& name, ByteView signature, InStream& in) {
  const auto ref = KeyRef::parse(name);
  const auto key = reader.find_key(ref.name);
  if (!key) (void)reader.resolve(name);
  if (key->role != Role::sign) {
    throw Error::refused("G-SEALED", ref.name + " has role " + std::string(to_text(key->role)) + ": only a sign key verifies signatures",
                         "one key, one use: kmtool list --role sign shows the others");
  }
  std::vector<op::VersionRecord> versions;
  for (int number = key->latest; number > 0; --number) {
    if (ref.version && *ref.version != number) continue;
    auto version = reader.find_version(ref.name, number);
    if (version && version->public_spki) versions.push_back(std::move(*version));
  }
  if (versions.empty()) versions.push_back(reader.resolve(name));
  Verdict verdict;
  std::optional<Document> document;
  for (const auto& version : versions) {
    const auto public_key = public_key_of(version);
    // One pass over the input: every version of a key has the same type.
    if (!document) {
      verdict.scheme = crypto::scheme_of(public_key);
      document = read_document(in, verdict.scheme, [](std::uint64_t) {});
    }
    verdict.by = version.label();
    if (crypto::scheme_of(public_key) != verdict.scheme || !crypto::verify(public_key, document->signed_over, signature)) continue;
    verdict.good = true;
    if (version.state == State::compromised || version.state == State::suspended) {
      verdict.warnings.push_back(version.label() + " is " + std::string(to_text(version.state)) + (version.state == State::compromised ? ": whoever has it could have signed this as well" : ""));
    }
    return verdict;
  }
  verdict.by = ref.version ? name : ref.name;
  return verdict;
}

namespace {

pkcs11::Feed feed_of(op::Context& context, InStream& in) {
  return [&context, &in, done = std::uint64_t{0}]() mutable {
    context.check_stop();
    const auto part = in.take(step);
    done += part.size();
    if (in.size()) context.progress("reading (MiB)", done >> 20, *in.size() >> 20);
    return part;
  };
}

Tag begin(op::Context& context, const std::string& key, policy::Use use, const InStream& in) {
  Tag result;
  result.version = admit(context, key, use, result.warnings);
  if (context.options.dry_run) return result;
  Json details = Json::object();
  if (in.size()) details["in"] = in.name();
  context.note(use == policy::Use::mac ? "mac" : "mac --verify", result.version.label(), std::move(details), {});
  return result;
}

}  // namespace

Tag mac(op::Context& context, const std::string& key, InStream& in) {
  Tag result = begin(context, key, policy::Use::mac, in);
  if (context.options.dry_run) return result;
  const auto handle = object_for(context, result.version).handle;
  op::give_turn(context);
  result.value = context.token().hmac(handle, result.version.type, feed_of(context, in));
  return result;
}

Tag verify_mac(op::Context& context, const std::string& key, ByteView tag, InStream& in) {
  Tag result = begin(context, key, policy::Use::verify_mac, in);
  if (context.options.dry_run) return result;
  const auto handle = object_for(context, result.version).handle;
  op::give_turn(context);
  result.good = context.token().hmac_verify(handle, result.version.type, feed_of(context, in), tag);
  return result;
}

}  // namespace kmtool::usage
