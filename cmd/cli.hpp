#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kmtool/core/bytes.hpp"
#include "kmtool/core/error.hpp"
#include "kmtool/core/json.hpp"
#include "kmtool/core/progress.hpp"
#include "table.hpp"

namespace kmtool::cmd {

/// What a command has to say on standard output. It is kept until the command has succeeded: on exit 64 and above standard
/// output stays empty. main flushes it.
class Output {
 public:
  void line(std::string_view text);  ///< adds the LF; foreign text goes through printable() first
  void table(const Table& table, bool headings = true);
  void json(const Json& document);  ///< one document on one line
  /// From now on a document that is an object ends with "dry_run": true, so that no script takes a plan for what was done.
  void mark_dry_run() noexcept { dry_run_ = true; }
  void raw(ByteView bytes);         ///< product of encrypt, random…
  /// A document that goes with exit 1 as well (Error of ExitCode::no, or an action that returns 1).
  void clear() noexcept { text_.clear(); }
  [[nodiscard]] bool empty() const noexcept { return text_.empty(); }
  /// Writes it all to the descriptor and forgets it. Throws io (74): a closed pipe, a full disk.
  void flush(int fd = 1);

 private:
  std::string text_;
  bool dry_run_ = false;
};

/// Global options, and what every command shares.
struct Globals {
  std::string home, pin_source, format = "table";
  bool json = false;  ///< --json or --format json
  bool no_input = false, quiet = false, dry_run = false, force = false, yes = false;
  int verbose = 0;
  std::vector<std::string> waive;  ///< RULE=REASON each

  std::map<const CLI::App*, std::vector<std::string>> formats;  ///< of commands that offer more than table and json; first: what `table` means
  std::vector<std::string> offered;                              ///< those of the command that was called
  /// With --json, what there is to say to people: standard error stays empty until it is known whether it carries the one line of an error.
  mutable std::vector<std::string> held;

  std::vector<std::string> behind_dashes;  ///< of apikey exec: the command to run; the command line is cut at its first `--`
  unsigned file_mask = 022;                ///< the umask that kmtool was started with

  Output out;
  StopToken stop;  ///< set by SIGINT and SIGTERM
};

/// Run after parsing; returns the exit code.
using Action = std::function<int()>;

/// Global options, accepted before and after the subcommand. Must be called before any subcommand is added: they inherit it.
void add_globals(CLI::App& app, Globals& globals);
/// For repeatable options: one value per occurrence.
CLI::Option* repeatable(CLI::Option* option);
/// Says which formats a command has (first: what `table` means here); others are refused before it is run.
void offer_formats(const CLI::App* sub, Globals& globals, std::vector<std::string> formats);
/// Throws usage (64) where --format is none that the command has, or --json contradicts it.
void require_format(const CLI::App& sub, Globals& globals);
/// What was chosen of those.
std::string chosen_format(const Globals& globals);
/// Progress on standard error when that is a terminal and neither --quiet nor JSON is asked for; an empty function otherwise.
Progress make_progress(const Globals& globals);
/// Removes an unfinished progress line before something else is printed.
void clear_progress() noexcept;
/// A line on standard error for people: `warning: …`. Silent with --quiet; with --json it is held back until the command is over, and goes
/// into the error's "warnings" where it failed.
void warn(const Globals& globals, const std::string& text);
void note(const Globals& globals, const std::string& text);
/// Writes what was held back.
void release_held(const Globals& globals);
/// Asks on the terminal; true for yes. --yes answers yes; --no-input or no terminal: refused (77) naming --yes.
bool confirm(const Globals& globals, const std::string& question);

/// Asks for a line on the terminal; nullopt with --no-input or where there is none.
std::optional<std::string> ask(const Globals& globals, const std::string& question);

// One file each. The callback of the subcommand sets `action`.
void add_init(CLI::App& app, Globals& globals, Action& action);
void add_doctor(CLI::App& app, Globals& globals, Action& action);
void add_home(CLI::App& app, Globals& globals, Action& action);
void add_token(CLI::App& app, Globals& globals, Action& action);
void add_signer(CLI::App& app, Globals& globals, Action& action);
void add_policy(CLI::App& app, Globals& globals, Action& action);
void add_gen(CLI::App& app, Globals& globals, Action& action);
void add_list(CLI::App& app, Globals& globals, Action& action);
void add_show(CLI::App& app, Globals& globals, Action& action);
void add_state(CLI::App& app, Globals& globals, Action& action);
void add_adopt(CLI::App& app, Globals& globals, Action& action);
void add_rotate(CLI::App& app, Globals& globals, Action& action);
void add_bundles(CLI::App& app, Globals& globals, Action& action);
void add_monitor(CLI::App& app, Globals& globals, Action& action);
void add_wrap(CLI::App& app, Globals& globals, Action& action);
void add_verify(CLI::App& app, Globals& globals, Action& action);
void add_inspect(CLI::App& app, Globals& globals, Action& action);
void add_unwrap(CLI::App& app, Globals& globals, Action& action);
void add_audit(CLI::App& app, Globals& globals, Action& action);  // audit.hpp: one file a subcommand
void add_apikey(CLI::App& app, Globals& globals, Action& action);
void add_share(CLI::App& app, Globals& globals, Action& action);
void add_ceremony(CLI::App& app, Globals& globals, Action& action);
void add_encrypt(CLI::App& app, Globals& globals, Action& action);
void add_decrypt(CLI::App& app, Globals& globals, Action& action);
void add_sign(CLI::App& app, Globals& globals, Action& action);
void add_verify_signature(CLI::App& app, Globals& globals, Action& action);
void add_mac(CLI::App& app, Globals& globals, Action& action);
void add_random(CLI::App& app, Globals& globals, Action& action);
void add_csr(CLI::App& app, Globals& globals, Action& action);
void add_cert(CLI::App& app, Globals& globals, Action& action);
void add_export_kek(CLI::App& app, Globals& globals, Action& action);
void add_import_kek(CLI::App& app, Globals& globals, Action& action);
/// Last of all: it reads the tree of the others. Options and arguments are completed by their type_name(): FILE, DIR or PEM
/// (files), KEY or KEK (names of keys), a set of choices (CLI::IsMember); positional ones by their own name too.
void add_completion(CLI::App& app, Globals& globals, Action& action);

}  // namespace kmtool::cmd
