#include "audit.hpp"
#include "kmtool/audit/record.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {

namespace {

struct ConsistencyOptions {
  std::string older, out;
};

int run(Globals& globals, const ConsistencyOptions& o) {
  auto context = op::Context::open(options_of(globals), op::Need::reader);
  const auto result = audit::prove_consistency(context, o.older);
  const auto& newest = result.newest.checkpoint;
  if (!o.out.empty()) put_product(globals, o.out, result.file);
  if (o.out == "-") return 0;
  if (json_wanted(globals)) {
    globals.out.json(Json{{"consistent", true}, {"old_size", result.older.size}, {"size", newest.size}, {"root", base64(newest.root)}, {"proof", result.file}});
    return 0;
  }
  globals.out.line("the journal only grew: from " + std::to_string(result.older.size) + " entries at that checkpoint to " + std::to_string(newest.size));
  if (!o.out.empty()) globals.out.line("proof: " + printable(o.out));
  return 0;
}

}  // namespace

void add_audit_consistency(CLI::App& audit, Globals& globals, Action& action) {
  auto* sub = audit.add_subcommand("consistency", "prove that the journal only grew since a checkpoint that somebody kept");
  auto o = std::make_shared<ConsistencyOptions>();
  sub->add_option("checkpoint", o->older, "that checkpoint")->required()->type_name("OLD-CHECKPOINT");
  sub->add_option("--out", o->out, "write the proof, as C2SP witnesses take it")->type_name("FILE");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
