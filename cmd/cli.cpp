#include "cli.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <utility>

#include "kmtool/core/file.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {
namespace {

using Instant = std::chrono::steady_clock::time_point;

void to_stderr(const std::string& text) noexcept {
  if (::write(STDERR_FILENO, text.data(), text.size()) < 0) return;  // nowhere left to say so
}

bool progress_shown = false;

std::string time_left(double seconds) {
  const auto whole = std::lround(seconds);
  if (whole >= 3600) return fmt::format("{}h{:02}m", whole / 3600, whole % 3600 / 60);
  if (whole >= 60) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}s", whole);
}

struct ProgressState {
  std::string what;
  Instant begun, shown;
  std::uint64_t first = 0;  ///< done when it began: the rate is of what we have seen
};

std::string progress_line(const ProgressState& state, Instant now, std::uint64_t done, std::uint64_t total) {
  const double seconds = std::chrono::duration<double>(now - state.begun).count();
  const double rate = seconds > 0.2 ? static_cast<double>(done - state.first) / seconds : 0;
  std::string line = printable(state.what) + ": " + std::to_string(done);
  if (total > 0) line += fmt::format("/{} ({}%)", total, done * 100 / total);
  if (rate > 0) line += fmt::format(", {:.{}f}/s", rate, rate < 10 ? 1 : 0);
  if (rate > 0 && total > done) line += ", " + time_left(static_cast<double>(total - done) / rate) + " left";
  return line;
}

void show_progress(ProgressState& state, const std::string& what, std::uint64_t done, std::uint64_t total) {
  const Instant now = std::chrono::steady_clock::now();
  if (what != state.what || done < state.first) state = {what, now, now, done};  // short work shows nothing
  if (total > 0 && done >= total) {
    clear_progress();
    state.what.clear();
    return;
  }
  if (now - state.shown < std::chrono::milliseconds(200)) return;
  state.shown = now;
  to_stderr("\r" + progress_line(state, now, done, total) + "\033[K");
  progress_shown = true;
}

}  // namespace

// -- output -------------------------------------------------------------------------------------------------------------

void Output::line(std::string_view text) {
  text_ += text;
  text_ += '\n';
}

void Output::table(const Table& table, bool headings) { text_ += table.text(headings); }

namespace {

/// Names of files need not be UTF-8; a document is. They are written in it as on a terminal, and nothing of it is lost for one of them.
bool all_utf8(const Json& value) {
  if (value.is_string()) return is_utf8(value.get_ref<const std::string&>());
  return !value.is_structured() || std::all_of(value.begin(), value.end(), all_utf8);
}

void escape_foreign(Json& value) {
  if (value.is_string() && !all_utf8(value)) value = printable(value.get_ref<const std::string&>());
  if (!value.is_structured()) return;
  for (auto& item : value) escape_foreign(item);
}

}  // namespace

void Output::json(const Json& document) {
  if (dry_run_ && document.is_object() && !document.contains("dry_run")) {
    Json marked = document;
    marked["dry_run"] = true;
    return json(marked);
  }
  if (all_utf8(document)) {
    text_ += dump_json(document);
  } else {
    Json escaped = document;
    escape_foreign(escaped);
    text_ += dump_json(escaped);
  }
  text_ += '\n';
}

void Output::raw(ByteView bytes) { text_.append(bytes.begin(), bytes.end()); }

void Output::flush(int fd) {
  const std::string text = std::exchange(text_, {});
  if (!text.empty()) write_all(fd, view(text), "standard output");
}

// -- global options -----------------------------------------------------------------------------------------------------

CLI::Option* repeatable(CLI::Option* option) { return option->allow_extra_args(false); }

