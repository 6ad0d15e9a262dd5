#include <algorithm>

#include "common.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
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

/// Once the pin is on record, what that key signs is believed: a person at a terminal compares it before. The key that was shown; nullopt:
/// nobody was asked.
std::optional<crypto::PublicKey> compared(Globals& globals, const op::Options& options, const std::string& pem, const std::string& name) {
  if (globals.yes || globals.dry_run || globals.no_input || !options.terminal) return std::nullopt;
  auto key = op::read_signer(pem);
  if (op::pinned_as(op::Context::open(options, op::Need::reader), key, name)) return key;
  const auto answer = ask(globals, "pin " + key.fingerprint() + " as " + name + "? in words: " + words_of_fingerprint(key) +
                                       ". Does the other site's kmtool signer show say the same? [y/N] ");
  if (!answer) return std::nullopt;
  if (*answer == "y" || *answer == "Y" || *answer == "yes" || *answer == "YES") return key;
  throw Error(ExitCode::no, "declined", "nothing was pinned", "get the signer's public key over a channel you trust");
}

int trust(Globals& globals, const std::string& pem, const std::string& name) {
  const auto options = options_of(globals);
  const auto shown = compared(globals, options, pem, name);
  return op::recorded(options, op::Need::mutation, "signer trust", name, [&](op::Context& context) {
    const auto key = op::read_signer(pem);
    if (shown && shown->spki() != key.spki()) throw Error::tampered(printable(pem) + " holds another key than the one that was shown", "find out who changed it");
    const auto pinned = op::trust_signer(context, key, name);
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

int distrust(Globals& globals, const std::string& name, const std::string& reason) {
  const auto options = options_of(globals);
  {
    const auto reader = op::Context::open(options, op::Need::reader);  // asked before the lock is taken: a person may think about it
    const auto trusted = reader.trusted();
    const bool pinned = std::ranges::find(trusted, name, &op::TrustRecord::name) != trusted.end();
    if (pinned && !globals.dry_run && !confirm(globals, "distrust " + name + "? what it signed, before or after, is by someone unknown from then on")) {
      throw Error(ExitCode::no, "declined", "nothing was changed", "");
    }
  }
  return op::recorded(options, op::Need::mutation, "signer distrust", name, [&](op::Context& context) {
    const auto done = op::distrust_signer(context, name, reason);
    const auto fingerprint = crypto::PublicKey::from_spki(done.signer.spki).fingerprint();
    if (json_wanted(globals)) {
      globals.out.json(Json{{"distrusted", {{"name", name}, {"names", done.names}, {"fingerprint", fingerprint}, {"taken", done.taken}, {"public_keys", done.public_keys}}}});
    } else {
      for (const auto& each : done.names) globals.out.line("distrusted " + each + ": " + fingerprint);
    }
    for (const auto& taken : done.taken) warn(globals, "on its word, and it stays: " + taken);
    for (const auto& key : done.public_keys) {
      warn(globals, "backups of a kek go on to the public key " + key + ", which its request vouched for: kmtool rotate KEK --backup FILE --to-public-key PEM --fingerprint HEX names another");
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
  auto reason = std::make_shared<std::string>();
  auto* unpin = sub->add_subcommand("distrust", "take a pin back: what that signer signed is by someone unknown");
  unpin->add_option("name", *name, "what it is called here")->required()->type_name("NAME");
  unpin->add_option("--reason", *reason, "why, for the journal")->required()->type_name("TEXT");
  unpin->callback([&globals, &action, name, reason] { action = [&globals, name, reason] { return distrust(globals, *name, *reason); }; });
  sub->add_subcommand("rotate", "make new signers, vouched for by the old")->callback([&globals, &action] {
    action = [&globals] { return renew(globals, std::nullopt); };
  });
  auto after = std::make_shared<std::string>();
  auto* lost = sub->add_subcommand("compromise", "the signers are compromised: nothing they signed after this checkpoint counts");
  lost->add_option("--after", *after, "a checkpoint of this home's journal, as a file")->required()->type_name("FILE");
  lost->callback([&globals, &action, after] { action = [&globals, after] { return renew(globals, *after); }; });
}

}  // namespace kmtool::cmd
