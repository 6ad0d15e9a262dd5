#include "audit.hpp"
#include "kmtool/audit/log.hpp"
#include "kmtool/audit/record.hpp"
#include "kmtool/core/count.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {

namespace {

struct ProofOptions {
  std::string file, entry, older;
  std::vector<std::string> signers, witnesses;
};

int run(Globals& globals, const ProofOptions& o) {
  std::optional<std::string> entry;
  if (!o.entry.empty()) {
    entry = read_file(o.entry, 1 << 20);
    if (entry->ends_with('\n')) entry->pop_back();
  }
  std::optional<std::filesystem::path> older;
  if (!o.older.empty()) older = o.older;
  std::vector<crypto::PublicKey> signers;
  for (const auto& pem : o.signers) signers.push_back(crypto::PublicKey::read_pem(pem));
  const auto proven = audit::check_proof(o.file, signers, entry, older, witness_keys(o.witnesses));
  const auto& checkpoint = proven.checkpoint;
  if (json_wanted(globals)) {
    Json json{{"proof", "ok"}, {"kind", proven.index ? "inclusion" : "consistency"}, {"origin", checkpoint.origin}, {"size", checkpoint.size}, {"root", base64(checkpoint.root)}};
    if (proven.index) json["entry"] = *proven.index;
    if (proven.old_size) json["old_size"] = *proven.old_size;
    json["witnesses"] = Json::array();
    for (const auto& [name, time] : proven.witnesses) json["witnesses"].push_back({{"name", name}, {"time", rfc3339(time)}});
    globals.out.json(json);
    return 0;
  }
  if (proven.index) {
    globals.out.line("ok: entry " + std::to_string(*proven.index) + " of " + printable(checkpoint.origin) + ", under a checkpoint over " + counted(checkpoint.size, "entry", "entries"));
    globals.out.line(printable(proven.entry));
  } else {
    globals.out.line("ok: " + printable(checkpoint.origin) + " only grew, from " + counted(*proven.old_size, "entry", "entries") + " to " + std::to_string(checkpoint.size));
  }
  for (const auto& [name, time] : proven.witnesses) globals.out.line("witness " + printable(name) + " saw it at " + rfc3339(time));
  return 0;
}

}  // namespace

void add_audit_verify_proof(CLI::App& audit, Globals& globals, Action& action) {
  auto* sub = audit.add_subcommand("verify-proof", "verify a proof that prove or consistency made; needs neither home nor token");
  auto o = std::make_shared<ProofOptions>();
  sub->add_option("file", o->file, "the proof")->required()->type_name("FILE");
  repeatable(sub->add_option("--signer", o->signers, "the log signer's public key; may be repeated (rotated signers)")->required()->type_name("PEM"));
  sub->add_option("--entry", o->entry, "inclusion: prove this entry, and not the one in the proof")->type_name("FILE");
  sub->add_option("--old", o->older, "consistency: the checkpoint that you kept")->type_name("FILE");
  repeatable(sub->add_option("--witness", o->witnesses, "this witness must have cosigned; may be repeated")->type_name("VKEY"));
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
