#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/core/bytes.hpp"

namespace kmtool::ceremony {

/// A runbook: Markdown in which prose is for the people in the room and fenced blocks are for the program (kmtool-ceremony(1)).

/// One command line of a `kmtool` or `rehearsal` block: words for the program, and no shell.
struct Command {
  std::vector<std::string> argv;    ///< without `kmtool`
  std::string text;                 ///< as it was written
  std::optional<std::string> into;  ///< `> FILE`: where its standard output goes; a new file
  std::size_t line = 0;
  /// The values of --out and --shares … and `into`: files that the command makes, as far as the command line tells.
  [[nodiscard]] std::vector<std::string> files() const;
};

/// What one line of a `check` block states of the command before it.
struct Check {
  enum class Kind { exit, contains, lacks, error_contains, json_equals, json_count, json_exists, file_exists, file_absent };
  Kind kind = Kind::exit;
  std::string subject, value;  ///< path or file; what it is compared with
  std::string text;            ///< as it was written
  std::size_t line = 0;
};

struct Step {
  std::string title;  ///< the heading above, or the command
  std::string prose;  ///< Markdown source between the step before and this one
  Command command;
  std::vector<Check> checks;  ///< `exit 0` where none speaks of the exit code
};

/// What is done before a rehearsal: on the rehearsed home (`rehearsal here`), or on a second one that plays the other site
/// (`rehearsal there`).
struct Scene {
  bool there = false;
  Command command;
};

struct Runbook {
  std::string name;    ///< file name, for messages
  std::string title;   ///< the first heading
  std::string digest;  ///< SHA-256 of the file, hex
  Bytes digest_bytes;
  std::vector<Step> steps;
  std::vector<Scene> scenes;
  std::string closing;  ///< prose after the last step
};

/// Throws damaged (65) with the line for what cannot be understood, refused (77) for what no runbook may ask for: --home,
/// --module, --hook,
/// --pin-source, exec:, a command that starts programs or ceremonies.
Runbook parse_runbook(const std::string& text, const std::string& name);
Runbook read_runbook(const std::filesystem::path& path);

/// What a command gave.
struct Ran {
  int exit = 0;
  std::string out, err;
};

struct Verdict {
  enum class Kind { ok, failed, unknown } kind = Kind::ok;
  std::string text;  ///< the check, and for a failed one what was found instead
};
/// Relative files are looked for in `folder`. Without `ran` (its output was lost) only files can be looked at; the others are
/// unknown.
std::vector<Verdict> judge(const std::vector<Check>& checks, const Ran* ran, const std::filesystem::path& folder);

}  // namespace kmtool::ceremony
