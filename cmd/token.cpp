#include <fmt/format.h>

#include "common.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {

namespace {

std::string yes_no(bool value) { return value ? "yes" : "no"; }

Json profile_json(const pkcs11::Profile& profile) { return Json::parse(profile.to_json()); }

void print_mechanisms(Globals& globals, pkcs11::Token& token) {
  const auto lines = token.mechanisms();
  if (json_wanted(globals)) {
    Json list = Json::array();
    for (const auto& line : lines) {
      list.push_back({{"number", line.number}, {"name", line.name}, {"min", line.min_bits}, {"max", line.max_bits}, {"flags", line.flags}});
    }
    globals.out.json(Json{{"mechanisms", list}});
    return;
  }
  Table table({{"NUMBER"}, {"MECHANISM"}, {"MIN", true}, {"MAX", true}, {"FLAGS"}});
  for (const auto& line : lines) {
    table.row({fmt::format("{:#x}", line.number), line.name, std::to_string(line.min_bits), std::to_string(line.max_bits), line.flags});
  }
  globals.out.table(table);
}

void print_profile(Globals& globals, const op::Context& context, const pkcs11::TokenInfo& info, const pkcs11::Profile& profile) {
  Table table({{"FIELD"}, {"VALUE", false, true}});
  table.row({"token", info.label + " (serial " + info.serial + ")"});
  table.row({"model", info.manufacturer + " " + info.model + ", firmware " + info.firmware_version});
  table.row({"module", info.module_path + " (" + info.library_description + " " + info.library_version + ", Cryptoki " + info.cryptoki_version + ")"});
  table.row({"module sha256", info.module_digest});
  table.row({"kind", info.hardware ? "hardware" : "software: not an HSM (G-HW)"});
  const auto& validation = context.home.config.validation;
  table.row({"validation", validation ? validation->text() + " (as recorded at init)" : "none recorded (G-GEN); kmtool init --validation, or validation in config.json, records one"});
  const auto mechanism = [](unsigned long number) { return number == 0 ? std::string("no") : fmt::format("{:#x}", number); };
  table.row({"AES-KW (RFC 3394)", mechanism(profile.kw_mechanism)});
  table.row({"AES-KWP (RFC 5649)", mechanism(profile.kwp_mechanism) + (profile.kwp_note.empty() ? "" : "; " + profile.kwp_note)});
  table.row({"RSA-OAEP hashes", profile.oaep_hashes.empty() ? "none" : join(profile.oaep_hashes, ", ")});
  table.row({"wraps to public keys by", profile.transports_out.empty() ? "nothing that kmtool knows" : join(profile.transports_out, ", ")});
  table.row({"transport keys open", profile.transports_in.empty() ? "nothing that kmtool knows" : join(profile.transports_in, ", ")});
  for (const auto& [type, verdict] : profile.wraps) table.row({"wraps " + type, verdict});
  table.row({"generates", join(profile.generates, ", ")});
  table.row({"EXTRACTABLE=false stops wrapping", profile.extractable_enforced ? "yes" : "NO: only kmtool's own check refuses"});
  table.row({"WRAP_WITH_TRUSTED enforced", yes_no(profile.wrap_with_trusted_enforced)});
  table.row({"MODIFIABLE=false enforced", profile.modifiable_enforced ? "yes" : "NO: usages can be added to a key"});
  table.row({"CKA_LOCAL right on generated keys", yes_no(profile.local_correct)});
  table.row({"copies keys", profile.copies ? (profile.copy_keeps_extractable_false ? "yes" : "yes, and a copy of a non-extractable key can be made EXTRACTABLE") : "no: no backup at birth"});
  table.row({"CKA_COPYABLE honoured", yes_no(profile.copyable_known)});
  table.row({"rollback anchor", profile.relabels ? "yes" : "not supported"});
  table.row({"seals HMAC-SHA-256", yes_no(profile.hmac_sha256)});
  table.row({"signs", std::string(profile.ecdsa_p256 ? "ECDSA P-256" : "") + (profile.ed25519 ? ", Ed25519" : "")});
  globals.out.table(table, false);
}

int run(Globals& globals, bool mechanisms) {
  return op::recorded(options_of(globals), op::Need::token, "token", "", [&](op::Context& context) {
    if (mechanisms) {
      print_mechanisms(globals, context.token());
      return 0;
    }
    const auto& info = context.token().info();
    const auto profile = context.token().probe();  // asked anew: this command exists to say what is true now
    if (json_wanted(globals)) {
      const auto& validation = context.home.config.validation;
      globals.out.json(Json{{"token", {{"label", info.label}, {"serial", info.serial}, {"manufacturer", info.manufacturer}, {"model", info.model},
                                       {"firmware", info.firmware_version}, {"hardware", info.hardware}, {"module", info.module_path},
                                       {"module_sha256", info.module_digest}, {"cryptoki", info.cryptoki_version},
                                       {"validation", validation ? Json(validation->text()) : Json(nullptr)}}},
                            {"profile", profile_json(profile)}});
    } else {
      print_profile(globals, context, info, profile);
    }
    return 0;
  });
}

}  // namespace

void add_token(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("token", "say what the token is and what it really does (probed)");
  auto mechanisms = std::make_shared<bool>(false);
  sub->add_flag("--mechanisms", *mechanisms, "list its mechanisms instead");
  sub->callback([&globals, &action, mechanisms] { action = [&globals, mechanisms] { return run(globals, *mechanisms); }; });
}

}  // namespace kmtool::cmd
