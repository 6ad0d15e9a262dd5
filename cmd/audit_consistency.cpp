#include "audit.hpp"
#include "kmtool/audit/record.hpp"
#include "kmtool/core/count.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {

namespace {

struct ConsistencyOptions {
  std::string older, out;
  std::optional<std::uint64_t> entries;
  std::string words;
};

audit::Consistency prove(op::Context& context, const ConsistencyOptions& o) {
  if (o.entries) return audit::prove_consistency(context, audit::Paper{*o.entries, o.words});
  return audit::prove_consistency(context, std::filesystem::path(o.older));
}

int run(Globals& globals, const ConsistencyOptions& o) {
  if (o.older.empty() == !o.entries) throw Error::usage("which checkpoint?", "give its file, or --entries N --words WORDS as they stand on paper");
  auto context = op::Context::open(options_of(globals), op::Need::reader);
  const auto result = prove(context, o);
  const auto& newest = result.newest.checkpoint;
  if (!o.out.empty()) put_product(globals, o.out, result.file);
  if (o.out == "-") return 0;
  if (json_wanted(globals)) {
    globals.out.json(Json{{"consistent", true}, {"old_size", result.older.size}, {"size", newest.size}, {"root", base64(newest.root)}, {"proof", result.file}});
    return 0;
  }
  globals.out.line("the journal only grew: from " + counted(result.older.size, "entry", "entries") + " at that checkpoint to " + std::to_string(newest.size));
  say_product(globals, o.out, "proof");
  return 0;
}

}  // namespace

void add_audit_consistency(CLI::App& audit, Globals& globals, Action& action) {
  auto* sub = audit.add_subcommand("consistency", "prove that the journal only grew since a checkpoint that somebody kept");
  auto o = std::make_shared<ConsistencyOptions>();
  sub->add_option("checkpoint", o->older, "that checkpoint")->type_name("OLD-CHECKPOINT");
  auto* entries = sub->add_option("--entries", o->entries, "on paper: its number of entries")->type_name("N")->check(whole_number());
  auto* words = sub->add_option("--words", o->words, "on paper: its words")->type_name("WORDS");
  entries->needs(words);
  words->needs(entries);
  sub->add_option("--out", o->out, "write the proof, as C2SP witnesses take it")->type_name("FILE");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
