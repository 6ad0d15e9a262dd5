// A ceremony's runbook: Markdown, command lines, checks; and what a command printed, held against the checks.
#include "kmtool/ceremony/runbook.hpp"

#include "target.hpp"

using namespace kmtool;
using namespace kmtool::ceremony;

namespace {

/// What no runbook may ask for, however it was written.
void allowed(const Command& command) {
  fuzz::require(!command.argv.empty() && command.line > 0 && !command.argv[0].starts_with('-') && command.argv[0] != "ceremony");
  for (const auto& word : command.argv) {
    for (const std::string option : {"--home", "--module", "--module-args", "--hook", "--pin-source"})
      fuzz::require(word != option && !word.starts_with(option + "="));
    fuzz::require(!word.starts_with("exec:") && word.find("=exec:") == std::string::npos);
  }
  fuzz::require(fuzz::visible(command.text));
  for (const auto& file : command.files()) (void)file;
}

/// The command alone, as the transcript shows it, is the same command.
void same_alone(const Command& command) {
  const std::string fence(command.text.size() + 4, '~');
  const auto book = parse_runbook(fence + "kmtool\nkmtool " + command.text + "\n" + fence + "\n", "alone");
  fuzz::require(book.steps.size() == 1 && book.steps[0].command.argv == command.argv && book.steps[0].command.into == command.into);
}

void judged(const std::vector<Check>& checks, const std::string& text) {
  for (const auto& ran : {Ran{0, text, text}, Ran{0, R"({"keys":[{"name":"root","state":"active"},1,null,[]],"count":2})", ""}}) {
    const auto verdicts = judge(checks, &ran, "/nonexistent");
    fuzz::require(verdicts.size() == checks.size());
    for (const auto& verdict : verdicts) fuzz::require(verdict.kind != Verdict::Kind::unknown && !verdict.text.empty());
  }
  for (const auto& verdict : judge(checks, nullptr, "/nonexistent")) fuzz::require(!verdict.text.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string text(fuzz::text_of(data, size));
  fuzz::expect_refusal([&] {
    const auto book = parse_runbook(text, "runbook.md");
    fuzz::require(!book.steps.empty() && book.steps.size() <= 1000 && !book.title.empty() && book.digest.size() == 64);
    for (const auto& scene : book.scenes) allowed(scene.command);
    for (const auto& step : book.steps) {
      allowed(step.command);
      fuzz::require(!step.title.empty() && !step.checks.empty());
      same_alone(step.command);
      judged(step.checks, text);
    }
  });
  return 0;
}
