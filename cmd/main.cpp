#include <fcntl.h>
#include <fmt/format.h>
#include <langinfo.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <exception>
#include <new>
#include <set>

#include "cli.hpp"
#include "kmtool/core/notices.hpp"
#include "kmtool/core/secret.hpp"
#include "kmtool/core/text.hpp"

namespace kmtool::cmd {
namespace {

constexpr const char* version_text =
    "kmtool " KMTOOL_VERSION "\nlicensed under the Apache License 2.0; no warranty, as far as the law permits";
constexpr const char* description =
    "kmtool: keys that never leave the token except wrapped, on a record that cannot be rewritten unnoticed";
constexpr const char* footer =
    "Exit codes: 0 done, 1 the answer is no, 64 usage, 65 damaged or tampered, 66 input missing, 69 token unavailable,\n"
    "70 internal, 73 output exists, 74 I/O, 75 busy, 77 refused, 78 configuration.\n"
    "kmtool COMMAND --help says more of a command.";

StopToken* stop_token = nullptr;

/// A number that is free here would be given to a database or a bundle, and a stray message would land in it.
void fill_standard_descriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    // The wrong way round, so that using it fails as a closed one would.
    if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) return;
  }
}

/// kmtool writes UTF-8 whatever the locale; the character type matters for the width of table cells.
void set_character_type() {
  const char* set = std::setlocale(LC_CTYPE, "");
  if (set != nullptr && std::strcmp(nl_langinfo(CODESET), "UTF-8") == 0) return;
  if (std::setlocale(LC_CTYPE, "C.UTF-8") == nullptr) return;  // only the widths are off then
}

void set_signals(StopToken& stop) {
  stop_token = &stop;
  struct sigaction action {};
  action.sa_handler = [](int number) {  // a second one, of either kind, ends us at once; the next command mends what was open
    static volatile std::sig_atomic_t asked = 0;
    if (asked != 0) {
      if (std::signal(number, SIG_DFL) == SIG_ERR || raise(number) != 0) _exit(128 + number);
    }
    asked = 1;
    stop_token->request();
  };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
  sigaction(SIGXFSZ, &action, nullptr);  // the write fails with EFBIG, like one on a full disk
}

// -- failing ------------------------------------------------------------------------------------------------------------

void say(const std::string& text) {
  if (::write(STDERR_FILENO, text.data(), text.size()) < 0) return;  // nowhere left to say so
}

int report(const Error& error, bool json, Globals& globals) {
  clear_progress();
  for (const auto& text : take_notices()) note(globals, text);
  const int exit = static_cast<int>(error.exit());
  if (json && exit >= 64) {
    Json what;
    what["code"] = printable(error.code());
    what["exit"] = exit;
    what["message"] = printable(error.message());
    what["hint"] = printable(error.hint());
    if (!globals.held.empty()) what["warnings"] = std::exchange(globals.held, {});
    say(dump_json(Json{{"error", what}}) + "\n");
    return exit;
  }
  release_held(globals);
  say("error: " + printable(error.message()) + "\n");
  if (!error.hint().empty()) say("hint: " + printable(error.hint()) + "\n");
  return exit;
}

/// Before parsing, which may fail half-way: how errors shall look.
bool wants_json(const std::vector<std::string>& words) {
  for (std::size_t i = 0; i < words.size() && words[i] != "--"; ++i) {
    if (words[i] == "--json" || words[i] == "--format=json") return true;
    if (words[i] == "--format" && i + 1 < words.size() && words[i + 1] == "json") return true;
  }
  return false;
}

// -- parsing ------------------------------------------------------------------------------------------------------------

/// The command that was reached, and its words.
const CLI::App& deepest(const CLI::App& app, std::string& path) {
  const CLI::App* at = &app;
  path = app.get_name();
  while (!at->get_subcommands().empty()) {
    at = at->get_subcommands().front();
    path += " " + at->get_name();
  }
  return *at;
}

