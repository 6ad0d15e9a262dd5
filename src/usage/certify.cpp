#include "kmtool/usage/certify.hpp"

#include "kmtool/core/encoding.hpp"
#include "usage/admit.hpp"
#include "usage/signing.hpp"

namespace kmtool::usage {

namespace {

constexpr UnixTime day = 24 * 60 * 60;
constexpr std::size_t serial_length = 16;  // RFC 5280, 4.1.2.2: at most 20 octets; CA/Browser Forum: at least 64 random bits

struct Prepared {
  Certified result;
  crypto::PublicKey key;
};

Prepared prepare(op::Context& context, const std::string& name) {
  Certified result;
  result.version = admit(context, name, policy::Use::sign, result.warnings);
  if (!result.version.public_spki) throw Error::tampered("the catalog has no public key of " + result.version.label(), "look at it with kmtool doctor");
  auto key = crypto::PublicKey::from_spki(*result.version.public_spki);
  result.scheme = crypto::scheme_of(key);
  return {std::move(result), std::move(key)};
}

void sign_document(op::Context& context, const std::string& command, crypto::Unsigned& document, const crypto::PublicKey& key, Json details,
                   Certified& result) {
  if (context.options.dry_run) return;
  const Bytes text = document.to_be_signed();
  const auto hash = crypto::hash_of(result.scheme);
  Bytes signed_over = text;
  if (hash) {
    crypto::Digest digest(*hash);
    digest.update(text);
    signed_over = digest.value();
  }
  details["algorithm"] = crypto::to_text(crypto::scheme_of(key));
  details["sha256"] = hex(crypto::sha256(text));
  context.note(command, result.version.label(), std::move(details), {});
  result.pem = document.attach(sign_with(context, result.version, signed_over));
}

}  // namespace

Certified request_certificate(op::Context& context, const std::string& key, const crypto::Subject& subject) {
  auto [result, public_key] = prepare(context, key);
  auto request = crypto::Unsigned::request(public_key, subject);
  sign_document(context, "csr", request, public_key, {{"subject", subject.name}}, result);
  return std::move(result);
}

Certified self_sign(op::Context& context, const std::string& key, const crypto::Subject& subject, int days) {
  auto [result, public_key] = prepare(context, key);
  const UnixTime now = context.now();
  result.until = now + days * day;
  if (result.version.expires && result.until > *result.version.expires) {
    result.warnings.push_back("the certificate outlives the originator period of " + result.version.label() + ", which ends on " + rfc3339(*result.version.expires));
  }
  Bytes serial = context.token().random(serial_length);
  serial[0] = static_cast<std::uint8_t>((serial[0] & 0x7fU) | 0x40U);  // positive, and of one length
  result.serial = hex(serial);
  auto certificate = crypto::Unsigned::certificate(public_key, subject, now, result.until, serial);
  sign_document(context, "cert", certificate, public_key, {{"subject", subject.name}, {"serial", result.serial}, {"until", rfc3339(result.until)}}, result);
  return std::move(result);
}

}  // namespace kmtool::usage
