#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/ceremony/runbook.hpp"
#include "kmtool/core/time.hpp"
#include "kmtool/op/context.hpp"

namespace kmtool::ceremony {

/// Starts the program itself with these words; `home` empty: the home of the ceremony. It waits for the end.
using Runner = std::function<Ran(const std::vector<std::string>& argv, const std::filesystem::path& home)>;

// -- rehearsal --------------------------------------------------------------------------------------------------------------

struct RehearsedStep {
  std::size_t number = 0;  ///< from 1; 0: what makes the scene
  std::string title, command;
  std::size_t line = 0;
  int exit = 0;
  std::vector<std::string> problems;  ///< empty: it would go as the runbook says
  std::string message;                ///< what the command said on standard error
};
struct Rehearsal {
  std::vector<RehearsedStep> steps;
  [[nodiscard]] std::size_t failed() const;
};
/// Runs everything in `folder` (empty; the caller removes it): throwaway embedded homes `here` and, where the runbook has scenes
/// `there`, `there`; commands work in `room`. A scene that fails ends it; steps go on, so that all that would fail is named.
Rehearsal rehearse(const Runbook& runbook, const std::filesystem::path& folder, const Runner& runner,
                   const std::function<void(const RehearsedStep&)>& report, const std::function<void()>& check_stop);

// -- the ceremony itself ------------------------------------------------------------------------------------------------------

/// The people in the room.
class People {
 public:
  virtual ~People() = default;
  virtual void show(const std::string& text) = 0;
  /// One line of an answer, without blanks around it. Throws busy (75) when nobody answers any more.
  virtual std::string ask(const std::string& question) = 0;
};

struct RunRequest {
  std::filesystem::path transcript;  ///< the signed transcript; until then NAME.unfinished
  bool resume = false;
};
struct RunResult {
  std::string id, transcript, digest;
  std::size_t steps = 0, deviations = 0;
};
/// Goes through the runbook's steps: shows, waits for a yes, runs, judges, takes initials, writes down. What was done is in the
/// journal before the next step begins, and a ceremony that broke off goes on from there: the file is only held against it.
/// Throws exists (73) where a ceremony for this transcript is open and `resume` is not asked for, missing (66) the other way
/// round, damaged (65) where runbook or unfinished transcript are not those of the journal, busy (75) when it is stopped: it can
/// be resumed.
///
/// `open` gives a context for a mutation; none is open while a command runs.
RunResult run(const Runbook& runbook, const RunRequest& request, const std::function<op::Context()>& open, const Runner& runner,
              People& people, const Clock& clock);

// -- transcripts ----------------------------------------------------------------------------------------------------------------

struct Transcript {
  std::string digest;  ///< SHA-256 of the whole file, hex
  std::string title, id, runbook, begun, ended;
  std::size_t steps = 0, deviations = 0;
  tlog::Note checkpoint;
  std::string signer;  ///< fingerprint that the signature names
};
/// Structure and signature. Throws damaged (65) for anything that is not a whole transcript, or a signature that names `signer`
/// and is not good; no (1) where it names another.
Transcript verify_transcript(const std::filesystem::path& file, const crypto::PublicKey& signer);

}  // namespace kmtool::ceremony