std::vector<std::string> option_names(const CLI::App* app) {
  std::vector<std::string> out;
  for (; app != nullptr; app = app->get_parent()) {
    for (const CLI::Option* option : app->get_options()) {
      for (const auto& name : option->get_lnames()) out.push_back("--" + name);
    }
  }
  return out;
}

/// The option that was meant: one whose name ends with it, --to-kek for --kek, before one that is spelled alike.
std::string nearest_option(const std::string& name, const CLI::App& app) {
  const auto names = option_names(&app);
  const std::string tail = name.substr(name.find_first_not_of('-') - 1);
  const auto longer = std::find_if(names.begin(), names.end(), [&](const std::string& one) { return tail.size() > 3 && one.size() > tail.size() + 2 && one.ends_with(tail); });
  return longer != names.end() ? *longer : nearest(name, names);
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> out;
  for (const CLI::App* sub : app.get_subcommands({})) out.push_back(sub->get_name());
  return out;
}

std::string suggestion(const std::string& near, const std::string& help) {
  return near.empty() ? "see " + help + " --help" : "did you mean " + near + "?";
}

/// CLI11's message in our own voice: first letter small, one line, no full stop.
std::string own_voice(std::string text) {
  for (char& c : text) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  while (!text.empty() && (text.back() == '.' || text.back() == ' ')) text.pop_back();
  const bool word = text.size() > 1 && std::islower(static_cast<unsigned char>(text[1])) != 0;
  if (word) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

/// CLI11 complains of the missing command before it names the word that is none.
void refuse_unknown_command(const CLI::App& app, const std::vector<std::string>& words) {
  if (!app.get_subcommands().empty()) return;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (!words[i].empty() && words[i][0] == '-') {
      const bool takes_value = words[i] == "--home" || words[i] == "--pin-source" || words[i] == "--format" || words[i] == "--waive";
      if (takes_value) ++i;
      continue;
    }
    throw Error::usage("unknown command " + words[i], suggestion(nearest(words[i], command_names(app)), app.get_name()));
  }
}

[[noreturn]] void refuse_command_line(const CLI::App& app, const CLI::ParseError& error, const std::vector<std::string>& words) {
  std::string path;
  const CLI::App& at = deepest(app, path);
  refuse_unknown_command(app, words);
  const auto extra = app.remaining(true);
  for (const auto& word : extra) {
    const auto dashes = std::find(words.begin(), words.end(), "--");
    const bool argument = std::find(dashes, words.end(), word) != words.end();
    if (word.size() > 1 && word[0] == '-' && argument) {
      throw Error::usage(fmt::format("unexpected argument {} of {}", word, path), "behind -- all are arguments: give options before it");
    }
    if (word.size() > 1 && word.find_first_not_of('-') != std::string::npos && word[0] == '-') {
      const std::string name = word.substr(0, word.find('='));
      throw Error::usage(fmt::format("unknown option {} of {}", name, path), suggestion(nearest_option(name, at), path));
    }
    const auto commands = command_names(at);
    if (commands.empty()) throw Error::usage(fmt::format("unexpected argument {} of {}", word, path), suggestion({}, path));
    const std::string near = nearest(word, commands);
    throw Error::usage("unknown command " + fmt::format("{} {}", path, word).substr(app.get_name().size() + 1),
                       near.empty() ? "one of " + join(commands, ", ") : suggestion(near, path));
  }
  if (!command_names(at).empty() && at.get_subcommands().empty() && at.get_require_subcommand_min() > 0) {
    throw Error::usage(path + " needs a command", "one of " + join(command_names(at), ", "));
  }
  throw Error::usage(own_voice(error.what()), suggestion({}, path));
}

/// An empty value is a script's unset variable, and must not count as an option that was not given: `--quorum ""` would drop the
/// quorum, `--out ""` print a key.
void refuse_empty_values(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_name();
    if (name.compare(0, 2, "--") != 0 || name == "--module-args" || name == "--query-key") continue;  // of these, empty means something
    for (const auto& value : option->results()) {
      if (value.empty()) throw Error::usage(name + " was given an empty value", "was a variable unset? give a value, or leave the option out");
    }
  }
  for (const CLI::App* sub : app.get_subcommands()) refuse_empty_values(*sub);
}

