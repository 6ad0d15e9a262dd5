#include <fmt/format.h>

#include "bundle/parse.hpp"
#include "kmtool/bundle/bundle.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/json.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"

namespace kmtool::bundle {
namespace {

/// What a token says of itself need not be text.
std::string text_of(const std::string& text) { return is_utf8(text) ? text : printable(text); }

Json json_of(const Recipient& recipient) {
  Json json;
  if (recipient.is_public()) {
    json["public_key"] = recipient.public_key;
  } else {
    json["kek"] = recipient.kek;
    json["id"] = hex(recipient.id);
  }
  json["type"] = to_text(recipient.type);
  json["strength"] = recipient.strength;
  json["algorithm"] = recipient.algorithm_text();
  json["mechanism"] = recipient.mechanism;
  return json;
}

std::string usage_list(const Usage& usage) {
  std::string list;
  const auto add = [&](bool set, const char* name) {
    if (!set) return;
    if (!list.empty()) list += ',';
    list += '"';
    list += name;
    list += '"';
  };
  add(usage.encrypt, "encrypt");
  add(usage.decrypt, "decrypt");
  add(usage.sign, "sign");
  add(usage.verify, "verify");
  add(usage.wrap, "wrap");
  add(usage.unwrap, "unwrap");
  add(usage.derive, "derive");
  return list;
}

std::string quoted(const std::string& plain) { return '"' + plain + '"'; }

}  // namespace

Json token_json(const TokenNote& token) {
  Json json;
  json["label"] = text_of(token.label);
  json["serial"] = text_of(token.serial);
  json["manufacturer"] = text_of(token.manufacturer);
  json["model"] = text_of(token.model);
  json["hardware"] = token.hardware;
  return json;
}

std::string dump(const Header& header) {
  Json json;
  json["kmbundle"] = 1;
  json["kind"] = header.kind;
  json["id"] = header.id;
  json["created"] = rfc3339(header.created);
  json["creator"] = header.creator;
  json["token"] = token_json(header.token);
  json["recipients"] = Json::array();
  for (const auto& recipient : header.recipients) json["recipients"].push_back(json_of(recipient));
  json["records"] = header.records;
  json["waivers"] = Json::array();
  for (const auto& waiver : header.waivers) {
    Json note;
    note["rule"] = waiver.rule;
    note["reason"] = waiver.reason;
    json["waivers"].push_back(note);
  }
  if (header.quorum) {
    Json quorum;
    quorum["needed"] = header.quorum->needed;
    quorum["shares"] = header.quorum->shares;
    quorum["algorithm"] = "HKDF-SHA256+AES-256-GCM";
    quorum["commitments"] = header.quorum->commitments;
    json["quorum"] = quorum;
  }
  return dump_json(json);
}

/// By hand, not through a tree: there may be millions of these, and no value in them needs escaping.
std::string dump(const Record& record) {
  if (!is_name(record.name)) throw Error::internal("a bundle record without a key name");
  std::string wrapped;
  for (const auto& value : record.wrapped) {
    if (!wrapped.empty()) wrapped += ',';
    wrapped += quoted(base64(value));
  }
  const bool pair = class_of(record.type) == KeyClass::pair;
  return fmt::format(
      R"({{"key":{{"name":"{}","version":{},"id":"{}","class":"{}","type":"{}","role":"{}","strength":{},"state":"{}",)"
      R"("created":"{}","expires":{},)"
      R"("attributes":{{"extractable":{},"local":{},"always_sensitive":{},"never_extractable":{},"usage":[{}]}},)"
      R"("public":{},"plaintext_length":{}}},"wrapped":[{}]}})",
      record.name, record.version, hex(record.id), pair ? "pair" : "secret", to_text(record.type), to_text(record.role),
      record.strength, to_text(record.state), rfc3339(record.created), record.expires ? quoted(rfc3339(*record.expires)) : "null",
      record.extractable, record.local, record.always_sensitive, record.never_extractable, usage_list(record.usage),
      record.public_spki ? quoted(base64(*record.public_spki)) : "null",
      record.plaintext_length ? std::to_string(*record.plaintext_length) : "null", wrapped);
}

std::string dump(const std::vector<Seal>& seals) {
  Json list = Json::array();
  for (const auto& seal : seals) {
    Json json;
    json["recipient"] = seal.recipient == Seal::own ? Json(nullptr) : Json(seal.recipient);
    json["algorithm"] = "HMAC-SHA-256";
    json["value"] = base64(seal.value);
    if (seal.recipient == Seal::own) json["pair"] = {{"algorithm", to_text(seal.pair_algorithm)}, {"value", base64(seal.pair)}};
    list.push_back(json);
  }
  Json line;
  line["seals"] = list;
  return dump_json(line);
}

std::string dump(const Signature& signature) {
  Json json;
  json["algorithm"] = "ecdsa-p256-sha256";
  json["key"] = signature.key;
  json["value"] = base64(signature.value);
  Json line;
  line["signature"] = json;
  return dump_json(line);
}

}  // namespace kmtool::bundle
