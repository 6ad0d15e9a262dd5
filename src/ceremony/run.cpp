#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "ceremony/into.hpp"
#include "ceremony/transcript.hpp"
#include "kmtool/core/count.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/core/words.hpp"

namespace kmtool::ceremony {

namespace {

using Phase = Standing::Phase;

class Ceremony {
 public:
  Ceremony(const Runbook& runbook, const RunRequest& request, const std::function<op::Context()>& open, const Runner& runner,
           People& people, const Clock& clock)
      : book_(runbook),
        request_(request),
        open_(open),
        runner_(runner),
        people_(people),
        clock_(clock),
        target_(std::filesystem::absolute(request.transcript).lexically_normal()),
        file_(target_) {
    if (!request.resume) home::check_output(target_, false);
  }

  RunResult go() {
    if (auto ended = begin_or_resume()) return *ended;
    while (standing_.done < book_.steps.size()) step();
    return close();
  }

 private:
  // -- the record ------------------------------------------------------------------------------------------------------
  /// Writes into the transcript, then into the journal how far we are. The other way round the journal would know of text that is
  /// not there.
  void record(op::Context& context, const std::string& text, Json details) {
    if (!text.empty()) file_.add(text, standing_);
    details["ceremony"] = standing_.id;
    context.note("ceremony", target_.filename().string(), std::move(details), {standing_.change()});
  }
  void record(const std::string& text, Json details) {
    auto context = open_();
    record(context, text, std::move(details));
  }

  // -- beginning -------------------------------------------------------------------------------------------------------
  /// The result, where only the journal was to learn that the transcript is signed.
  std::optional<RunResult> begin_or_resume() {
    auto context = std::make_unique<op::Context>(open_());
    if (auto known = open_ceremony(*context, target_.string())) {
      if (!request_.resume)
        throw Error::exists("a ceremony with this transcript was begun and is not at its end",
                            "go on with it: kmtool ceremony run … --resume; or begin another under another name: --transcript OTHER.md");
      if (known->runbook != book_.digest) {
        throw Error::tampered("the runbook is not the one that this ceremony was begun with",
                              "use the same file (SHA-256 " + known->runbook + ")");
      }
      if (known->done > book_.steps.size()) throw Error::tampered("the ceremony has more steps behind it than the runbook has");
      standing_ = *std::move(known);
      if (standing_.phase == Phase::closing && std::filesystem::exists(target_)) return signed_before(*context);
      home::check_output(target_, false);
      const auto cut = file_.resume(standing_);
      settle(*context, cut);
      return std::nullopt;
    }
    if (request_.resume) throw Error::missing("no ceremony with this transcript is open", "begin it without --resume");
    standing_.id = uuid_text(context->token().random(16));
    context.reset();  // while people think, nothing is locked
    greet();
    auto again = open_();
    standing_.transcript = target_.string();
    standing_.runbook = book_.digest;
    standing_.begun = clock_();
    file_.begin();
    record(again, head_text(book_, standing_, again),
           {{"what", "begun"}, {"runbook", book_.digest}, {"steps", book_.steps.size()}});
    return std::nullopt;
  }

  RunResult signed_before(op::Context& context) {
    const auto transcript = verify_transcript(target_, context.document_key());
    if (transcript.id != standing_.id)
      throw Error::exists(printable(target_.string()) + " is the transcript of another ceremony", "move it away");
    return forget(context, transcript.digest);
  }
  RunResult forget(op::Context& context, const std::string& digest) {
    context.note("ceremony", target_.filename().string(),
                 {{"what", "signed"}, {"ceremony", standing_.id}, {"transcript", digest}}, {standing_.removal()});
    unlink(file_.path().c_str());
    return {standing_.id, target_.string(), digest, standing_.done, standing_.deviations};
  }

  void greet() {
    people_.show(fmt::format(
        "Ceremony: {}\nRunbook:  {}, {}\nSHA-256:  {}\nin words: {}\n\nRead the words aloud and compare them with the "
        "approved copy.\n",
        printable(book_.title), printable(book_.name), counted(book_.steps.size(), "step"), book_.digest, words_of(book_.digest_bytes)));
    standing_.conductor = name("Operator (name): ", {});
    standing_.witness = name("Witness (name): ", standing_.conductor);
    if (!yes("Is this the approved runbook? [y/n] ")) stop();
  }

