#include "kmtool/bundle/request.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "bundle/check.hpp"
#include "bundle/parse.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/json.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/domain/name.hpp"

namespace kmtool::bundle {
namespace {

constexpr std::string_view beginning = R"({"kmrequest":)";
constexpr std::size_t largest = 65536, most_text = 500;

std::string dump(const TransportRequest& request) {
  Json json;
  json["kmrequest"] = 1;
  json["created"] = rfc3339(request.created);
  json["creator"] = request.creator;
  json["home"] = request.home;
  json["token"] = token_json(request.token);
  Json key;
  key["name"] = request.name;
  key["version"] = request.version;
  key["type"] = to_text(request.type);
  key["state"] = to_text(request.state);
  key["expires"] = request.expires ? Json(rfc3339(*request.expires)) : Json(nullptr);
  key["public"] = base64(request.public_spki);
  json["key"] = key;
  json["algorithms"] = Json::array();
  for (const auto& algorithm : request.algorithms) json["algorithms"].push_back(to_text(algorithm));
  return dump_json(json);
}

void check(const TransportRequest& request, const JsonFail& fail) {
  if (request.creator.empty() || request.creator.size() > most_text) fail("field \"creator\": expected 1 to 500 bytes");
  if (!is_uuid(request.home)) fail("field \"home\": expected a uuid");
  if (!is_name(request.name) || request.version < 1 || request.version > 999999) fail("key: not a name and version");
  const auto& types = types_of(Role::transport);
  if (std::find(types.begin(), types.end(), request.type) == types.end()) fail(fmt::format("type {} is not one of a transport key", to_text(request.type)));
  if (request.algorithms.empty()) fail("field \"algorithms\": expected at least one");
  for (const auto& algorithm : request.algorithms) {
    if (!fits(algorithm, request.type)) fail(fmt::format("algorithm {} does not go with type {}", to_text(algorithm), to_text(request.type)));
    if (std::count(request.algorithms.begin(), request.algorithms.end(), algorithm) > 1) fail(fmt::format("algorithm {} twice", to_text(algorithm)));
  }
  std::string problem;
  try {
    const auto key = crypto::PublicKey::from_spki(request.public_spki);
    if (key.type() != request.type) problem = fmt::format("{}, but the type is {}", key.description(), to_text(request.type));
    if (key.spki() != request.public_spki) problem = "not in its one encoding";
  } catch (const Error& error) {
    problem = error.message();
  }
  if (!problem.empty()) fail("field \"public\": " + problem);
}

template <typename Value>
Value known(std::optional<Value> value, const char* what, const JsonReader& reader) {
  if (!value) reader.fail(fmt::format("unknown {}", what));
  return *value;
}

UnixTime time_of(const std::string& text, const char* field, const JsonReader& reader) {
  return known(parse_rfc3339(text), fmt::format("time in field \"{}\"", field).c_str(), reader);
}

TransportRequest parse(std::string_view line, const JsonFail& fail) {
  const Json json = parse_json(line, fail, {.comments = false, .max_depth = 8});
  if (!json.is_object()) fail("expected an object");
  JsonReader reader(json, fail);
  if (reader.integer("kmrequest", 0, INT64_MAX) != 1) reader.fail("this version of the format is unknown: this kmtool reads version 1");
  TransportRequest request;
  request.created = time_of(reader.text("created"), "created", reader);
  request.creator = reader.text("creator");
  request.home = reader.text("home");
  request.token = parse_token(reader.object("token"), fail);
  JsonReader key(reader.object("key"), fail, "key");
  request.name = key.text("name");
  request.version = static_cast<int>(key.integer("version", 1, 999999));
  request.type = known(key_type_from(key.text("type")), "type", key);
  request.state = known(state_from(key.text("state")), "state", key);
  if (!key.any("expires").is_null()) request.expires = time_of(key.text("expires"), "expires", key);
  request.public_spki = key.base64("public");
  key.finish();
  for (const auto& text : reader.texts("algorithms")) request.algorithms.push_back(known(transport_from(text), "algorithm", reader));
  reader.finish();
  check(request, fail);
  if (dump(request) != line) fail("not in its one spelling");
  return request;
}

[[noreturn]] void damaged(const std::string& name, int line, const std::string& what) {
  throw Error::tampered(fmt::format("{}: line {}: {}", printable(name), line, what));
}

}  // namespace

std::string write_request(const TransportRequest& request, const SignFunction& sign, const std::string& signer_fingerprint) {
  check(request, [](const std::string& what) { throw Error::internal("a request that could not be read back was about to be written: " + what); });
  const std::string line = dump(request) + '\n';
  return line + dump(Signature{.key = signer_fingerprint, .value = sign(crypto::sha256(view(line)))}) + '\n';
}

bool looks_like_request(std::string_view text) { return text.starts_with(beginning); }

SignedRequest read_request(std::string_view text, const std::string& name) {
  if (text.size() > largest) damaged(name, 1, "longer than a request");
  const auto first = text.find('\n');
  if (first == std::string_view::npos) damaged(name, 1, "the file ends where the signature is expected");
  const auto second = text.find('\n', first + 1);
  if (second != text.size() - 1) damaged(name, 2, second == std::string_view::npos ? "the line does not end in LF" : "something follows the signature");
  SignedRequest out;
  out.request = parse(text.substr(0, first), [&](const std::string& what) { damaged(name, 1, what); });
  out.signature = parse_signature(text.substr(first + 1, second - first - 1), [&](const std::string& what) { damaged(name, 2, what); });
  const auto digest = crypto::sha256(view(text.substr(0, first + 1)));
  out.signed_digest.assign(digest.begin(), digest.end());
  return out;
}

bool signature_by(const SignedRequest& request, const crypto::PublicKey& signer, const std::string& file_name) {
  if (signer.fingerprint() != request.signature.key) return false;
  if (signer.verify_ecdsa_digest(request.signed_digest, request.signature.value)) return true;
  damaged(file_name, 2, "the signature is wrong: the file was changed after it was signed");
}

}  // namespace kmtool::bundle
