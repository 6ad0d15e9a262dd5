#include "kmtool/pkcs11/profile.hpp"

#include <algorithm>
#include <array>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/json.hpp"
#include "kmtool/crypto/digest.hpp"
#include "kmtool/domain/transport.hpp"

namespace kmtool::pkcs11 {
namespace {

constexpr std::int64_t format = 4;
constexpr std::int64_t largest_mechanism = 0xFFFFFFFF;

struct Flag {
  const char* name;
  bool Profile::*field;
};
constexpr std::array flags{
    Flag{"extractable_enforced", &Profile::extractable_enforced},
    Flag{"wrap_with_trusted_enforced", &Profile::wrap_with_trusted_enforced},
    Flag{"local_correct", &Profile::local_correct},
    Flag{"modifiable_enforced", &Profile::modifiable_enforced},
    Flag{"copies", &Profile::copies},
    Flag{"copy_keeps_extractable_false", &Profile::copy_keeps_extractable_false},
    Flag{"copyable_known", &Profile::copyable_known},
    Flag{"private_pairs_copy", &Profile::private_pairs_copy},
    Flag{"one_object_per_id", &Profile::one_object_per_id},
    Flag{"finds_nameless", &Profile::finds_nameless},
    Flag{"relabels", &Profile::relabels},
    Flag{"hmac_sha256", &Profile::hmac_sha256},
    Flag{"ecdsa_p256", &Profile::ecdsa_p256},
    Flag{"ed25519", &Profile::ed25519},
    Flag{"aes_gcm", &Profile::aes_gcm},
};

struct NotOurs {};

Profile read(const Json& document) {
  JsonReader reader(document, [](const std::string&) { throw NotOurs{}; });
  Profile out;
  reader.integer("kmprofile", format, format);
  out.kw_mechanism = static_cast<unsigned long>(reader.integer("kw_mechanism", 0, largest_mechanism));
  out.kwp_mechanism = static_cast<unsigned long>(reader.integer("kwp_mechanism", 0, largest_mechanism));
  out.kwp_note = reader.text("kwp_note");
  out.oaep_hashes = reader.texts("oaep_hashes");
  for (const auto& [name, list] : {std::pair{"transports_out", &out.transports_out}, std::pair{"transports_in", &out.transports_in}}) {
    *list = reader.texts(name);
    for (const std::string& text : *list) {
      if (!transport_from(text)) throw NotOurs{};
    }
  }
  for (const Flag& flag : flags) out.*flag.field = reader.boolean(flag.name);
  for (const auto& [type, result] : reader.object("wraps").items()) {
    if (!key_type_from(type) || !result.is_string()) throw NotOurs{};
    out.wraps[type] = result.get<std::string>();
  }
  out.generates = reader.texts("generates");
  for (const std::string& type : out.generates) {
    if (!key_type_from(type)) throw NotOurs{};
  }
  reader.finish();
  return out;
}

}  // namespace

bool Profile::can_generate(KeyType type) const { return std::ranges::find(generates, to_text(type)) != generates.end(); }

bool Profile::can_wrap(KeyType type) const {
  const auto found = wraps.find(std::string(to_text(type)));
  return found != wraps.end() && found->second == "yes";
}

std::string Profile::to_json() const {
  Json out;
  out["kmprofile"] = format;
  out["kw_mechanism"] = kw_mechanism;
  out["kwp_mechanism"] = kwp_mechanism;
  out["kwp_note"] = kwp_note;
  out["oaep_hashes"] = oaep_hashes;
  out["transports_out"] = transports_out;
  out["transports_in"] = transports_in;
  for (const Flag& flag : flags) out[flag.name] = this->*flag.field;
  out["wraps"] = Json::object();
  for (const auto& [type, result] : wraps) out["wraps"][type] = result;
  out["generates"] = generates;
  return dump_json(out);
}

std::optional<Profile> Profile::from_json(const std::string& text) {
  try {
    return read(parse_json(text, [](const std::string&) { throw NotOurs{}; }));
  } catch (const NotOurs&) {
    return std::nullopt;
  }
}

std::string profile_key(const std::string& module_digest, const std::string& serial, const std::string& model,
                        const std::string& firmware) {
  // JSON keeps the fields apart whatever they contain.
  const Json fields =
      Json::array({"kmtool-profile", format, module_digest, hex(view(serial)), hex(view(model)), hex(view(firmware))});
  return hex(crypto::sha256(view(dump_json(fields))));
}

}  // namespace kmtool::pkcs11
