#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "ceremony_runner.hpp"
#include "common.hpp"
#include "kmtool/ceremony/ceremony.hpp"
#include "kmtool/core/count.hpp"
#include "kmtool/core/encoding.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/core/words.hpp"

namespace kmtool::cmd {

namespace {

struct CeremonyOptions {
  std::string runbook, transcript, signer, file;
  bool resume = false;
};

// -- rehearse -------------------------------------------------------------------------------------------------------------

/// A folder of our own, gone afterwards.
class Throwaway {
 public:
  Throwaway() {
    const char* base = std::getenv("TMPDIR");
    std::string name = std::string(base != nullptr && *base != '\0' ? base : "/tmp") + "/kmtool-rehearsal-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) throw Error::from_errno("create", name, errno);
    path_ = std::filesystem::canonical(name);
    std::filesystem::create_directory(path_ / "room");
  }
  Throwaway(const Throwaway&) = delete;
  Throwaway& operator=(const Throwaway&) = delete;
  ~Throwaway() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

void report_step(Globals& globals, std::size_t total, const ceremony::RehearsedStep& step) {
  if (json_wanted(globals) || (step.number == 0 && step.problems.empty() && globals.verbose == 0)) return;
  const auto where = step.number == 0 ? step.title : fmt::format("step {} of {}", step.number, total);
  globals.out.line(fmt::format("{}  {}: kmtool {}", step.problems.empty() ? "ok    " : "FAILS ", where, printable(step.command)));
  for (const auto& problem : step.problems) globals.out.line(fmt::format("        line {}: {}", step.line, printable(problem)));
  for (const auto& line : split(step.message, '\n')) {
    if (!line.empty()) globals.out.line("        " + printable(line));
  }
}

Json json_of(const ceremony::Runbook& book, const ceremony::Rehearsal& rehearsal) {
  Json json{{"runbook", book.name}, {"digest", book.digest}, {"steps", Json::array()}};
  for (const auto& step : rehearsal.steps) {
    json["steps"].push_back({{"step", step.number},
                             {"title", step.title},
                             {"command", step.command},
                             {"line", step.line},
                             {"exit", step.exit},
                             {"problems", step.problems},
                             {"message", step.message}});
  }
  json["failed"] = rehearsal.failed();
  return json;
}

int rehearse(Globals& globals, const CeremonyOptions& o) {
  const auto book = ceremony::read_runbook(o.runbook);
  const Throwaway folder;
  ProgramRunner runner(folder.path() / "room");
  const auto start = [&](std::vector<std::string> argv, const std::filesystem::path& home) {
    argv.emplace_back("--no-input");
    return runner.run(argv, home, {});
  };
  const auto check_stop = [&globals] {
    if (globals.stop.requested()) throw Error(ExitCode::busy, "stopped", "stopped on request");
  };
  const auto rehearsal = ceremony::rehearse(
      book, folder.path(), start, [&](const auto& step) { report_step(globals, book.steps.size(), step); }, check_stop);
  if (json_wanted(globals)) {
    globals.out.json(json_of(book, rehearsal));
  } else {
    const auto failed = rehearsal.failed();
    globals.out.line(failed == 0 ? counted(book.steps.size(), "step") + " rehearsed on a throwaway token: all would go"
                                 : fmt::format("{} of {} would fail", failed, rehearsal.steps.size()));
    globals.out.line("runbook SHA-256 " + book.digest);
    globals.out.line("in words: " + words_of(book.digest_bytes));
  }
  return rehearsal.failed() == 0 ? 0 : 1;
}

// -- run ------------------------------------------------------------------------------------------------------------------

class Terminal : public ceremony::People {
 public:
  explicit Terminal(const Globals& globals) : stop_(globals.stop) {
    if (!globals.no_input) fd_ = Fd(open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
    if (!fd_)
      throw Error::refused("confirm", "a ceremony needs its people, and nobody can be asked",
                           "run it at a terminal; kmtool ceremony rehearse needs nobody");
  }
  void show(const std::string& text) override { write_all(fd_.get(), view(text), "/dev/tty"); }
  std::string ask(const std::string& question) override {
    show("\n" + question);
    std::string answer;
    for (;;) {
      char c = 0;
      const ssize_t n = ::read(fd_.get(), &c, 1);
      if (stop_.requested() || n == 0 || (n < 0 && errno != EINTR)) {
        show("\n");
        throw Error(ExitCode::busy, "stopped", "the ceremony is stopped", "go on with it: kmtool ceremony run … --resume");
      }
      if (n < 0) continue;
      if (c == '\n') break;
      if (answer.size() < 2000) answer += c;
    }
    while (!answer.empty() && (answer.back() == ' ' || answer.back() == '\t' || answer.back() == '\r')) answer.pop_back();
    answer.erase(0, std::min(answer.find_first_not_of(" \t"), answer.size()));
    return answer;
  }

 private:
  const StopToken& stop_;
  Fd fd_;
};

/// A PIN that cannot be had twice is asked for once, for all commands and for ourselves.
SecretBytes pin_for_all(const std::string& source, bool no_input) {
  if (source.empty() || source == "protected") return {};
  const auto parsed = home::PinSource::parse(source);
  using Kind = home::PinSource::Kind;
  if (parsed.kind != Kind::prompt && parsed.kind != Kind::fd && parsed.kind != Kind::env) return {};
  return home::read_pin(parsed, no_input);
}

int run(Globals& globals, const CeremonyOptions& o) {
  if (globals.dry_run)
    throw Error::usage("a ceremony has no --dry-run", "kmtool ceremony rehearse RUNBOOK goes through it on a throwaway token");
  const auto book = ceremony::read_runbook(o.runbook);
  auto options = options_of(globals);
  const auto home = home::open_home(options.paths);
  Terminal people(globals);
  // Forked before PIN and module are here.
  ProgramRunner runner(std::filesystem::current_path(), options.paths.root / "ceremony.lock");
  const auto source = options.pin_source.empty() ? home.config.pin_source : options.pin_source;
  auto pin = pin_for_all(source, globals.no_input);
  if (!pin.empty()) runner.give_pin(SecretBytes(pin.reveal()));
  const auto open_context = [&] {
    Fd keeps;
    if (!pin.empty()) options.pin_source = ProgramRunner::pin_source_of(pin, keeps);
    return op::Context::open_recorded(options, op::Need::mutation, "ceremony", book.name);
  };
  const auto start = [&](const std::vector<std::string>& argv, const std::filesystem::path&) {
    return runner.run(argv, options.paths.root, pin.empty() ? source : "");
  };
  const auto done = ceremony::run(book, {o.transcript, o.resume}, open_context, start, people, options.clock);
  if (json_wanted(globals)) {
    globals.out.json(Json{{"ceremony", done.id},
                          {"transcript", done.transcript},
                          {"digest", done.digest},
                          {"steps", done.steps},
                          {"deviations", done.deviations}});
  } else {
    globals.out.line(counted(done.steps, "step") + ", " + counted(done.deviations, "deviation") + "; the transcript is " + done.transcript);
    globals.out.line("SHA-256 " + done.digest);
    globals.out.line("in words: " + words_of(from_hex(done.digest).value()));
  }
  return 0;
}

// -- verify ---------------------------------------------------------------------------------------------------------------

/// Whether the checkpoint lies on the journal of this home; `not checked` where it is another's, or there is no home.
std::string journal_verdict(Globals& globals, const ceremony::Transcript& transcript) {
  std::error_code ignored;
  const auto options = options_of(globals);
  if (!std::filesystem::exists(options.paths.config(), ignored)) return "not checked";
  auto context = op::Context::open(options, op::Need::reader);
  const auto checkpoint = tlog::parse_checkpoint(transcript.checkpoint.text);
  if (checkpoint.origin != context.home.config.origin()) return "not checked";
  const auto key = crypto::PublicKey::read_pem(options.paths.signers() / "log.pem");
  const bool whole = context.journal().contains_root(checkpoint.size, checkpoint.root);
  if (!whole) throw Error::tampered("the checkpoint of the transcript is not on the journal of this home");
  return tlog::verify_note(transcript.checkpoint, checkpoint.origin, key) ? "ok" : "ok, signed by an earlier log signer";
}

int verify(Globals& globals, const CeremonyOptions& o) {
  const auto transcript = ceremony::verify_transcript(o.file, crypto::PublicKey::read_pem(o.signer));
  const auto journal = journal_verdict(globals, transcript);
  const auto checkpoint = tlog::parse_checkpoint(transcript.checkpoint.text);
  if (json_wanted(globals)) {
    globals.out.json(Json{{"ceremony", transcript.id},
                          {"title", transcript.title},
                          {"signature", "ok"},
                          {"signer", transcript.signer},
                          {"digest", transcript.digest},
                          {"runbook", transcript.runbook},
                          {"begun", transcript.begun},
                          {"ended", transcript.ended},
                          {"steps", transcript.steps},
                          {"deviations", transcript.deviations},
                          {"journal", journal},
                          {"entries", checkpoint.size}});
    return 0;
  }
  globals.out.line("signature   ok: by " + transcript.signer);
  globals.out.line("ceremony    " + printable(transcript.title) + " (" + printable(transcript.id) + ")");
  globals.out.line(fmt::format("time        {} to {}", printable(transcript.begun), printable(transcript.ended)));
  globals.out.line(fmt::format("steps       {}, {} {}", transcript.steps, transcript.deviations,
                               transcript.deviations == 1 ? "deviation" : "deviations"));
  globals.out.line("runbook     SHA-256 " + printable(transcript.runbook));
  globals.out.line("journal     " + counted(checkpoint.size, "entry", "entries") + ": " + journal);
  globals.out.line("SHA-256     " + transcript.digest);
  globals.out.line("in words    " + words_of(from_hex(transcript.digest).value()));
  return 0;
}

}  // namespace

void add_ceremony(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("ceremony", "rehearse, run and verify key ceremonies");
  sub->require_subcommand(1);
  auto o = std::make_shared<CeremonyOptions>();
  auto* rehearsed = sub->add_subcommand("rehearse", "run a runbook on a throwaway token, and say what would fail");
  rehearsed->add_option("runbook", o->runbook, "the runbook, Markdown")->required()->type_name("FILE");
  rehearsed->callback([&globals, &action, o] { action = [&globals, o] { return rehearse(globals, *o); }; });
  auto* ran = sub->add_subcommand("run", "go through a runbook with an operator and a witness");
  ran->add_option("runbook", o->runbook, "the runbook, Markdown")->required()->type_name("FILE");
  ran->add_option("--transcript", o->transcript, "the signed transcript to write")->required()->type_name("FILE");
  ran->add_flag("--resume", o->resume, "go on with the ceremony that broke off");
  ran->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
  auto* verified = sub->add_subcommand("verify", "verify a transcript");
  verified->add_option("file", o->file, "the transcript")->required()->type_name("FILE");
  verified->add_option("--signer", o->signer, "public key of the home's document signer")->required()->type_name("PEM");
  verified->callback([&globals, &action, o] { action = [&globals, o] { return verify(globals, *o); }; });
}

}  // namespace kmtool::cmd
