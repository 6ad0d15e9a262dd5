#include "audit.hpp"
#include "kmtool/audit/record.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {

namespace {

struct CosignOptions {
  std::string file, signer, out;
};

int run(Globals& globals, const CosignOptions& o) {
  if (!o.out.empty() && o.out != "-") home::check_output(o.out, globals.force);
  const auto signer = crypto::PublicKey::read_pem(o.signer);
  return op::recorded(options_of(globals), op::Need::mutation, "audit cosign", o.file, [&](op::Context& context) {
    const auto result = audit::cosign(context, o.file, signer);
    if (globals.dry_run) {
      say_dry_run(globals);
      return 0;
    }
    if (json_wanted(globals)) {
      globals.out.json(Json{{"origin", result.checkpoint.origin}, {"size", result.checkpoint.size}, {"root", base64(result.checkpoint.root)}, {"time", rfc3339(result.time)},
                            {"witness", result.key}, {"first", result.first}, {"checkpoint", result.note}});
      if (!o.out.empty() && o.out != "-") put_product(globals, o.out, result.note);
      return 0;
    }
    put_product(globals, o.out, result.note);
    note(globals, "cosigned " + result.checkpoint.origin + " at " + std::to_string(result.checkpoint.size) + " entries" + (result.first ? ", the first checkpoint of that log here" : ""));
    note(globals, "this witness's verifier key: " + result.key);
    return 0;
  });
}

}  // namespace

void add_audit_cosign(CLI::App& audit, Globals& globals, Action& action) {
  auto* sub = audit.add_subcommand("cosign", "as a witness of another home's log: verify its checkpoint and cosign it (C2SP tlog-cosignature)");
  auto o = std::make_shared<CosignOptions>();
  sub->add_option("file", o->file, "its checkpoint, or the proof of kmtool audit consistency")->required()->type_name("FILE");
  sub->add_option("--signer", o->signer, "that home's signers/log.pem")->required()->type_name("PEM");
  sub->add_option("--out", o->out, "the cosigned checkpoint; default: standard output")->type_name("FILE");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