  /// What became of a step that was interrupted; the journal says it, and the transcript takes it down.
  void settle(op::Context& context, const std::string& cut) {
    const auto now = rfc3339(clock_());
    people_.show(fmt::format("Resumed: {} of {} steps are done.\n", standing_.done, book_.steps.size()));
    std::string text = fmt::format("\n- interrupted; resumed: {}\n", now);
    if (!cut.empty()) {
      // Of a kill while it was written, or by another hand: nobody can tell, so everybody is told.
      const auto digest = hex(crypto::sha256(view(cut)));
      people_.show(fmt::format("Behind what the journal knows, the transcript so far had {}, which {} cut off:\n{}", counted(cut.size(), "more byte"), cut.size() == 1 ? "is" : "are", indented(cut)));
      text += fmt::format("- cut off, as the journal does not know it: {}, SHA-256 {}\n", counted(cut.size(), "byte"), digest);
    }
    if (standing_.phase == Phase::begun) {
      const auto& step = book_.steps[standing_.done];
      const auto entry = entry_of(context, standing_.since, step.command.argv);
      text += fmt::format("- step {} was interrupted while its command ran; the journal {}\n", standing_.done + 1,
                          entry ? fmt::format("says in entry {} that it was done", *entry) : "does not say that it was done");
      if (entry) done_before_ = entry;
      standing_.phase = Phase::ready;
    }
    record(context, text, {{"what", "resumed"}, {"step", standing_.done + 1}});
  }

  // -- one step --------------------------------------------------------------------------------------------------------
  void step() {
    const std::size_t number = standing_.done + 1;
    const auto& step = book_.steps[standing_.done];
    if (standing_.phase != Phase::ran) {
      people_.show(fmt::format(
          "\n──── Step {} of {}: {}\n\n{}\n    kmtool {}\n", number, book_.steps.size(), printable(step.title), shown(step.prose),
          printable(join(step.command.argv, " ")) + (step.command.into ? " > " + printable(*step.command.into) : "")));
      if (!take_as_done(number, step)) {
        if (!yes("Run it? [y/n] ")) stop();
        attempt(number, step);
      }
    }
    sign_off(number, step);
  }

  static std::string shown(const std::string& prose) {
    std::string text;
    for (const auto& line : split(prose, '\n')) text += printable(line) + "\n";
    return text;
  }

  /// A command that the journal says was done: it is not simply run a second time.
  bool take_as_done(std::size_t number, const Step& step) {
    const auto entry = std::exchange(done_before_, std::nullopt);
    if (!entry) return false;
    people_.show(fmt::format(
        "\nThis command was interrupted, and entry {} of the journal says that it was done. Its output is lost.\n", *entry));
    if (!yes("Take it as done (y), or run it again (n)? [y/n] ")) return false;
    const auto verdicts = judge(step.checks, nullptr, folder_);
    standing_.phase = Phase::ran;
    standing_.exit = 0;
    note_problems(verdicts);
    Ran lost;
    lost.err = fmt::format("(interrupted; done according to entry {} of the journal; the output is lost)\n", *entry);
    record(step_text(book_, number, clock_(), clock_(), lost, verdicts, folder_),
           {{"what", "taken as done"}, {"step", number}, {"entry", *entry}});
    return true;
  }

  void note_problems(const std::vector<Verdict>& verdicts) {
    standing_.problems.clear();
    for (const auto& verdict : verdicts) {
      if (verdict.kind == Verdict::Kind::failed) standing_.problems.push_back(verdict.text);
    }
  }

  void attempt(std::size_t number, const Step& step) {
    {
      auto context = open_();
      standing_.phase = Phase::begun;
      standing_.since = context.journal().size();
      record(context, {}, {{"what", "step"}, {"step", number}, {"command", step.command.text.substr(0, 4000)}});
    }
    const auto begun = clock_();
    auto ran = runner_(step.command.argv, {});
    if (step.command.into && ran.exit == 0) keep_output(step.command, folder_, ran);
    const auto ended = clock_();
    const auto verdicts = judge(step.checks, &ran, folder_);
    show(ran, verdicts);
    standing_.phase = Phase::ran;
    standing_.exit = std::clamp(ran.exit, 0, 255);
    note_problems(verdicts);
    record(step_text(book_, number, begun, ended, ran, verdicts, folder_), {{"what", "ran"},
                                                                            {"step", number},
                                                                            {"exit", ran.exit},
                                                                            {"output", hex(crypto::sha256(view(ran.out)))},
                                                                            {"failed_checks", standing_.problems.size()}});
  }

  void show(const Ran& ran, const std::vector<Verdict>& verdicts) {
    std::string text = "\n" + indented(ran.out) + indented(ran.err);
    for (const auto& verdict : verdicts)
      text += fmt::format("{} {}\n", verdict.kind == Verdict::Kind::ok ? "  holds:" : "  FAILED:", printable(verdict.text));
    if (!ran.out.empty())
      text += fmt::format("  output in words: {}\n", words_of(ByteView(crypto::sha256(view(ran.out))).first(8)));
    people_.show(text);
  }

