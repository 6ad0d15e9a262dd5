#include "kmtool/apikey/restrictions.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/error.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::apikey {

namespace {

constexpr std::size_t most_entries = 100;

bool is_alnum(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_letter(char c) { return is_alnum(c) && !(c >= '0' && c <= '9'); }

/// Segments between dots, at least two, each of which `segment` likes.
template <class F>
bool dotted(std::string_view text, F&& segment) {
  if (text.empty() || text.size() > 255) return false;
  const auto parts = split(text, '.');
  return parts.size() >= 2 && std::all_of(parts.begin(), parts.end(), segment);
}

std::optional<Bytes> certificate_bytes(std::string_view text) {
  std::string plain(text);
  if (text.size() == 95) {  // AA:BB:…
    plain.clear();
    for (std::size_t i = 0; i < text.size(); ++i) {
      const bool colon = i % 3 == 2;
      if (colon != (text[i] == ':')) return std::nullopt;
      if (!colon) plain += text[i];
    }
  }
  if (plain.size() == 64) return from_hex(plain);
  if (plain.size() == 43) plain += '=';
  const bool url = plain.find_first_of("-_") != std::string::npos, standard = plain.find_first_of("+/") != std::string::npos;
  if (plain.size() != 44 || (url && standard)) return std::nullopt;
  std::replace(plain.begin(), plain.end(), '-', '+');
  std::replace(plain.begin(), plain.end(), '_', '/');
  return from_base64(plain);
}

template <class T>
void require_few_and_different(const std::vector<T>& entries, const char* option) {
  if (entries.size() > most_entries) throw Error::usage(fmt::format("more than {} of {}", most_entries, option), "make a second key, or name a network that covers them");
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (std::find(entries.begin(), entries.begin() + static_cast<std::ptrdiff_t>(i), entries[i]) != entries.begin() + static_cast<std::ptrdiff_t>(i)) {
      throw Error::usage(fmt::format("{} says the same twice", option), "leave one out");
    }
  }
}

std::string text_of(const std::string& text) { return text; }
std::string text_of(const AndroidApp& app) { return app.package + "=" + app.certificate; }
template <class T>
std::string text_of(const T& value) {
  return value.text();
}

template <class T>
void put(Json& json, const char* name, const std::vector<T>& entries) {
  if (entries.empty()) return;
  auto& list = json[name] = Json::array();
  for (const auto& entry : entries) list.push_back(text_of(entry));
}

/// Every entry must be written as kmtool itself writes it.
template <class T, class F>
void get(JsonReader& reader, const char* name, std::vector<T>& to, F&& parse) {
  if (!reader.has(name)) return;
  for (const auto& text : reader.texts(name)) {
    try {
      to.push_back(parse(text));
    } catch (const Error& error) {
      reader.fail(error.message());
    }
    if (text_of(to.back()) != text) reader.fail(fmt::format("\"{}\": {} is not in its one spelling", name, printable(text)));
  }
  if (to.empty()) reader.fail(fmt::format("\"{}\" is empty", name));
}

std::string checked(const std::string& text, bool fits) {
  if (!fits) throw Error::usage(printable(text) + " is not well-formed");
  return text;
}

}  // namespace

bool is_android_package(std::string_view text) {
  return dotted(text, [](const std::string& part) {
    return !part.empty() && is_letter(part[0]) && std::all_of(part.begin(), part.end(), [](char c) { return is_alnum(c) || c == '_'; });
  });
}

bool is_ios_bundle(std::string_view text) {
  return dotted(text, [](const std::string& part) {
    return !part.empty() && std::all_of(part.begin(), part.end(), [](char c) { return is_alnum(c) || c == '-'; });
  });
}

bool is_scope(std::string_view text) {
  if (text.empty() || text.size() > 64 || !is_alnum(text[0])) return false;
  return std::all_of(text.begin(), text.end(), [](char c) { return is_alnum(c) || std::string_view("._:/-").find(c) != std::string_view::npos; });
}