/// Every option that takes a number, told by its type's name, takes decimal digits and nothing else. CLI11 leaves it to strtoll: 010 would be
/// eight, 0x10 sixteen, and -1 a very large number.
void read_decimal(CLI::App& app) {
  const CLI::Validator decimal(
      [](std::string& text) {
        if (text.empty() || text.size() > 18 || text.find_first_not_of("0123456789") != std::string::npos) return "not a whole number: " + printable(text);
        text.erase(0, std::min(text.find_first_not_of('0'), text.size() - 1));
        return std::string();
      },
      "");
  for (CLI::Option* option : app.get_options()) {
    const std::string type = option->get_type_name().substr(0, option->get_type_name().find(':'));
    if (type == "N" || type == "BYTES" || type == "SEQ") option->transform(decimal);
  }
  for (CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) read_decimal(*sub);
}

void add_commands(CLI::App& app, Globals& globals, Action& action) {
  using Add = void (*)(CLI::App&, Globals&, Action&);
  struct Group {
    const char* title;
    std::vector<Add> members;
  };
  const std::vector<Group> groups{
      {"Setting up", {add_init, add_doctor, add_home, add_token, add_signer, add_policy}},
      {"Keys", {add_gen, add_adopt, add_list, add_show, add_state}},
      {"Running", {add_rotate, add_monitor}},
      {"Using keys", {add_encrypt, add_decrypt, add_sign, add_verify_signature, add_mac, add_random, add_csr, add_cert}},
      {"Bundles", {add_wrap, add_verify, add_inspect, add_unwrap, add_bundles}},
      {"KEKs between tokens", {add_export_kek, add_import_kek}},
      {"Audit", {add_audit}},
      {"API keys", {add_apikey}},
      {"Ceremonies", {add_share, add_ceremony}},
      {"Shells", {add_completion}},
  };
  std::set<CLI::App*> known;
  for (const auto& group : groups) {
    for (const Add add : group.members) add(app, globals, action);
    for (CLI::App* sub : app.get_subcommands({})) {
      if (!known.insert(sub).second) continue;
      sub->group(group.title);
      if (sub->get_footer().empty())
        sub->footer("Global options (--home, --pin-source, --json, --dry-run …) are listed by kmtool --help.");
    }
  }
}

/// What stands behind the first `--` of `apikey exec`, taken off: it is another program's command line.
std::vector<std::string> cut_command(std::vector<std::string>& words) {
  const auto dashes = std::find(words.begin(), words.end(), "--");
  const auto apikey = std::find(words.begin(), dashes, "apikey");
  if (dashes == words.end() || apikey == dashes || std::find(apikey, dashes, "exec") == dashes) return {};
  std::vector<std::string> command(dashes + 1, words.end());
  words.erase(dashes, words.end());
  return command;
}

/// Nothing left over on standard output: what was printed is whole, or the exit code says otherwise.
int run(std::vector<std::string> words, Globals& globals) {
  globals.behind_dashes = cut_command(words);
  CLI::App app(description, "kmtool");
  Action action;
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  app.set_help_flag("-h,--help", "say what can be asked for");
  add_globals(app, globals);
  add_commands(app, globals, action);
  read_decimal(app);
  app.footer(footer);  // now: commands would inherit it
  app.set_version_flag("--version", version_text, "say which kmtool this is")->group("Global options");
  app.get_help_ptr()->group("Global options");
  std::vector<std::string> backwards(words.rbegin(), words.rend());  // CLI11 takes them from the back
  try {
    app.parse(backwards);
  } catch (const CLI::CallForHelp&) {
    globals.out.raw(view(app.help()));
    return 0;
  } catch (const CLI::CallForVersion&) {
    globals.out.line(version_text);
    return 0;
  } catch (const CLI::ParseError& error) {
    refuse_command_line(app, error, words);
  }
  refuse_empty_values(app);
  if (const char* source = std::getenv("KMTOOL_PIN_SOURCE"); source != nullptr && globals.pin_source.empty()) {
    globals.pin_source = source;
  }
  std::string path;
  require_format(deepest(app, path), globals);
  if (globals.json) globals.format = "json";
  globals.json = globals.format == "json";
  if (globals.json && globals.dry_run) globals.out.mark_dry_run();  // not sarif or cyclonedx: their fields are others' to name
  if (!action) throw Error::internal("a command without an action");
  return action();
}

