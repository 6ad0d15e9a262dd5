#include <unistd.h>

#include "audit.hpp"
#include "kmtool/audit/record.hpp"
#include "kmtool/core/count.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {

std::vector<tlog::VerifierKey> witness_keys(const std::vector<std::string>& texts) {
  std::vector<tlog::VerifierKey> keys;
  for (const auto& text : texts) {
    std::error_code ignored;
    const bool file = text.find('+') == std::string::npos || std::filesystem::is_regular_file(text, ignored);
    keys.push_back(tlog::VerifierKey::parse(file ? read_file(text, 4096) : text));
    if (!keys.back().witness) throw Error::usage("this verifier key is a log's and not a witness's: " + printable(text), "kmtool audit cosign prints the witness's");
  }
  return keys;
}

namespace {

struct VerifyRecordOptions {
  std::string dir, signer;
  std::vector<std::string> witnesses;
  audit::VerifyOptions how;
  bool no_token = false;
};

/// Every finding on a line of its own for people; all in one message for programs.
[[noreturn]] void fail(const Globals& globals, const std::vector<std::string>& findings, std::uint64_t more) {
  const auto count = findings.size() + more;
  if (count == 1) throw Error::tampered(findings[0], "find out who did it before the home is used again; kmtool home restore puts back a backup");
  std::string message = "the record does not verify: " + std::to_string(count) + " findings";
  if (json_wanted(globals)) {
    message += ": " + join(findings, "; ");
  } else {
    std::string lines;
    for (const auto& finding : findings) lines += "finding: " + printable(finding) + "\n";
    if (more > 0) lines += "finding: and " + std::to_string(more) + " more\n";
    clear_progress();
    write_all(STDERR_FILENO, view(lines), "standard error");
  }
  throw Error::tampered(message, "find out who did it before the home is used again; kmtool home restore puts back a backup");
}

int verify_folder(Globals& globals, const VerifyRecordOptions& o) {
  if (o.signer.empty()) throw Error::usage("an exported record is verified against the public key of its log signer: --signer PEM", "it must come over a channel you trust, not with the record");
  const auto report = audit::verify_exported(o.dir, crypto::PublicKey::read_pem(o.signer), witness_keys(o.witnesses), make_progress(globals));
  if (!report.findings.empty()) fail(globals, report.findings, 0);
  Json json{{"entries", report.checkpoint.size}, {"root", base64(report.checkpoint.root)}, {"checkpoint", "ok"}, {"anchor", "not checked"}, {"catalog", "not checked"}};
  json["origin"] = report.checkpoint.origin;
  json["handovers"] = Json::array();
  for (const auto& key : report.successors) json["handovers"].push_back(key.fingerprint());
  json["witnesses"] = Json::array();
  for (const auto& [name, time] : report.witnesses) json["witnesses"].push_back({{"name", name}, {"time", rfc3339(time)}});
  if (json_wanted(globals)) {
    globals.out.json(json);
    return 0;
  }
  globals.out.line("log         " + printable(report.checkpoint.origin));
  globals.out.line("entries     " + std::to_string(report.checkpoint.size) + ", each held against the tree and its tiles");
  globals.out.line("root        " + base64(report.checkpoint.root));
  globals.out.line(report.successors.empty() ? "checkpoint  ok: signed by this signer" : "checkpoint  ok: signed by a signer that this one handed over to");
  for (const auto& key : report.successors) globals.out.line("handover    ok: to " + key.description() + " " + key.fingerprint());
  for (const auto& [name, time] : report.witnesses) globals.out.line("witness     ok: " + printable(name) + " saw it at " + rfc3339(time));
  return 0;
}

void print(Globals& globals, const audit::RecordReport& report, bool all) {
  const auto& record = report.record;
  if (json_wanted(globals)) {
    Json json{{"entries", record.entries}, {"root", base64(record.root)}, {"checkpoint", "ok"}, {"anchor", report.anchor}, {"catalog", "ok"}};
    json["objects"] = report.objects;
    json["size"] = record.size;
    json["checkpoints"] = record.checkpoints;
    json["signatures"] = record.signatures;
    json["signatures_of"] = all ? "all checkpoints" : "the newest checkpoint";
    json["unauthenticated"] = record.unauthenticated;
    json["unproven"] = record.unproven;
    json["keys"] = report.keys;
    json["foreign_objects"] = report.foreign;
    json["found_at_rollback"] = report.found_at_rollback;
    globals.out.json(json);
    return;
  }
  globals.out.line("entries     " + std::to_string(record.entries) + (record.unauthenticated > 0 ? ", of them " + std::to_string(record.unauthenticated) + " made without a login" : ""));
  globals.out.line("root        " + base64(record.root));
  globals.out.line("checkpoint  ok: the newest covers " + counted(record.size, "entry", "entries") + "; " + counted(record.checkpoints, "checkpoint", "checkpoints") + " held against the tree, " +
                   counted(record.signatures, "signature", "signatures") + " verified");
  globals.out.line("catalog     ok: " + counted(record.rows, "row", "rows") + ", as the entries give them");
  globals.out.line("anchor      " + report.anchor);
  globals.out.line("objects     " + report.objects + (report.objects == "ok" ? ": " + counted(report.keys, "key version", "key versions") + " as recorded" : "") +
                   (report.foreign > 0 ? ", " + counted(report.foreign, "other object", "other objects") + " on the token" : "") +
                   (report.found_at_rollback > 0 ? ", of which " + counted(report.found_at_rollback, "key") + " were found there when a restore was accepted" : ""));
  if (record.unproven > 0) warn(globals, counted(record.unproven, "entry", "entries") + " behind the newest checkpoint, made without a login: nothing proves them yet");
}

int run(Globals& globals, VerifyRecordOptions o) {
  if (!o.dir.empty()) return verify_folder(globals, o);
  if (!o.signer.empty()) throw Error::usage("--signer goes with a folder that kmtool audit export wrote", "the home knows its own log signer");
  o.how.token = !o.no_token;
  const auto report = audit::verify_record(options_of(globals), o.how);
  if (!report.findings.empty()) fail(globals, report.findings, report.record.more);
  print(globals, report, o.how.all_signatures);
  return 0;
}

}  // namespace

void add_audit_verify(CLI::App& audit, Globals& globals, Action& action) {
  auto* sub = audit.add_subcommand("verify", "prove the record: entries, checkpoints, catalog, anchor, and the token's objects");
  auto o = std::make_shared<VerifyRecordOptions>();
  sub->add_option("dir", o->dir, "a record that kmtool audit export wrote; needs neither home nor token")->type_name("DIR");
  sub->add_option("--signer", o->signer, "with DIR: the log signer's public key")->type_name("PEM");
  repeatable(sub->add_option("--witness", o->witnesses, "with DIR: this witness must have cosigned; may be repeated")->type_name("VKEY"));
  sub->add_flag("--all-signatures", o->how.all_signatures, "verify the signature of every checkpoint, not of the newest alone");
  sub->add_flag("--no-token", o->no_token, "do not log in: neither anchor nor objects are looked at");
  sub->add_flag("--allow-foreign", o->how.foreign_objects, "keys that this home did not make may be on the token (it is shared)");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
