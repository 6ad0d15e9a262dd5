#include "kmtool/domain/transport.hpp"

#include <array>
#include <utility>

#include "kmtool/core/error.hpp"

namespace kmtool {
namespace {

using Kind = Transport::Kind;

constexpr std::array<std::pair<Transport, std::string_view>, 11> names{{
    {{Kind::rsa_oaep, "SHA-256"}, "RSA-OAEP-SHA256"},
    {{Kind::rsa_oaep, "SHA-384"}, "RSA-OAEP-SHA384"},
    {{Kind::rsa_oaep, "SHA-512"}, "RSA-OAEP-SHA512"},
    {{Kind::rsa_oaep_kwp, "SHA-256"}, "RSA-OAEP-SHA256+AES-KWP"},
    {{Kind::rsa_oaep_kwp, "SHA-384"}, "RSA-OAEP-SHA384+AES-KWP"},
    {{Kind::rsa_oaep_kwp, "SHA-512"}, "RSA-OAEP-SHA512+AES-KWP"},
    {{Kind::rsa_oaep, "SHA-1"}, "RSA-OAEP-SHA1"},
    {{Kind::rsa_oaep_kwp, "SHA-1"}, "RSA-OAEP-SHA1+AES-KWP"},
    {{Kind::ecdh_kwp, "SHA-256"}, "ECDH-X963-SHA256+AES-KWP"},
    {{Kind::ecdh_kwp, "SHA-384"}, "ECDH-X963-SHA384+AES-KWP"},
    {{Kind::ecdh_kwp, "SHA-512"}, "ECDH-X963-SHA512+AES-KWP"},
}};

unsigned long point_length(KeyType curve) {
  switch (curve) {
    case KeyType::ec_p256:
      return 65;
    case KeyType::ec_p384:
      return 97;
    case KeyType::ec_p521:
      return 133;
    default:
      throw Error::internal("a point of a key that is on no NIST curve");
  }
}

}  // namespace

std::string_view to_text(const Transport& transport) {
  for (const auto& [value, name] : names) {
    if (value == transport) return name;
  }
  throw Error::internal("no such transport algorithm");
}

std::optional<Transport> transport_from(std::string_view text) {
  for (const auto& [value, name] : names) {
    if (name == text) return value;
  }
  return std::nullopt;
}

const std::vector<Transport>& all_transports() {
  static const std::vector<Transport> all = [] {
    std::vector<Transport> out;
    out.reserve(names.size());
    for (const auto& entry : names) out.push_back(entry.first);
    return out;
  }();
  return all;
}

bool fits(const Transport& transport, KeyType recipient) {
  return transport.kind == Kind::ecdh_kwp ? is_ec(recipient) : is_rsa(recipient);
}

unsigned long transport_head(const Transport& transport, KeyType recipient) {
  switch (transport.kind) {
    case Kind::rsa_oaep:
      return 0;
    case Kind::rsa_oaep_kwp:
      return modulus_bits(recipient) / 8;
    case Kind::ecdh_kwp:
      return point_length(recipient);
  }
  throw Error::internal("no such transport algorithm");
}

unsigned long transported_length(const Transport& transport, KeyType recipient, unsigned long plain) {
  if (transport.kind == Kind::rsa_oaep) return modulus_bits(recipient) / 8;
  return transport_head(transport, recipient) + (plain + 7) / 8 * 8 + 8;
}

}  // namespace kmtool
