#include "bundle/check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/crypto/gate.hpp"
#include "kmtool/domain/name.hpp"

namespace kmtool::bundle {
namespace {

constexpr std::size_t id_size = 16, longest_id = 64;
constexpr int last_version = 999999;
constexpr std::size_t max_recipients = 16;
constexpr std::uint64_t max_records = 10'000'000;
constexpr std::size_t max_text = 500;
constexpr UnixTime first_time = 0, last_time = 253402300799;  // 1970 … 9999-12-31T23:59:59Z

bool is_time(UnixTime time) { return time >= first_time && time <= last_time; }

bool is_mechanism(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

/// `G-KEK`: the rulebook is another room's, and a newer one may know more rules.
bool is_rule_id(std::string_view text) {
  return text.size() >= 3 && text.size() <= 32 && text[1] == '-' &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= 'A' && c <= 'Z') || c == '-'; });
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return (c >= 0 && c < 0x20) || c == 0x7f; });
}

bool role_has(Role role, KeyType type) {
  const auto& types = types_of(role);
  return std::find(types.begin(), types.end(), type) != types.end();
}

bool is_sha256_hex(const std::string& text) {
  const auto digest = from_hex(text);
  return digest && digest->size() == 32 && hex(*digest) == text;
}

void check_public_recipient(const Recipient& recipient, const JsonFail& fail) {
  if (!is_sha256_hex(recipient.public_key)) fail("field \"public_key\": expected a sha-256 in hexadecimal");
  if (!role_has(Role::transport, recipient.type)) fail(fmt::format("type {} is not one of a transport key", to_text(recipient.type)));
  if (!fits(recipient.transport, recipient.type)) {
    fail(fmt::format("algorithm {} does not go with type {}", to_text(recipient.transport), to_text(recipient.type)));
  }
}

void check_recipient(const Recipient& recipient, const JsonFail& fail) {
  if (!is_mechanism(recipient.mechanism)) fail("field \"mechanism\": expected a mechanism name");
  if (recipient.strength != strength_of(recipient.type)) {
    fail(fmt::format("strength {} contradicts type {}, which has {} bits", recipient.strength, to_text(recipient.type),
                     strength_of(recipient.type)));
  }
  if (recipient.is_public()) return check_public_recipient(recipient, fail);
  if (!is_version_label(recipient.kek)) fail("field \"kek\": expected a name and a version such as root@1");
  if (recipient.id.size() != id_size) fail("field \"id\": expected 16 bytes");
  if (!role_has(Role::kek, recipient.type)) fail(fmt::format("type {} is not one of a kek", to_text(recipient.type)));
}

bool same_recipient(const Recipient& a, const Recipient& b) {
  if (a.is_public() || b.is_public()) return a.public_key == b.public_key;
  return a.kek == b.kek || a.id == b.id;
}

void check_recipients(const Header& header, const JsonFail& fail) {
  const auto& recipients = header.recipients;
  if (recipients.empty() || recipients.size() > max_recipients) fail("field \"recipients\": expected 1 to 16 entries");
  for (std::size_t i = 0; i < recipients.size(); ++i) {
    check_recipient(recipients[i], [&](const std::string& what) { fail(fmt::format("recipient {}: {}", i, what)); });
    if (recipients[i].is_public() && !header.of_kek()) fail(fmt::format("recipient {}: only a bundle of kind \"kek\" goes to a public key", i));
    for (std::size_t j = 0; j < i; ++j) {
      if (!same_recipient(recipients[i], recipients[j])) continue;
      fail(fmt::format("recipient {}: the same {} as recipient {}", i, recipients[i].is_public() ? "public key" : "kek", j));
    }
  }
}

/// RFC 3394 adds one block; RFC 5649 pads to blocks first. What a pair's encoding measures is known after unwrapping only.
/// `layer`: what a quorum's encryption adds.
void check_wrapped(const Record& record, std::size_t number, const Recipient& recipient, std::size_t layer, const JsonFail& fail) {
  if (record.wrapped[number].size() < layer) fail(fmt::format("wrapped value {}: too short for the quorum's layer", number));
  const std::size_t size = record.wrapped[number].size() - layer;
  if (recipient.is_public()) {
    const auto expected = transported_length(recipient.transport, recipient.type, record.plaintext_length.value_or(0));
    if (size == expected) return;
    fail(fmt::format("wrapped value {}: {} bytes, where {} for a key of type {} makes {}", number, size, to_text(recipient.transport),
                     to_text(recipient.type), expected));
  }
  const WrapAlgorithm algorithm = recipient.algorithm;
  if (!record.plaintext_length) {
    if (size < 24 || size % 8 != 0)
      fail(fmt::format("wrapped value {}: {} bytes cannot be {}", number, size, to_text(algorithm)));
    return;
  }
  const std::size_t plain = *record.plaintext_length;
  const std::size_t expected = algorithm == WrapAlgorithm::aes_kw ? plain + 8 : (plain + 7) / 8 * 8 + 8;
  if (size != expected) {
    fail(fmt::format("wrapped value {}: {} bytes contradict plaintext_length {}, which {} makes {}", number, size, plain,
                     to_text(algorithm), expected));
  }
}