/// The one command whose exit codes are those of a Nagios plugin: every failure is `unknown`.
bool is_monitor(const std::vector<std::string>& words) {
  for (std::size_t i = 0; i < words.size() && words[i] != "--"; ++i) {
    if (!words[i].empty() && words[i][0] != '-') return words[i] == "monitor";
    const bool takes_value = words[i] == "--home" || words[i] == "--pin-source" || words[i] == "--format" || words[i] == "--waive";
    if (takes_value) ++i;
  }
  return false;
}

/// Memory ran out where nothing may be thrown (the JSON library's destructor): ended as by a kill, but said.
[[noreturn]] void end_at_once() {
  constexpr std::string_view text = "error: out of memory\nhint: the next command or kmtool doctor --repair finishes or undoes what was open\n";
  if (::write(STDERR_FILENO, text.data(), text.size()) < 0) _exit(static_cast<int>(ExitCode::internal));
  _exit(static_cast<int>(ExitCode::internal));
}

int unknown(const std::string& message) {
  const std::string line = "KMTOOL UNKNOWN - " + printable(message) + "\n";
  if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) return 3;
  return 3;
}

/// The command is over by now: what it did stands, whoever fails to read of it.
void flush_output(Globals& globals) {
  try {
    globals.out.flush();
  } catch (const Error& error) {
    throw Error(error.exit(), error.code(), error.message(), "only the output is lost: a change that was made stands, and kmtool audit log shows it");
  }
}

int run_and_report(const std::vector<std::string>& words, unsigned file_mask) {
  Globals globals;
  globals.file_mask = file_mask;
  const bool monitor = is_monitor(words);
  const bool json = wants_json(words);
  set_signals(globals.stop);
  try {
    int exit = 0;
    try {
      exit = run(words, globals);
    } catch (const Error& error) {
      if (error.exit() != ExitCode::no) throw;
      exit = report(error, json, globals);
    }
    clear_progress();
    if (exit >= 64) globals.out.clear();
    for (const auto& text : take_notices()) note(globals, text);
    release_held(globals);
    flush_output(globals);
    return exit;
  } catch (const Error& error) {
    return monitor ? unknown(error.message()) : report(error, json, globals);
  } catch (const std::filesystem::filesystem_error& error) {
    const auto cause = Error::from_errno("find", error.path1().empty() ? "the current folder" : error.path1().string(), error.code().value());
    return monitor ? unknown(cause.message()) : report(cause, json, globals);
  } catch (const std::bad_alloc&) {
    return monitor ? unknown("out of memory") : report(Error::internal("out of memory"), json, globals);
  } catch (const std::exception& error) {
    return monitor ? unknown(error.what()) : report(Error::internal(std::string("unexpected: ") + error.what(), "please report this"), json, globals);
  }
}

}  // namespace
}  // namespace kmtool::cmd

int main(int argc, char** argv) {
  kmtool::cmd::fill_standard_descriptors();
  kmtool::forbid_core_dumps();
  std::set_terminate(kmtool::cmd::end_at_once);
  kmtool::install_secret_heap();
  const unsigned file_mask = umask(077);
  kmtool::cmd::set_character_type();
  return kmtool::cmd::run_and_report({argv + std::min(argc, 1), argv + argc}, file_mask);
}
