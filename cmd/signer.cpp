#include "common.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/words.hpp"
#include "kmtool/crypto/public_key.hpp"
#include "kmtool/op/admin.hpp"

namespace kmtool::cmd {

namespace {

int list(Globals& globals) {
  const auto context = op::Context::open(options_of(globals), op::Need::reader);
  Json json{{"signers", Json::array()}, {"trusted", Json::array()}};
  Table table({{"SIGNER"}, {"TYPE"}, {"STATE"}, {"FINGERPRINT (SHA-256 OF SPKI)"}});
  for (const auto& signer : context.signers()) {
    const auto key = crypto::PublicKey::from_spki(signer.spki);
    const auto name = signer.use + "@" + std::to_string(signer.version);
    json["signers"].push_back({{"name", name}, {"type", to_text(signer.type)}, {"state", signer.state}, {"fingerprint", key.fingerprint()},
                               {"compromised_after", signer.compromised_after ? Json(*signer.compromised_after) : Json(nullptr)}});
    table.row({name, key.description(), signer.compromised_after ? signer.state + " after entry " + std::to_string(*signer.compromised_after) : signer.state, key.fingerprint()});
  }
  for (const auto& pinned : context.trusted()) {
    const auto key = crypto::PublicKey::from_spki(pinned.spki);
    json["trusted"].push_back({{"name", pinned.name}, {"fingerprint", key.fingerprint()}, {"since", rfc3339(pinned.since)}});
    table.row({pinned.name, key.description(), "trusted since " + day(pinned.since), key.fingerprint()});
  }
  if (json_wanted(globals)) {
    globals.out.json(json);
  } else {
    globals.out.table(table);
  }
  return 0;
}

std::string words_of_fingerprint(const crypto::PublicKey& key) { return words_of(from_hex(key.fingerprint()).value()); }

/// The public key that other sites pin (or, of the log signer, that checkpoints are checked with).
int show(Globals& globals, bool log) {
  const auto context = op::Context::open(options_of(globals), op::Need::reader);
  const auto key = crypto::PublicKey::from_spki(context.active_signer(log ? "log" : "document").spki);
  if (json_wanted(globals)) {
    globals.out.json(Json{{"use", log ? "log" : "document"}, {"fingerprint", key.fingerprint()}, {"words", words_of_fingerprint(key)}, {"public", key.pem()}});
    return 0;
  }
  globals.out.raw(view(key.pem()));
  note(globals, "fingerprint " + key.fingerprint());
  note(globals, "in words: " + words_of_fingerprint(key));
  return 0;
}

int trust(Globals& globals, const std::string& pem, const std::string& name) {
  return op::recorded(options_of(globals), op::Need::mutation, "signer trust", name, [&](op::Context& context) {
    const auto pinned = op::trust_signer(context, pem, name);
    const auto key = crypto::PublicKey::from_spki(pinned.spki);
    const auto fingerprint = key.fingerprint();
    if (json_wanted(globals)) {
      globals.out.json(Json{{"name", pinned.name}, {"fingerprint", fingerprint}, {"words", words_of_fingerprint(key)}});
    } else {
      globals.out.line("trusted " + pinned.name + ": " + fingerprint);
      globals.out.line("in words: " + words_of_fingerprint(key));
      note(globals, "compare this fingerprint with the other site's kmtool signer list over a channel you trust");
    }
    say_dry_run(globals);
    return 0;
  });
}

int renew(Globals& globals, const std::optional<std::string>& checkpoint) {
  const std::string command = checkpoint ? "signer compromise" : "signer rotate";
  return op::recorded(options_of(globals), op::Need::mutation, command, checkpoint.value_or(""), [&](op::Context& context) {
    std::optional<std::uint64_t> after;
    if (checkpoint) after = op::checkpoint_size(context, *checkpoint);
    Json json{{"signers", Json::array()}};
    if (globals.dry_run) {
      for (const std::string use : {"log", "document"}) {
        const auto name = use + "@" + std::to_string(context.active_signer(use).version + 1);
        json["signers"].push_back({{"name", name}, {"fingerprint", nullptr}});
        if (!json_wanted(globals)) globals.out.line(name + "  would be made");
      }
      if (json_wanted(globals)) globals.out.json(json);
      say_dry_run(globals);
      return 0;
    }
    for (const auto& signer : op::rotate_signers(context, after)) {
      const auto fingerprint = crypto::PublicKey::from_spki(signer.spki).fingerprint();
      json["signers"].push_back({{"name", signer.use + "@" + std::to_string(signer.version)}, {"fingerprint", fingerprint}});
      if (!json_wanted(globals)) globals.out.line(signer.use + "@" + std::to_string(signer.version) + "  " + fingerprint);
    }
    if (json_wanted(globals)) globals.out.json(json);
    note(globals, "other sites that pinned this home's document signer must pin the new signers/document.pem");
    return 0;
  });
}

}  // namespace

void add_signer(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("signer", "the home's signers, and those of other sites that it trusts");
  sub->require_subcommand(1);
  sub->add_subcommand("list", "list them")->callback([&globals, &action] { action = [&globals] { return list(globals); }; });
  auto log = std::make_shared<bool>(false);
  auto* shown = sub->add_subcommand("show", "print the document signer's public key, PEM, for other sites to pin");
  shown->add_flag("--log", *log, "the log signer's instead, for checkpoints");
  shown->callback([&globals, &action, log] { action = [&globals, log] { return show(globals, *log); }; });
  auto pem = std::make_shared<std::string>();
  auto name = std::make_shared<std::string>();
  auto* pin = sub->add_subcommand("trust", "pin another site's document signer");
  pin->add_option("pem", *pem, "its signers/document.pem")->required()->type_name("PEM");
  pin->add_option("--name", *name, "what to call it")->required()->type_name("NAME");
  pin->callback([&globals, &action, pem, name] { action = [&globals, pem, name] { return trust(globals, *pem, *name); }; });
  sub->add_subcommand("rotate", "make new signers, vouched for by the old")->callback([&globals, &action] {
    action = [&globals] { return renew(globals, std::nullopt); };
  });
  auto after = std::make_shared<std::string>();
  auto* lost = sub->add_subcommand("compromise", "the signers are compromised: nothing they signed after this checkpoint counts");
  lost->add_option("--after", *after, "a checkpoint of this home's journal, as a file")->required()->type_name("FILE");
  lost->callback([&globals, &action, after] { action = [&globals, after] { return renew(globals, *after); }; });
}

}  // namespace kmtool::cmd
