#include "crypto/subject.hpp"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/objects.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <utility>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/error.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::crypto {
namespace {

/// What may stand before the equals sign (RFC 4514, 3, and what certificates carry besides).
const std::map<std::string, int>& attribute_types() {
  static const std::map<std::string, int> types{{"CN", NID_commonName},
                                                {"C", NID_countryName},
                                                {"O", NID_organizationName},
                                                {"OU", NID_organizationalUnitName},
                                                {"L", NID_localityName},
                                                {"ST", NID_stateOrProvinceName},
                                                {"STREET", NID_streetAddress},
                                                {"DC", NID_domainComponent},
                                                {"UID", NID_userId},
                                                {"SN", NID_surname},
                                                {"GN", NID_givenName},
                                                {"TITLE", NID_title},
                                                {"SERIALNUMBER", NID_serialNumber},
                                                {"EMAILADDRESS", NID_pkcs9_emailAddress}};
  return types;
}

Error malformed(const std::string& text, const std::string& what) {
  return Error::usage("--subject " + printable(text) + ": " + what,
                      "write CN=www.example.org,O=Example,C=DE (RFC 4514) or /C=DE/O=Example/CN=www.example.org");
}

using Parts = std::vector<std::pair<std::string, std::string>>;

bool is_special(char c) { return std::string_view(" \"#+,;<=>\\/").find(c) != std::string_view::npos; }

/// One value up to `end`, escapes undone: a backslash before a special character, or before two hexadecimal digits.
std::string take_value(const std::string& text, std::size_t& at, char end) {
  std::string value;
  std::size_t hard = 0;  // length of what must not be trimmed: an escaped space stays
  while (at < text.size() && text[at] != end) {
    const char c = text[at++];
    if (c == '\\') {
      const auto pair = at + 2 <= text.size() ? from_hex(text.substr(at, 2)) : std::nullopt;
      if (at < text.size() && is_special(text[at])) {
        value += text[at++];
      } else if (pair) {
        value += static_cast<char>(pair->front());
        at += 2;
      } else {
        throw malformed(text, "a backslash escapes a special character or stands before two hexadecimal digits");
      }
      hard = value.size();
      continue;
    }
    const bool unclear = end == ',' ? std::string_view("\"+;<>").find(c) != std::string_view::npos : c == '+';
    if (unclear) throw malformed(text, std::string("a ") + c + " in a value is written \\" + c + " (several attributes in one part are not supported)");
    value += c;
  }
  while (value.size() > hard && value.back() == ' ') value.pop_back();
  return value;
}

Parts split_name(const std::string& text) {
  const bool slashes = !text.empty() && text.front() == '/';
  const char separator = slashes ? '/' : ',';
  Parts parts;
  for (std::size_t at = slashes ? 1 : 0;;) {
    while (at < text.size() && text[at] == ' ') ++at;
    const auto equals = text.find('=', at);
    if (equals == std::string::npos) throw malformed(text, "a part without an equals sign");
    std::string type = text.substr(at, equals - at);
    while (!type.empty() && type.back() == ' ') type.pop_back();
    at = equals + 1;
    while (at < text.size() && text[at] == ' ') ++at;
    parts.emplace_back(type, take_value(text, at, separator));
    if (at >= text.size()) break;
    ++at;
  }
  if (!slashes) std::reverse(parts.begin(), parts.end());
  return parts;
}

void add_part(X509_NAME* name, const std::string& text, const std::string& type, const std::string& value) {
  std::string upper = type;
  std::ranges::transform(upper, upper.begin(), [](char c) { return static_cast<char>(std::toupper(static_cast<unsigned char>(c))); });
  const auto known = attribute_types().find(upper);
  if (known == attribute_types().end()) throw malformed(text, "unknown attribute " + type);
  if (value.empty()) throw malformed(text, type + " has no value");
  const bool controls = std::ranges::any_of(value, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  if (controls || !is_utf8(value)) throw malformed(text, "the value of " + type + " is not text");
  const auto* data = reinterpret_cast<const unsigned char*>(value.data());
  const bool added = X509_NAME_add_entry_by_NID(name, known->second, MBSTRING_UTF8, data, static_cast<int>(value.size()), -1, 0) == 1;
  ERR_clear_error();
  if (!added) throw malformed(text, "the value of " + type + " is too long, too short or has characters that it may not have");
}

// -- alternative names ----------------------------------------------------------------------------------------------------

Error not_a_san(const std::string& text, const std::string& what) {
  return Error::usage("--san " + printable(text) + ": " + what, "write DNS:www.example.org, IP:192.0.2.7, email:a@example.org or URI:https://example.org/");
}

bool is_label(std::string_view label) {
  if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') return false;
  return std::ranges::all_of(label, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_'; });
}

/// RFC 5280, 4.2.1.6 and RFC 6125: a host name, whose first label may be a star.
bool is_host(const std::string& text) {
  if (text.size() > 253) return false;
  const auto labels = split(text, '.');
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (!is_label(labels[i]) && !(i == 0 && labels[i] == "*" && labels.size() > 2)) return false;
  }
  return !labels.empty();
}

bool is_printable_ascii(const std::string& text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

bool is_address(const std::string& text) {
  const auto at = text.find('@');
  return at != std::string::npos && at > 0 && at == text.rfind('@') && is_printable_ascii(text) && is_host(text.substr(at + 1)) && text[at + 1] != '*';
}

/// With a scheme and something behind it (RFC 5280: not relative).
bool is_uri(const std::string& text) {
  const auto colon = text.find(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == text.size() || !is_printable_ascii(text)) return false;
  return std::isalpha(static_cast<unsigned char>(text[0])) != 0 && std::ranges::all_of(text.substr(0, colon), [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '+' || c == '-' || c == '.';
         });
}

Bytes ip_octets(const std::string& whole, const std::string& text) {
  Bytes octets(16);
  if (inet_pton(AF_INET6, text.c_str(), octets.data()) == 1) return octets;
  octets.resize(4);
  if (inet_pton(AF_INET, text.c_str(), octets.data()) == 1) return octets;
  throw not_a_san(whole, "not an IP address");
}

void push(GENERAL_NAMES* list, int type, ASN1_STRING* string) {
  GENERAL_NAME* name = GENERAL_NAME_new();
  if (name == nullptr || string == nullptr) throw Error::internal("OpenSSL has no memory");
  GENERAL_NAME_set0_value(name, type, string);
  if (sk_GENERAL_NAME_push(list, name) == 0) throw Error::internal("OpenSSL has no memory");
}

ASN1_STRING* string_of(int type, ByteView octets) {
  ASN1_STRING* string = ASN1_STRING_type_new(type);
  if (string == nullptr || ASN1_STRING_set(string, octets.data(), static_cast<int>(octets.size())) != 1) throw Error::internal("OpenSSL has no memory");
  return string;
}

void add_alternative(GENERAL_NAMES* list, const std::string& text) {
  const auto colon = text.find(':');
  const std::string kind = text.substr(0, colon);
  const std::string value = colon == std::string::npos ? "" : text.substr(colon + 1);
  if (kind == "DNS") {
    if (!is_host(value)) throw not_a_san(text, "not a host name");
    push(list, GEN_DNS, string_of(V_ASN1_IA5STRING, view(value)));
  } else if (kind == "IP") {
    push(list, GEN_IPADD, string_of(V_ASN1_OCTET_STRING, ip_octets(text, value)));
  } else if (kind == "email") {
    if (!is_address(value)) throw not_a_san(text, "not a mail address");
    push(list, GEN_EMAIL, string_of(V_ASN1_IA5STRING, view(value)));
  } else if (kind == "URI") {
    if (!is_uri(value)) throw not_a_san(text, "not a URI with a scheme");
    push(list, GEN_URI, string_of(V_ASN1_IA5STRING, view(value)));
  } else {
    throw not_a_san(text, "unknown kind of name");
  }
}

}  // namespace

NamePtr parse_name(const std::string& text) {
  NamePtr name(X509_NAME_new());
  if (!name) throw Error::internal("OpenSSL has no memory");
  for (const auto& [type, value] : split_name(text)) add_part(name.get(), text, type, value);
  return name;
}

AlternativesPtr parse_alternatives(const std::vector<std::string>& texts) {
  AlternativesPtr list(GENERAL_NAMES_new());
  if (!list) throw Error::internal("OpenSSL has no memory");
  for (const auto& text : texts) add_alternative(list.get(), text);
  return list;
}

}  // namespace kmtool::crypto