  void sign_off(std::size_t number, const Step& step) {
    std::string decision;
    if (!standing_.problems.empty() || (standing_.exit != 0 && step.checks.empty())) {
      for (const auto& problem : standing_.problems) people_.show("This does not hold: " + printable(problem) + "\n");
      const auto answer = one_of("Run it again (r), stop here and resume later (s), or go on all the same (g)? ", "rsg");
      if (answer == 's') stop();
      if (answer == 'r') {
        standing_.phase = Phase::ready;
        record("\n- the step is run again\n", {{"what", "again"}, {"step", number}});
        return;
      }
      decision = "- DEVIATION, the ceremony went on all the same: " + printable(answered("Why? ")) + "\n";
      ++standing_.deviations;
    }
    const auto conductor = initials("Operator's initials: ", standing_.conductor, standing_.conductor_initials, standing_.witness_initials);
    const auto witness = initials("Witness's initials: ", standing_.witness, standing_.witness_initials, conductor);
    standing_.conductor_initials = conductor;
    standing_.witness_initials = witness;
    ++standing_.done;
    standing_.phase = standing_.done == book_.steps.size() ? Phase::closing : Phase::ready;
    standing_.problems.clear();
    standing_.exit = 0;
    record(fmt::format("\n{}- seen at {}: operator {}, witness {}\n", decision, rfc3339(clock_()), conductor, witness),
           {{"what", decision.empty() ? "done" : "deviation"}, {"step", number}, {"operator", conductor}, {"witness", witness}});
  }

  // -- the end ---------------------------------------------------------------------------------------------------------
  RunResult close() {
    auto context = open_();
    const auto text = file_.text().substr(0, standing_.size) + end_text(book_, standing_, clock_());
    const auto digest = hex(crypto::sha256(view(text)));
    // The journal knows what the transcript says before its checkpoint is put behind it.
    context.note("ceremony", target_.filename().string(),
                 {{"what", "ended"},
                  {"ceremony", standing_.id},
                  {"steps", standing_.done},
                  {"deviations", standing_.deviations},
                  {"text", digest}},
                 {standing_.change()});
    const auto note = context.journal().last_note().value();
    auto whole = text + "\n" + std::string(checkpoint_heading) + "\n\n" + indented(note.dump());
    const auto signature = context.sign_document(crypto::sha256(view(whole)));
    whole += fmt::format("signature ecdsa-p256-sha256 {} {}\n", context.document_key().fingerprint(), base64(signature));
    write_private_file(target_, view(whole), false);
    return forget(context, hex(crypto::sha256(view(whole))));
  }

  // -- people ----------------------------------------------------------------------------------------------------------
  [[noreturn]] static void stop() {
    throw Error(ExitCode::busy, "stopped", "the ceremony is stopped", "go on with it: kmtool ceremony run … --resume");
  }
  std::string answered(const std::string& question) {
    for (;;) {
      auto answer = people_.ask(question);
      if (!answer.empty() && answer.size() <= 500 && is_utf8(answer)) return answer;
    }
  }
  bool yes(const std::string& question) { return one_of(question, "yn") == 'y'; }
  char one_of(const std::string& question, std::string_view letters) {
    for (;;) {
      const auto answer = people_.ask(question);
      if (answer.size() == 1 && letters.find(answer[0]) != std::string_view::npos) return answer[0];
    }
  }
  std::string name(const std::string& question, const std::string& not_this) {
    for (;;) {
      auto answer = answered(question);
      if (answer != not_this && answer.size() <= 100) return answer;
      people_.show("Operator and witness are two people.\n");
    }
  }
  /// One person has one role from the first step to the last: `known` are the initials of the steps before.
  std::string initials(const std::string& question, const std::string& person, const std::string& known, const std::string& not_these) {
    for (;;) {
      auto answer = answered(question);
      const bool letters = answer.size() <= 8 && std::all_of(answer.begin(), answer.end(), [](char c) {
                             return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
                           });
      const bool two = !same_letters(answer, not_these);
      if (letters && two && (known.empty() || same_letters(answer, known))) return known.empty() ? answer : known;
      if (!letters) {
        people_.show("Initials are one to eight letters, a to z.\n");
      } else if (!two) {
        people_.show("Operator and witness are two people.\n");
      } else {
        people_.show(fmt::format("This role is {}'s, with the initials {}, for the whole ceremony.\n", printable(person), known));
      }
    }
  }
  static bool same_letters(const std::string& a, const std::string& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return (x | 0x20) == (y | 0x20); });
  }

  const Runbook& book_;
  const RunRequest& request_;
  const std::function<op::Context()>& open_;
  const Runner& runner_;
  People& people_;
  const Clock& clock_;
  std::filesystem::path target_, folder_ = std::filesystem::current_path();
  Unfinished file_;
  Standing standing_;
  std::optional<std::uint64_t> done_before_;
};

}  // namespace

RunResult run(const Runbook& runbook, const RunRequest& request, const std::function<op::Context()>& open, const Runner& runner,
              People& people, const Clock& clock) {
  return Ceremony(runbook, request, open, runner, people, clock).go();
}

}  // namespace kmtool::ceremony
