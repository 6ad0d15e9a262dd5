#include <fmt/format.h>

#include <algorithm>

#include "ceremony/into.hpp"
#include "kmtool/ceremony/ceremony.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::ceremony {

namespace {

namespace fs = std::filesystem;

RehearsedStep rehearsed(std::size_t number, const std::string& title, const Command& command, const Ran& ran,
                        const std::vector<Verdict>& verdicts) {
  RehearsedStep step{number, title, command.text, command.line, ran.exit, {}, {}};
  for (const auto& verdict : verdicts) {
    if (verdict.kind == Verdict::Kind::failed) step.problems.push_back(verdict.text);
  }
  if (!step.problems.empty()) step.message = ran.err;
  return step;
}

/// Nothing outside the rehearsal's folder may be written: the files there are real.
void require_inside(const Command& command) {
  auto files = command.files();
  for (std::size_t i = 0; i + 1 < command.argv.size(); ++i) {
    for (const char* option : {"--shares", "--png", "--text"}) {
      if (command.argv[i] == option) files.push_back(command.argv[i + 1]);
    }
  }
  for (const auto& file : files) {
    const fs::path path(file);
    if (path.is_relative() && std::find(path.begin(), path.end(), "..") == path.end()) continue;
    throw Error::usage("line " + std::to_string(command.line) + " writes " + printable(file) + ", which a rehearsal must not touch",
                       "name files relative to the folder that the ceremony is held in; nothing was rehearsed");
  }
}

}  // namespace

std::size_t Rehearsal::failed() const {
  return static_cast<std::size_t>(
      std::count_if(steps.begin(), steps.end(), [](const RehearsedStep& step) { return !step.problems.empty(); }));
}

Rehearsal rehearse(const Runbook& runbook, const fs::path& folder, const Runner& runner,
                   const std::function<void(const RehearsedStep&)>& report, const std::function<void()>& check_stop) {
  Rehearsal rehearsal;
  const auto here = folder / "here", there = folder / "there", room = folder / "room";
  const auto take = [&](RehearsedStep step) {
    report(step);
    rehearsal.steps.push_back(std::move(step));
    return rehearsal.steps.back().problems.empty();
  };
  const auto perform = [&](const Command& command, const fs::path& home) {
    check_stop();
    auto ran = runner(command.argv, home);
    if (command.into && ran.exit == 0) keep_output(command, room, ran);
    return ran;
  };
  for (const auto& scene : runbook.scenes) require_inside(scene.command);
  for (const auto& step : runbook.steps) require_inside(step.command);
  fs::create_directories(room);
  const bool two_sites =
      std::any_of(runbook.scenes.begin(), runbook.scenes.end(), [](const Scene& scene) { return scene.there; });
  for (const auto& home : two_sites ? std::vector<fs::path>{here, there} : std::vector<fs::path>{here}) {
    const auto ran = runner({"init", "--embedded"}, home);
    if (ran.exit != 0) throw Error(ExitCode::unavailable, "rehearsal", "no throwaway token can be made", printable(ran.err));
  }
  for (const auto& scene : runbook.scenes) {
    const auto ran = perform(scene.command, scene.there ? there : here);
    const Check done{Check::Kind::exit, {}, "0", "exit 0", scene.command.line};
    if (!take(rehearsed(0, scene.there ? "the other site" : "the scene", scene.command, ran, judge({done}, &ran, room))))
      return rehearsal;
  }
  std::size_t number = 0;
  for (const auto& step : runbook.steps) {
    const auto ran = perform(step.command, here);
    take(rehearsed(++number, step.title, step.command, ran, judge(step.checks, &ran, room)));
  }
  return rehearsal;
}

}  // namespace kmtool::ceremony