/// A KEK's AES key wraps, its HMAC key seals; every other role has one wrapped part.
Part part_of(const Record& record) {
  if (record.role == Role::kek) return record.type == KeyType::hmac_sha256 ? Part::kek_seal : Part::kek_wrap;
  return class_of(record.type) == KeyClass::pair ? Part::private_half : Part::value;
}

void check_role(const Record& record, const Header& header, const JsonFail& fail) {
  const auto type = to_text(record.type);
  if (header.of_kek() && record.role != Role::kek) fail(fmt::format("role {}: a bundle of kind \"kek\" holds a kek alone", to_text(record.role)));
  if (!header.of_kek() && record.role == Role::kek) fail("role kek: a bundle of kind \"keys\" holds no keks");
  if (header.of_kek() && record.id.size() != id_size) fail("field \"id\": expected 16 bytes");
  if (header.of_kek() && record.type == KeyType::hmac_sha256) return;
  if (!role_has(record.role, record.type)) fail(fmt::format("type {} is not one of role {}", type, to_text(record.role)));
}

void check_kind(const Record& record, const Header& header, const JsonFail& fail) {
  check_role(record, header, fail);
  const auto type = to_text(record.type);
  if (record.strength != strength_of(record.type)) {
    fail(fmt::format("strength {} contradicts type {}, which has {} bits", record.strength, type, strength_of(record.type)));
  }
  const bool pair = class_of(record.type) == KeyClass::pair;
  if (pair && !record.public_spki) fail("field \"public\": missing for a pair");
  if (!pair && record.public_spki) fail("field \"public\": a secret key has none");
  if (pair && record.plaintext_length) fail("field \"plaintext_length\": a pair has none");
  if (!pair && record.plaintext_length != value_length(record.type)) {
    fail(fmt::format("field \"plaintext_length\": {} is {} bytes long", type, value_length(record.type)));
  }
  const Usage expected = usage_of(record.role, record.type, part_of(record));
  if (record.usage != expected) {
    fail(fmt::format("usage {} is not that of role {}: {}", to_text(record.usage), to_text(record.role), to_text(expected)));
  }
}

std::uint64_t hash_of(std::string_view text) { return std::hash<std::string_view>{}(text); }

}  // namespace

namespace {

void check_quorum(const Header& header, const JsonFail& fail) {
  const auto& quorum = *header.quorum;
  if (!header.of_kek()) fail("field \"quorum\": only a bundle of kind \"kek\" has one");
  if (quorum.needed < 2 || quorum.needed > quorum.shares || quorum.shares > 255) fail("quorum: expected 2 ≤ needed ≤ shares ≤ 255");
  if (quorum.commitments.size() != quorum.shares) fail("quorum: expected one commitment a share");
  for (std::size_t i = 0; i < quorum.commitments.size(); ++i) {
    if (!is_sha256_hex(quorum.commitments[i])) fail(fmt::format("quorum: commitment {} is not a sha-256 in hexadecimal", i + 1));
    for (std::size_t j = 0; j < i; ++j) {
      if (quorum.commitments[i] == quorum.commitments[j]) fail(fmt::format("quorum: commitments {} and {} are the same", j + 1, i + 1));
    }
  }
}

}  // namespace

void check_header(const Header& header, const JsonFail& fail) {
  if (header.kind != "keys" && header.kind != "kek") fail(fmt::format("unknown kind \"{}\"", printable(header.kind.substr(0, 64))));
  if (header.of_kek() && header.records != 2) fail("field \"records\": a kek is 2 records");
  if (!is_uuid(header.id)) fail("field \"id\": expected a uuid");
  if (!is_time(header.created)) fail("field \"created\": out of range");
  if (header.creator.empty() || header.creator.size() > max_text) fail("field \"creator\": expected 1 to 500 bytes");
  check_recipients(header, fail);
  if (header.quorum) check_quorum(header, fail);
  if (header.records < 1 || header.records > max_records) fail("field \"records\": expected 1 to 10000000");
  for (const auto& waiver : header.waivers) {
    if (!is_rule_id(waiver.rule)) fail("waivers: expected the id of a rule such as G-KEK");
    if (waiver.reason.empty() || waiver.reason.size() > max_text || has_control(waiver.reason)) {
      fail("waivers: expected a reason of 1 to 500 bytes without control characters");
    }
  }
}

