#include "kmtool/apikey/exec.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "kmtool/apikey/registry.hpp"
#include "kmtool/apikey/store.hpp"
#include "kmtool/core/text.hpp"

extern char** environ;

namespace kmtool::apikey {

namespace {

bool is_variable(std::string_view text) {
  if (text.empty() || (text[0] >= '0' && text[0] <= '9')) return false;
  return std::all_of(text.begin(), text.end(), [](char c) { return c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); });
}

std::string_view name_of(const char* variable) {
  const std::string_view text(variable);
  return text.substr(0, text.find('='));
}

constexpr std::array<std::string_view, 12> harmless{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "TZ", "TMPDIR", "PWD"};

/// Why a path is no program, beginning with a verb; empty where it is one, nullopt where nothing is there.
std::optional<std::string> why_not(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    return std::string("cannot be looked at: ") + std::strerror(errno);
  }
  if (S_ISDIR(info.st_mode)) return "is a folder";
  if (!S_ISREG(info.st_mode)) return "is not a regular file";
  return access(path.c_str(), X_OK) == 0 ? "" : "is not executable";
}

Error no_program(const std::string& path, const std::string& why) {
  const bool plain = why == "is not executable";
  return Error::missing(printable(path) + " " + why, plain ? "chmod +x it, or name its interpreter, such as -- python3 " + printable(path) : "name the program to run");
}

/// Those of a write that fails: kmtool ignores them, a program expects them as they were.
void set_write_signals(void (*to)(int)) {
  for (const int number : {SIGPIPE, SIGXFSZ}) {
    if (std::signal(number, to) == SIG_ERR) throw Error::from_errno("set", "a signal", errno);
  }
}

}  // namespace

ExecRequest::Set ExecRequest::Set::parse(const std::string& text) {
  const auto equals = text.find('=');
  Set set{text.substr(0, equals), equals == std::string::npos ? "" : text.substr(equals + 1)};
  if (!is_variable(set.variable) || set.name.empty()) throw Error::usage("--set " + printable(text) + " is not VARIABLE=NAME", "such as --set STRIPE_KEY=stripe; NAME is what apikey store was given, @ENVIRONMENT the application's own key");
  if (set.variable.starts_with("LD_")) throw Error::usage("--set " + printable(set.variable) + ": the dynamic linker reads it, and prints what it cannot use", "give the key a variable of the application");
  if (set.name == "@") set.name += default_environment;
  return set;
}

ChildEnvironment::ChildEnvironment() {
  for (char** each = environ; *each != nullptr; ++each) callers_.push_back(*each);
}

bool ChildEnvironment::has(const std::string& variable) const { return std::find(names_.begin(), names_.end(), variable) != names_.end(); }

void ChildEnvironment::add(const std::string& variable, const SecretBytes& value) {
  if (has(variable)) throw Error::usage("--set names " + variable + " twice");
  SecretBytes text(variable.size() + 1 + value.size() + 1);  // with a NUL of its own
  auto at = std::copy(variable.begin(), variable.end(), text.reveal_mutable().begin());
  *at++ = '=';
  std::copy(value.reveal().begin(), value.reveal().end(), at);
  secrets_.push_back(std::move(text));
  names_.push_back(variable);
}

void ChildEnvironment::inherit(bool only, const std::string& pin_source) {
  for (auto* each : callers_) {
    const auto name = name_of(each);
    if (std::getenv(std::string(name).c_str()) == nullptr) continue;  // taken out since: it held the PIN
    const bool ours = name.starts_with("KMTOOL_") || pin_source == "env:" + std::string(name) || has(std::string(name));
    if (ours || (only && std::find(harmless.begin(), harmless.end(), name) == harmless.end())) continue;
    inherited_.push_back(each);
  }
}

std::vector<char*> ChildEnvironment::block() const {
  auto all = inherited_;
  for (const auto& secret : secrets_) all.push_back(const_cast<char*>(secret.reveal_c_str()));  // execve's prototype is older than const
  all.push_back(nullptr);
  return all;
}

void prepare(op::Context& context, const ExecRequest& request, ChildEnvironment& environment) {
  Json handed = Json::array();
  for (const auto& set : request.set) {
    const auto record = find_stored(context, request.app, set.name);
    environment.add(set.variable, unseal(context, record));
    handed.push_back({{"variable", set.variable}, {"name", set.name}});
  }
  environment.inherit(request.only, context.options.pin_source);
  context.note("apikey exec", request.app, {{"set", handed}, {"program", request.command.front().substr(0, 500)}}, {});
}

std::string program_path(const std::string& word) {
  if (word.find('/') != std::string::npos) {
    const auto why = why_not(word);
    if (!why) throw Error::missing("there is no program " + printable(word));
    if (why->empty()) return word;
    throw no_program(word, *why);
  }
  std::string found;
  const char* path = std::getenv("PATH");
  for (const auto& folder : split(path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path, ':')) {
    const auto candidate = (folder.empty() ? "." : folder) + "/" + word;
    const auto why = why_not(candidate);
    if (why && why->empty()) return candidate;
    if (why && *why == "is not executable" && found.empty()) found = candidate;
  }
  if (!found.empty()) throw no_program(found, "is not executable");
  throw Error::missing("there is no program " + printable(word) + " in PATH");
}

void become(const ChildEnvironment& environment, const std::vector<std::string>& command, mode_t file_mask) {
  const auto program = program_path(command.front());
  std::vector<char*> words;
  words.reserve(command.size() + 1);
  for (const auto& word : command) words.push_back(const_cast<char*>(word.c_str()));  // as above
  words.push_back(nullptr);
  const auto block = environment.block();
  set_write_signals(SIG_DFL);
  umask(file_mask);
  execve(program.c_str(), words.data(), block.data());
  const int why = errno;
  umask(077);
  set_write_signals(SIG_IGN);
  if (why == ENOEXEC) throw Error::usage(program + " is neither a program nor a script with #!", "kmtool starts no shell: name the interpreter, such as -- sh " + command.front());
  throw Error::from_errno("start", program, why);
}

}  // namespace kmtool::apikey
