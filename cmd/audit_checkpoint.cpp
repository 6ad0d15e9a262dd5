#include "audit.hpp"
#include "kmtool/audit/record.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {

namespace {

int run(Globals& globals, const std::string& out) {
  const auto format = chosen_format(globals, {"note", "json"});
  auto context = op::Context::open(options_of(globals), op::Need::reader);
  const auto newest = audit::newest_checkpoint(context);
  const auto text = newest.note.dump();
  if (format == "json") {
    globals.out.json(Json{{"origin", newest.checkpoint.origin}, {"size", newest.checkpoint.size}, {"root", base64(newest.checkpoint.root)}, {"checkpoint", text},
                          {"verifier_key", tlog::verifier_key(newest.checkpoint.origin, newest.key)}});
    if (!out.empty() && out != "-") put_product(globals, out, text);
    return 0;
  }
  put_product(globals, out, text);
  if (!out.empty() && out != "-") globals.out.line("checkpoint over " + std::to_string(newest.checkpoint.size) + " entries: " + printable(out));
  return 0;
}

}  // namespace

void add_audit_checkpoint(CLI::App& audit, Globals& globals, Action& action) {
  auto* sub = audit.add_subcommand("checkpoint", "the newest checkpoint, to keep elsewhere: whoever has it notices when the record is rewritten");
  auto out = std::make_shared<std::string>();
  sub->add_option("--out", *out, "the file; default: standard output")->type_name("FILE");
  sub->callback([&globals, &action, out] { action = [&globals, out] { return run(globals, *out); }; });
}

}  // namespace kmtool::cmd
