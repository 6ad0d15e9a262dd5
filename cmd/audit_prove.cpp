#include "audit.hpp"
#include "kmtool/audit/record.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {

bool names_file(const std::string& out) { return !out.empty() && out != "-"; }

void put_product(Globals& globals, const std::string& out, const std::string& text) {
  if (!names_file(out)) {
    globals.out.raw(view(text));
    return;
  }
  const auto path = home::check_output(out, globals.force);
  if (!globals.dry_run) write_private_file(path, view(text), globals.force);
}

void say_product(Globals& globals, const std::string& out, const std::string& what) {
  if (!names_file(out)) return;
  if (!globals.dry_run) globals.out.line(what + ": " + printable(out));
  say_dry_run(globals);
}

const CLI::Validator& whole_number() {
  static const CLI::Validator digits(
      [](const std::string& text) {
        const bool good = !text.empty() && text.size() < 19 && text.find_first_not_of("0123456789") == std::string::npos;
        return good ? std::string() : "not a whole number: " + printable(text);
      },
      "");
  return digits;
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
    if (names_file(o.out)) put_product(globals, o.out, proof);
    return 0;
  }
  put_product(globals, o.out, proof);
  say_product(globals, o.out, "proof that entry " + std::to_string(o.seq) + " is in the record");
  return 0;
}

}  // namespace

void add_audit_prove(CLI::App& audit, Globals& globals, Action& action) {
  auto* sub = audit.add_subcommand("prove", "a proof that one entry is in the record (C2SP tlog-proof)");
  auto o = std::make_shared<ProveOptions>();
  sub->add_option("seq", o->seq, "the entry's number")->required()->type_name("SEQ")->check(whole_number());
  sub->add_option("--out", o->out, "the file; default: standard output")->type_name("FILE");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
