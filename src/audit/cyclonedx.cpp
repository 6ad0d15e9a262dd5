#include <algorithm>

#include "kmtool/audit/inventory.hpp"
#include "kmtool/core/encoding.hpp"

namespace kmtool::audit {

namespace {

/// Size of the key in bits as its type says: CycloneDX's `size`.
int bits_of(KeyType type) {
  switch (type) {
    case KeyType::aes128: return 128;
    case KeyType::aes192: return 192;
    case KeyType::aes256:
    case KeyType::hmac_sha256:
    case KeyType::ec_p256:
    case KeyType::ed25519: return 256;
    case KeyType::hmac_sha384:
    case KeyType::ec_p384: return 384;
    case KeyType::hmac_sha512: return 512;
    case KeyType::ec_p521: return 521;
    case KeyType::rsa3072: return 3072;
    case KeyType::rsa4096: return 4096;
  }
  return 0;
}

struct Algorithm {
  const char *name, *primitive, *oid;
};
Algorithm algorithm_of(KeyType type) {
  switch (type) {
    case KeyType::aes128: return {"AES-128", "block-cipher", "2.16.840.1.101.3.4.1"};
    case KeyType::aes192: return {"AES-192", "block-cipher", "2.16.840.1.101.3.4.1"};
    case KeyType::aes256: return {"AES-256", "block-cipher", "2.16.840.1.101.3.4.1"};
    case KeyType::hmac_sha256: return {"HMAC-SHA-256", "mac", "1.2.840.113549.2.9"};
    case KeyType::hmac_sha384: return {"HMAC-SHA-384", "mac", "1.2.840.113549.2.10"};
    case KeyType::hmac_sha512: return {"HMAC-SHA-512", "mac", "1.2.840.113549.2.11"};
    case KeyType::ec_p256: return {"EC P-256", "signature", "1.2.840.10045.3.1.7"};
    case KeyType::ec_p384: return {"EC P-384", "signature", "1.3.132.0.34"};
    case KeyType::ec_p521: return {"EC P-521", "signature", "1.3.132.0.35"};
    case KeyType::ed25519: return {"Ed25519", "signature", "1.3.101.112"};
    case KeyType::rsa3072: return {"RSA-3072", "pke", "1.2.840.113549.1.1.1"};
    case KeyType::rsa4096: return {"RSA-4096", "pke", "1.2.840.113549.1.1.1"};
  }
  return {"", "unknown", ""};
}

std::string algorithm_ref(KeyType type) { return "algorithm:" + std::string(to_text(type)); }

Json property(const std::string& name, const std::string& value) { return {{"name", "kmtool:" + name}, {"value", value}}; }

Json key_component(const Inventory& inventory, const Placed& placed) {
  const auto& version = placed.version;
  Json material;
  material["type"] = class_of(version.type) == KeyClass::secret ? "secret-key" : "private-key";
  material["id"] = hex(version.id);
  material["state"] = to_text(version.state);
  material["algorithmRef"] = algorithm_ref(version.type);
  material["creationDate"] = rfc3339(version.created);
  if (version.activated) material["activationDate"] = rfc3339(*version.activated);
  if (version.changed) material["updateDate"] = rfc3339(*version.changed);
  if (version.expires) material["expirationDate"] = rfc3339(*version.expires);
  material["size"] = bits_of(version.type);
  material["securedBy"] = {{"mechanism", inventory.hardware ? "HSM" : "Software"}};
  Json component;
  component["type"] = "cryptographic-asset";
  component["bom-ref"] = "key:" + version.label();
  component["name"] = version.label();
  component["cryptoProperties"] = {{"assetType", "related-crypto-material"}, {"relatedCryptoMaterialProperties", material}};
  auto& properties = component["properties"] = Json::array();
  properties.push_back(property("role", std::string(to_text(version.role))));
  properties.push_back(property("strength", std::to_string(strength_of(version.type))));
  properties.push_back(property("origin", version.origin));
  properties.push_back(property("token", version.token_serial + (placed.on_token ? "" : " (destroyed)")));
  if (!placed.owner.empty()) properties.push_back(property("owner", placed.owner));
  if (!placed.application.empty()) properties.push_back(property("application", placed.application));
  for (const auto& copy : placed.copies) {
    std::string recipients;
    for (const auto& kek : copy.recipients) recipients += (recipients.empty() ? "" : ", ") + kek;
    properties.push_back(property("bundle", copy.bundle + " for " + recipients + " at " + copy.host + ":" + copy.path));
  }
  return component;
}

Json algorithm_component(KeyType type) {
  const auto algorithm = algorithm_of(type);
  Json component;
  component["type"] = "cryptographic-asset";
  component["bom-ref"] = algorithm_ref(type);
  component["name"] = algorithm.name;
  component["cryptoProperties"] = {{"assetType", "algorithm"},
                                   {"algorithmProperties", {{"primitive", algorithm.primitive}, {"parameterSetIdentifier", std::to_string(bits_of(type))},
                                                            {"classicalSecurityLevel", strength_of(type)}}},
                                   {"oid", algorithm.oid}};
  return component;
}

}  // namespace

Json inventory_cyclonedx(const Inventory& inventory, UnixTime now, const std::string& serial_uuid) {
  Json json;
  json["$schema"] = "http://cyclonedx.org/schema/bom-1.6.schema.json";
  json["bomFormat"] = "CycloneDX";
  json["specVersion"] = "1.6";
  json["serialNumber"] = "urn:uuid:" + serial_uuid;
  json["version"] = 1;
  Json token{{"type", "device"}, {"bom-ref", "token:" + inventory.token_serial}, {"name", inventory.token_label.empty() ? "token" : inventory.token_label}};
  auto& about = token["properties"] = Json::array();
  about.push_back(property("serial", inventory.token_serial));
  about.push_back(property("model", inventory.token_model));
  about.push_back(property("hardware", inventory.hardware ? "true" : "false"));
  about.push_back(property("validation", inventory.validation.empty() ? "none recorded" : inventory.validation));
  about.push_back(property("home", inventory.home_id));
  json["metadata"] = {{"timestamp", rfc3339(now)},
                      {"tools", {{"components", Json::array({{{"type", "application"}, {"name", "kmtool"}, {"version", KMTOOL_VERSION}}})}}},
                      {"component", token}};
  auto& components = json["components"] = Json::array();
  std::vector<KeyType> types;
  for (const auto& placed : inventory.keys) {
    components.push_back(key_component(inventory, placed));
    if (std::find(types.begin(), types.end(), placed.version.type) == types.end()) types.push_back(placed.version.type);
  }
  for (const auto type : types) components.push_back(algorithm_component(type));
  auto& dependencies = json["dependencies"] = Json::array();
  for (const auto& placed : inventory.keys) {
    dependencies.push_back({{"ref", "key:" + placed.version.label()}, {"dependsOn", Json::array({algorithm_ref(placed.version.type)})}});
  }
  return json;
}

}  // namespace kmtool::audit
