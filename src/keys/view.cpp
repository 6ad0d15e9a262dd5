#include "kmtool/core/encoding.hpp"
#include "kmtool/keys/gen.hpp"
#include "kmtool/pkcs11/uri.hpp"

namespace kmtool::keys {

std::string uri_of(const op::Context& context, const op::VersionRecord& version) {
  pkcs11::TokenInfo token;
  token.label = context.home.config.token.label;
  token.serial = version.token_serial;
  const auto object_class =
      class_of(version.type) == KeyClass::pair ? pkcs11::ObjectClass::private_key : pkcs11::ObjectClass::secret_key;
  return pkcs11::key_uri(token, version.object_label(), version.id, object_class);
}

Json to_json(const op::Context& context, const op::VersionRecord& version) {
  Json json;
  json["name"] = version.name;
  json["version"] = version.version;
  json["id"] = hex(version.id);
  json["label"] = version.label();
  json["role"] = to_text(version.role);
  json["type"] = to_text(version.type);
  json["state"] = to_text(version.state);
  json["created"] = rfc3339(version.created);
  json["expires"] = version.expires ? Json(rfc3339(*version.expires)) : Json(nullptr);
  json["uri"] = uri_of(context, version);
  json["extractable"] = version.extractable;
  json["token_serial"] = version.token_serial;
  json["origin"] = version.origin;
  json["backed_up"] = version.backed_up;
  if (version.activate_at) json["activate_at"] = rfc3339(*version.activate_at);
  return json;
}

}  // namespace kmtool::keys