void check_record(const Record& record, const Header& header, const JsonFail& fail) {
  if (!is_name(record.name)) fail("field \"name\": not a key name");
  if (record.version < 1 || record.version > last_version) fail("field \"version\": expected 1 to 999999");
  // Keys that kmtool made have 16 octets; adopted ones what their maker gave them.
  if (record.id.empty() || record.id.size() > longest_id) fail("field \"id\": expected 1 to 64 bytes");
  check_kind(record, header, fail);
  if (!is_time(record.created)) fail("field \"created\": out of range");
  if (record.expires && !is_time(*record.expires)) fail("field \"expires\": out of range");
  const auto& recipients = header.recipients;
  if (record.wrapped.size() != recipients.size()) {
    fail(fmt::format("field \"wrapped\": {} values for {} recipients", record.wrapped.size(), recipients.size()));
  }
  for (std::size_t i = 0; i < recipients.size(); ++i) check_wrapped(record, i, recipients[i], header.quorum ? crypto::gate_overhead : 0, fail);
}

void check_second(const Record& first, const Record& second, const JsonFail& fail) {
  if (part_of(first) != Part::kek_wrap || part_of(second) != Part::kek_seal) fail("a kek is an aes key and, after it, an hmac-sha256 key");
  if (first.name != second.name || first.version != second.version || first.id != second.id) {
    fail("the two keys of a kek carry one name, version and id");
  }
  if (first.state != second.state || first.created != second.created || first.expires != second.expires) {
    fail("the two keys of a kek have one state, creation and expiry");
  }
}

void check_public(const Record& record, const JsonFail& fail) {
  if (!record.public_spki) return;
  std::string problem;
  try {
    const auto key = crypto::PublicKey::from_spki(*record.public_spki);
    if (key.type() != record.type) problem = fmt::format("{}, but the type is {}", key.description(), to_text(record.type));
    if (key.spki() != *record.public_spki) problem = "not in its one encoding";
  } catch (const Error& error) {
    problem = error.message();
  }
  if (!problem.empty()) fail("field \"public\": " + problem);
}

std::vector<std::size_t> sealers_of(const Header& header) {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < header.recipients.size(); ++i) {
    if (!header.recipients[i].is_public()) out.push_back(i);
  }
  if (header.of_kek()) out.push_back(Seal::own);
  return out;
}

void check_seals(const std::vector<Seal>& seals, const Header& header, const JsonFail& fail) {
  const auto sealers = sealers_of(header);
  if (seals.size() != sealers.size()) {
    fail(fmt::format("{} seals for {} {}", seals.size(), sealers.size(), header.of_kek() ? "keks: the parents and the one in the bundle" : "recipients"));
  }
  for (std::size_t i = 0; i < seals.size(); ++i) {
    if (seals[i].recipient != sealers[i]) {
      fail(fmt::format("seal {}: expected that of {}", i, sealers[i] == Seal::own ? "the kek itself" : fmt::format("recipient {}", sealers[i])));
    }
    if (seals[i].value.size() != 32) fail(fmt::format("seal {}: expected 32 bytes", i));
    // RFC 3394 and RFC 5649 both make 40 octets of the HMAC key's 32.
    if (seals[i].pair.size() != (seals[i].recipient == Seal::own ? 40 : 0)) fail(fmt::format("seal {}: field \"pair\": expected 40 bytes", i));
  }
}

void check_signature(const Signature& signature, const JsonFail& fail) {
  if (!is_sha256_hex(signature.key)) fail("field \"key\": expected a sha-256 in hexadecimal");
  if (!crypto::ecdsa_der_to_raw(signature.value, 32)) fail("field \"value\": not an ecdsa signature of p-256 in der");
}

void remember(Seen& seen, const Record& record, std::size_t line) {
  const auto number = static_cast<std::uint32_t>(line);
  seen.emplace_back(hash_of(label_of(record.name, record.version)), number);
  seen.emplace_back(hash_of(to_text(ByteView(record.id))), number);
}

std::pair<std::size_t, std::size_t> repeated(Seen& seen) {
  std::sort(seen.begin(), seen.end());
  const auto twice =
      std::adjacent_find(seen.begin(), seen.end(), [](const auto& a, const auto& b) { return a.first == b.first; });
  if (twice == seen.end()) return {0, 0};
  return {std::next(twice)->second, twice->second};
}

}  // namespace kmtool::bundle
