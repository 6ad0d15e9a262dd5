#include "apikey.hpp"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "kmtool/core/file.hpp"

namespace kmtool::cmd {

namespace {

/// Everything up to the end or, from a terminal, the first LF.
SecretBytes read_all_of(int fd, std::size_t limit, bool one_line) {
  SecretBytes buffer(limit + 2);
  std::size_t size = 0;
  for (;;) {
    if (size == limit + 2) throw Error::usage("what was given is longer than " + std::to_string(limit) + " bytes");
    const auto got = read(fd, buffer.reveal_mutable().data() + size, limit + 2 - size);
    if (got < 0 && errno == EINTR && !one_line) continue;
    if (got < 0 && errno == EINTR) throw Error::busy("stopped");
    if (got < 0) throw Error::from_errno("read", "standard input", errno);
    size += static_cast<std::size_t>(got);
    if (got == 0 || (one_line && buffer.reveal()[size - 1] == '\n')) break;
  }
  if (size > 0 && buffer.reveal()[size - 1] == '\n') --size;
  if (size > limit) throw Error::usage("what was given is longer than " + std::to_string(limit) + " bytes");
  buffer.truncate(size);
  return buffer;
}

/// The terminal does not show what is typed while one lives.
class EchoOff {
 public:
  explicit EchoOff(int terminal) : terminal_(terminal) {
    if (tcgetattr(terminal_, &before_) != 0) throw Error::from_errno("ask at", "/dev/tty", errno);
    auto quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    tcsetattr(terminal_, TCSAFLUSH, &quiet);
  }
  EchoOff(const EchoOff&) = delete;
  EchoOff& operator=(const EchoOff&) = delete;
  ~EchoOff() { tcsetattr(terminal_, TCSAFLUSH, &before_); }

 private:
  int terminal_;
  termios before_{};
};

}  // namespace

SecretBytes read_secret_input(std::size_t limit) { return read_all_of(STDIN_FILENO, limit, false); }

SecretBytes ask_secret(const Globals& globals, const std::string& question) {
  const Fd terminal(globals.no_input ? -1 : open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (!terminal) throw Error::refused("input", "the key would have to be asked for, and " + std::string(globals.no_input ? "--no-input forbids it" : "there is no terminal"), "give it on standard input");
  write_all(terminal.get(), view(question + ": "), "/dev/tty");
  SecretBytes secret;
  {
    const EchoOff quiet(terminal.get());
    secret = read_all_of(terminal.get(), 4096, true);
  }
  write_all(terminal.get(), view("\n"), "/dev/tty");
  return secret;
}

Json apikey_json(const apikey::ApiKeyRecord& record, UnixTime now) {
  const auto& entry = record.entry;
  const auto time = [](const std::optional<UnixTime>& at) { return at ? Json(rfc3339(*at)) : Json(nullptr); };
  return {{"id", entry.id},
          {"app", entry.app},
          {"environment", entry.environment},
          {"state", record.state(now)},
          {"created", rfc3339(entry.created)},
          {"not_before", time(entry.not_before)},
          {"expires", time(entry.expires)},
          {"until", time(entry.until)},
          {"revoked", time(record.revoked)},
          {"restrictions", entry.restrictions->to_json()}};
}

/// At once: a key that is in force and that nobody was shown must be said to be one.
static void hand_over(Globals& globals, const std::string& id) {
  try {
    globals.out.flush();
  } catch (const Error& error) {
    throw apikey::undelivered(id, error);
  }
}

void print_issued(Globals& globals, const op::Context& context, const apikey::Issued& issued, const std::optional<std::filesystem::path>& out) {
  const auto& entry = issued.record.entry;
  const bool shown = !out && !globals.dry_run;
  const std::string_view key(reinterpret_cast<const char*>(issued.key.reveal().data()), issued.key.size());
  if (json_wanted(globals)) {
    Json json{{"id", entry.id}, {"key", shown ? Json(std::string(key)) : Json(nullptr)}, {"app", entry.app}, {"environment", entry.environment},
              {"restrictions", entry.restrictions->to_json()}, {"expires", entry.expires ? Json(rfc3339(*entry.expires)) : Json(nullptr)}};
    if (out) json["out"] = out->string();
    if (issued.before) json["replaces"] = {{"id", issued.before->entry.id}, {"until", rfc3339(issued.before->entry.until.value_or(context.now()))}};
    globals.out.json(json);
    if (shown) hand_over(globals, entry.id);
  } else {
    if (shown) {
      globals.out.line(key);
      hand_over(globals, entry.id);
    }
    note(globals, "api key " + entry.id + " for " + entry.app + " (" + entry.environment + "), restrictions: " + entry.restrictions->summary());
    if (issued.before) note(globals, issued.before->entry.id + " goes on living until " + rfc3339(issued.before->entry.until.value_or(context.now())));
    if (shown) note(globals, "this is the only time that the key is shown; gateways know it after kmtool apikey publish");
  }
  for (const auto& pattern : entry.restrictions->referrer) {
    if (pattern.needs_path()) warn(globals, pattern.text() + " looks at the path, and most browsers send only the origin");
  }
  say_dry_run(globals);
}

void add_apikey(CLI::App& app, Globals& globals, Action& action) {
  auto* sub = app.add_subcommand("apikey", "API keys: issued, restricted, unique, monitored, kept out of code");
  sub->require_subcommand(1);
  const std::array adders{add_apikey_create, add_apikey_list,    add_apikey_show,    add_apikey_rotate, add_apikey_revoke, add_apikey_usage,
                          add_apikey_check,  add_apikey_explain, add_apikey_publish, add_apikey_serve,  add_apikey_store,
                          add_apikey_exec,   add_apikey_scan};
  for (const auto add : adders) add(*sub, globals, action);
}

}  // namespace kmtool::cmd
