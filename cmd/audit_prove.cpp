#include "audit.hpp"
#include "kmtool/audit/record.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {

void put_product(Globals& globals, const std::string& out, const std::string& text) {
  if (out.empty() || out == "-") {
    globals.out.raw(view(text));
  } else if (!globals.dry_run) {
    write_private_file(check_output(out, globals.force), view(text), globals.force);
  }
}

namespace {

struct ProveOptions {
  std::uint64_t seq = 0;
  std::string out;
};

int run(Globals& globals, const ProveOptions& o) {
  auto context = op::Context::open(options_of(globals), op::Need::reader);
  const auto proof = audit::prove_inclusion(context, o.seq);
  if (json_wanted(globals)) {
    globals.out.json(Json{{"entry", o.seq}, {"proof", proof}});
    if (!o.out.empty() && o.out != "-") put_product(globals, o.out, proof);
    return 0;
  }
  put_product(globals, o.out, proof);
  if (!o.out.empty() && o.out != "-") globals.out.line("proof that entry " + std::to_string(o.seq) + " is in the record: " + printable(o.out));
  return 0;
}

}  // namespace

void add_audit_prove(CLI::App& audit, Globals& globals, Action& action) {
  auto* sub = audit.add_subcommand("prove", "a proof that one entry is in the record (C2SP tlog-proof)");
  auto o = std::make_shared<ProveOptions>();
  sub->add_option("seq", o->seq, "the entry's number")->required()->type_name("SEQ");
  sub->add_option("--out", o->out, "the file; default: standard output")->type_name("FILE");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