void add_globals(CLI::App& app, Globals& globals) {
  constexpr const char* group = "Global options";
  app.fallthrough();
  app.option_defaults()->group(group);
  app.add_option("--home", globals.home, "the home folder (KMTOOL_HOME; default: $XDG_DATA_HOME/kmtool)")->type_name("DIR");
  app.add_option("--pin-source", globals.pin_source,
                 "where the PIN comes from: file:PATH, fd:N, env:NAME, exec:COMMAND or prompt (KMTOOL_PIN_SOURCE)")
      ->type_name("SOURCE");
  app.add_option("--format", globals.format, "table, json, or what else the command offers")->type_name("FORMAT");
  app.add_flag("--json", globals.json, "one JSON document on standard output; the same as --format json");
  app.add_flag("--no-input", globals.no_input, "never ask; fail instead");
  app.add_flag("-q,--quiet", globals.quiet, "no progress, no notes");
  app.add_flag("-v,--verbose", globals.verbose, "say more; may be repeated");
  app.add_flag("-n,--dry-run", globals.dry_run, "say what would be done, change nothing");
  repeatable(app.add_option("--waive", globals.waive, "pass one rule, on record; may be repeated")->type_name("RULE=REASON"));
  app.add_flag("-f,--force", globals.force, "overwrite the output file");
  app.add_flag("-y,--yes", globals.yes, "answer yes to every question");
  app.option_defaults()->group("Options");
}

void offer_formats(const CLI::App* sub, Globals& globals, std::vector<std::string> formats) { globals.formats[sub] = std::move(formats); }

void require_format(const CLI::App& sub, Globals& globals) {
  const std::string& wanted = globals.format;
  const CLI::App* root = &sub;
  while (root->get_parent() != nullptr) root = root->get_parent();
  const bool said = root->get_option("--format")->count() > 0;
  if (globals.json && said && wanted != "json") throw Error::usage("--json and --format " + printable(wanted) + " exclude each other", "leave one of them out");
  const auto own = globals.formats.find(&sub);
  globals.offered = own == globals.formats.end() ? std::vector<std::string>{"table", "json"} : own->second;
  if (globals.json && std::find(globals.offered.begin(), globals.offered.end(), "json") == globals.offered.end()) {
    throw Error::usage("this command has no JSON output", "leave --json out");
  }
  if (wanted == "table" || std::find(globals.offered.begin(), globals.offered.end(), wanted) != globals.offered.end()) return;
  throw Error::usage("this command has no format " + printable(wanted), "it has " + join(globals.offered, ", "));
}

std::string chosen_format(const Globals& globals) {
  if (globals.json) return "json";
  return globals.format == "table" ? globals.offered.front() : globals.format;
}

// -- people -------------------------------------------------------------------------------------------------------------

Progress make_progress(const Globals& globals) {
  const bool shown = !globals.quiet && !globals.json && isatty(STDERR_FILENO) != 0;
  if (!shown) return [](const std::string&, std::uint64_t, std::uint64_t) {};
  return [state = std::make_shared<ProgressState>()](const std::string& what, std::uint64_t done, std::uint64_t total) {
    show_progress(*state, what, done, total);
  };
}

void clear_progress() noexcept {
  if (std::exchange(progress_shown, false)) to_stderr("\r\033[K");
}

namespace {

void tell(const Globals& globals, const std::string& line) {
  if (globals.quiet) return;
  if (globals.json) {
    globals.held.push_back(line);
    return;
  }
  clear_progress();
  to_stderr(line + "\n");
}

}  // namespace

void warn(const Globals& globals, const std::string& text) { tell(globals, "warning: " + printable(text)); }

void note(const Globals& globals, const std::string& text) { tell(globals, "note: " + printable(text)); }

void release_held(const Globals& globals) {
  for (const auto& line : std::exchange(globals.held, {})) to_stderr(line + "\n");
}

std::optional<std::string> ask(const Globals& globals, const std::string& question) {
  const Fd terminal(globals.no_input ? -1 : open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (!terminal) return std::nullopt;
  clear_progress();
  release_held(globals);  // who is asked must have read it
  write_all(terminal.get(), view(printable(question)), "/dev/tty");
  std::string answer;
  for (char c = 0; ::read(terminal.get(), &c, 1) == 1 && c != '\n';) answer += c;
  return answer;
}

bool confirm(const Globals& globals, const std::string& question) {
  if (globals.yes) return true;
  const auto answer = ask(globals, question + " [y/N] ");
  if (!answer) throw Error::refused("confirm", "this needs a yes, and nobody can be asked", "say --yes");
  return answer == "y" || answer == "Y" || answer == "yes" || answer == "YES";
}

}  // namespace kmtool::cmd
