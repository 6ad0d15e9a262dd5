#include "audit.hpp"
#include "kmtool/audit/record.hpp"
#include "kmtool/core/count.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/share/qr.hpp"

namespace kmtool::cmd {

namespace {

/// A page to keep in a safe: what people compare by eye and ear, and the whole checkpoint as a QR code.
std::string paper_text(const audit::Newest& newest, const audit::Paper& paper) {
  constexpr std::size_t words_a_line = 5;
  const auto& checkpoint = newest.checkpoint;
  std::string text = "log       " + checkpoint.origin + "\nentries   " + std::to_string(paper.size) + "\nroot      " + base64(checkpoint.root) + "\nsigner    " +
                     newest.key.description() + " " + newest.key.fingerprint() + "\nprinted   " + rfc3339(system_clock()()) + "\n";
  const auto words = split(paper.words, ' ');
  for (std::size_t i = 0; i < words.size(); ++i) {
    text += i == 0 ? "words     " : i % words_a_line == 0 ? "\n          " : " ";
    text += words[i];
  }
  const auto note = newest.note.dump();
  SecretBytes octets(note.size());
  std::copy(note.begin(), note.end(), octets.reveal_mutable().begin());
  text += "\n\n" + to_text(share::art_of(share::encode(octets)).reveal());
  return text + "\nLater, to see that nothing before it was rewritten:\n  kmtool audit consistency --entries " + std::to_string(paper.size) +
         " --words \"WORDS\"\nor, with what the code says in a file:\n  kmtool audit consistency FILE\n";
}

int run(Globals& globals, const std::string& out) {
  const auto format = chosen_format(globals);
  auto context = op::Context::open(options_of(globals), op::Need::reader);
  const auto newest = audit::newest_checkpoint(context);
  const auto paper = audit::on_paper(newest.checkpoint);
  const auto text = format == "paper" ? paper_text(newest, paper) : newest.note.dump();
  if (format == "json") {
    globals.out.json(Json{{"origin", newest.checkpoint.origin}, {"size", newest.checkpoint.size}, {"root", base64(newest.checkpoint.root)}, {"checkpoint", text},
                          {"verifier_key", tlog::verifier_key(newest.checkpoint.origin, newest.key)}, {"words", paper.words}});
    if (names_file(out)) put_product(globals, out, text);
    return 0;
  }
  put_product(globals, out, text);
  say_product(globals, out, "checkpoint over " + counted(newest.checkpoint.size, "entry", "entries"));
  return 0;
}

}  // namespace

void add_audit_checkpoint(CLI::App& audit, Globals& globals, Action& action) {
  auto* sub = audit.add_subcommand("checkpoint", "the newest checkpoint, to keep elsewhere: whoever has it notices when the record is rewritten");
  offer_formats(sub, globals, {"note", "json", "paper"});
  auto out = std::make_shared<std::string>();
  sub->add_option("--out", *out, "the file; default: standard output")->type_name("FILE");
  sub->callback([&globals, &action, out] { action = [&globals, out] { return run(globals, *out); }; });
}

}  // namespace kmtool::cmd
