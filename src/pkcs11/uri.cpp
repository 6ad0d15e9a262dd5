#include "kmtool/pkcs11/uri.hpp"

#include <fmt/format.h>

#include <set>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::pkcs11 {
namespace {

constexpr std::string_view scheme = "pkcs11:";
constexpr std::string_view unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
/// RFC 7512, 2.3: what may stand unencoded in values, besides the unreserved (`/`, `?`, `|` in the query only).
constexpr std::string_view allowed_in_path = ":[]@!$'()*+,=&";
constexpr std::string_view allowed_in_query = ":[]@!$'()*+,=/?|";

Error bad(const std::string& what) {
  return Error::usage("not a pkcs11 URI: " + what,
                      "RFC 7512, for example pkcs11:token=backup;serial=0123?pin-source=file:/etc/kmtool/pin");
}

std::string decoded(std::string_view text, std::string_view allowed) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '%') {
      const auto octet = from_hex(text.substr(i + 1, 2));
      if (!octet || octet->size() != 1) throw bad("a broken % escape");
      out += static_cast<char>(octet->front());
      i += 2;
    } else if (unreserved.find(c) != std::string_view::npos || allowed.find(c) != std::string_view::npos) {
      out += c;
    } else {
      throw bad("the character " + printable(std::string(1, c)) + " must be written as a % escape");
    }
  }
  if (out.find('\0') != std::string::npos) throw bad("a NUL octet in a value");
  return out;
}

std::string encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (unreserved.find(c) != std::string_view::npos) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

/// `name=value` parts, each name once.
template <class Take>
void each_attribute(std::string_view text, char separator, std::string_view allowed, Take&& take) {
  if (text.empty()) return;
  std::set<std::string> seen;
  for (const std::string& part : split(text, separator)) {
    const std::size_t at = part.find('=');
    if (at == std::string::npos || at == 0) throw bad("an attribute without a name and a value");
    const std::string name = part.substr(0, at);
    if (!seen.insert(name).second) throw bad("the attribute " + printable(name) + " comes twice");
    take(name, std::string_view(part).substr(at + 1), allowed);
  }
}

void take_path(TokenUri& out, const std::string& name, std::string_view value, std::string_view allowed) {
  std::string text = decoded(value, allowed);
  if (name == "token") {
    out.token.label = std::move(text);
  } else if (name == "serial") {
    out.token.serial = std::move(text);
  } else if (name == "manufacturer") {
    out.token.manufacturer = std::move(text);
  } else if (name == "model") {
    out.token.model = std::move(text);
  } else {
    // What kmtool cannot hold a token to must not be dropped in silence: the URI would mean more than what is checked.
    throw bad("the attribute " + printable(name) + " does not name a token");
  }
}

void take_query(TokenUri& out, const std::string& name, std::string_view value, std::string_view allowed) {
  if (name == "pin-value") {
    throw Error::usage("a PIN must not be given on the command line", "use pin-source=file:PATH, --pin-source or KMTOOL_PIN_SOURCE");
  }
  std::string text = decoded(value, allowed);
  if (name == "module-path") {
    if (text.empty() || text.front() != '/') throw bad("module-path is not an absolute path");
    out.module_path = std::move(text);
  } else if (name == "pin-source") {
    if (text.starts_with("|")) throw bad("pin-source names a program; kmtool runs none");
    out.pin_source = std::move(text);
  } else {
    throw bad("the query attribute " + printable(name) + " means nothing to kmtool");
  }
}

const char* type_word(ObjectClass object_class) {
  switch (object_class) {
    case ObjectClass::secret_key:
      return "secret-key";
    case ObjectClass::private_key:
      return "private";
    case ObjectClass::public_key:
      return "public";
    case ObjectClass::certificate:
      return "cert";
    case ObjectClass::data:
      return "data";
    case ObjectClass::other:
      break;
  }
  return "";
}

}  // namespace

TokenUri parse_token_uri(const std::string& text) {
  if (!text.starts_with(scheme)) throw bad("it does not begin with pkcs11:");
  const std::string_view rest = std::string_view(text).substr(scheme.size());
  const std::size_t query = rest.find('?');
  TokenUri out;
  each_attribute(
      rest.substr(0, query), ';', allowed_in_path,
      [&](const std::string& name, std::string_view value, std::string_view allowed) { take_path(out, name, value, allowed); });
  if (query != std::string_view::npos) {
    each_attribute(rest.substr(query + 1), '&', allowed_in_query,
                   [&](const std::string& name, std::string_view value, std::string_view allowed) {
                     take_query(out, name, value, allowed);
                   });
  }
  return out;
}

std::string key_uri(const TokenInfo& token, const std::string& label, ByteView id, ObjectClass object_class) {
  std::string out = std::string(scheme) + "token=" + encoded(token.label);
  if (!token.serial.empty()) out += ";serial=" + encoded(token.serial);
  if (!label.empty()) out += ";object=" + encoded(label);
  if (!id.empty()) {
    out += ";id=";
    for (const std::uint8_t octet : id) out += fmt::format("%{:02X}", octet);
  }
  const std::string type = type_word(object_class);
  if (!type.empty()) out += ";type=" + type;
  return out;
}

}  // namespace kmtool::pkcs11