std::optional<std::string> canonical_certificate(std::string_view text) {
  const auto bytes = certificate_bytes(text);
  if (!bytes || bytes->size() != 32) return std::nullopt;
  return hex(*bytes);
}

AndroidApp AndroidApp::parse(std::string_view text) {
  const auto equals = text.find('=');
  const auto package = text.substr(0, equals);
  constexpr auto hint = "write com.example.app=SHA256, the digest of the signing certificate (keytool -list -v, or apksigner verify --print-certs)";
  if (equals == std::string_view::npos) throw Error::usage("android app " + printable(text) + " has no certificate", hint);
  if (!is_android_package(package)) throw Error::usage("android app " + printable(text) + ": not a package name such as com.example.app", hint);
  const auto digest = text.substr(equals + 1);
  const auto certificate = canonical_certificate(digest);
  if (!certificate) {
    const auto colons = static_cast<std::size_t>(std::count(digest.begin(), digest.end(), ':'));
    const bool sha1 = digest.size() - colons == 40;
    throw Error::usage("android app " + printable(package) + (sha1 ? ": that is a SHA-1 digest, and SHA-256 is wanted" : ": the certificate is not a SHA-256 digest in hexadecimal (colons or none) or base64"), hint);
  }
  return {std::string(package), *certificate};
}

Json Restrictions::to_json() const {
  Json json = Json::object();
  put(json, "ip", ip);
  put(json, "referrer", referrer);
  put(json, "android", android);
  put(json, "ios", ios);
  put(json, "scopes", scopes);
  put(json, "windows", windows);
  if (rate) json["rate"] = rate->text();
  if (unrestricted) json["unrestricted"] = true;
  return json;
}

Restrictions Restrictions::from_json(const Json& json, const JsonFail& fail) {
  JsonReader reader(json, fail, "restrictions");
  Restrictions r;
  get(reader, "ip", r.ip, [](const std::string& text) { return Network::parse(text); });
  get(reader, "referrer", r.referrer, [](const std::string& text) { return ReferrerPattern::parse(text); });
  get(reader, "android", r.android, [](const std::string& text) { return AndroidApp::parse(text); });
  get(reader, "ios", r.ios, [](const std::string& text) { return checked(text, is_ios_bundle(text)); });
  get(reader, "scopes", r.scopes, [](const std::string& text) { return checked(text, is_scope(text)); });
  get(reader, "windows", r.windows, [](const std::string& text) { return TimeWindow::parse(text); });
  if (const auto rate = reader.optional_text("rate")) {
    try {
      r.rate = Rate::parse(*rate);
    } catch (const Error& error) {
      reader.fail(error.message());
    }
    if (r.rate->text() != *rate) reader.fail("\"rate\" is not in its one spelling");
  }
  r.unrestricted = reader.optional_boolean("unrestricted").value_or(false);
  reader.finish();
  return r;
}

void Restrictions::require_sensible() const {
  if (!android.empty() && !ios.empty()) {
    throw Error::usage("--android and --ios: all kinds of restrictions must hold, and no client is both", "make a key for each app");
  }
  require_few_and_different(ip, "--ip");
  require_few_and_different(referrer, "--referrer");
  require_few_and_different(android, "--android");
  require_few_and_different(ios, "--ios");
  require_few_and_different(scopes, "--scope");
  require_few_and_different(windows, "--window");
}

std::string Restrictions::summary() const {
  std::vector<std::string> parts;
  const auto list = [&](const char* word, const auto& entries) {
    std::vector<std::string> texts;
    texts.reserve(entries.size());
    for (const auto& entry : entries) texts.push_back(text_of(entry));
    if (!texts.empty()) parts.push_back(std::string(word) + " " + join(texts, " "));
  };
  list("ip", ip);
  list("referrer", referrer);
  std::vector<std::string> packages;
  packages.reserve(android.size());
  for (const auto& app : android) packages.push_back(app.package);
  list("android", packages);
  list("ios", ios);
  list("scopes", scopes);
  list("window", windows);
  if (rate) parts.push_back(rate->text());
  return parts.empty() ? "none" : join(parts, ", ");
}

}  // namespace kmtool::apikey
