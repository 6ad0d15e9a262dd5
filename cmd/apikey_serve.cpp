#include <unistd.h>

#include <memory>

#include "apikey.hpp"
#include "common.hpp"
#include "kmtool/core/text.hpp"
#include "kmtool/serve/serve.hpp"

namespace kmtool::cmd {
namespace {

struct ServeOptions {
  serve::Options options;
  std::string snapshot, state;
  std::vector<std::string> signers;
  std::string socket_mode = "660";
  std::string header_timeout, idle_timeout, flush_interval, grace;
};

std::chrono::seconds period(const std::string& text, const std::string& option, std::chrono::seconds otherwise) {
  if (text.empty()) return otherwise;
  const auto seconds = parse_duration(text);
  if (!seconds || *seconds > 86400)
    throw Error::usage(option + ": " + printable(text) + " is not a duration of at most a day", "write 10s, 5m or 1h");
  return std::chrono::seconds(*seconds);
}

unsigned mode_of(const std::string& text) {
  unsigned mode = 0;
  for (const char c : text) {
    if (c < '0' || c > '7') throw Error::usage("--socket-mode: " + printable(text) + " is not an octal mode", "write 660 or 600");
    mode = mode * 8 + static_cast<unsigned>(c - '0');
    if (mode > 0777) throw Error::usage("--socket-mode: " + printable(text) + " is not an octal mode", "write 660 or 600");
  }
  return mode;
}

/// Lines on standard error, as they come; a service manager dates them.
void say(bool json, const std::string& line) {
  const std::string text = (json ? dump_json(Json{{"log", line}}) : "kmtool: " + line) + "\n";
  if (::write(STDERR_FILENO, text.data(), text.size()) < 0) return;  // nowhere left to say so
}

int run(Globals& globals, ServeOptions o) {
  serve::Options& options = o.options;
  options.snapshot = o.snapshot;
  options.state = o.state;
  if (!o.state.empty()) home::check_folder(o.state);
  options.signers.assign(o.signers.begin(), o.signers.end());
  options.socket_mode = mode_of(o.socket_mode);
  options.header_timeout = period(o.header_timeout, "--header-timeout", options.header_timeout);
  options.idle_timeout = period(o.idle_timeout, "--idle-timeout", options.idle_timeout);
  options.flush_interval = period(o.flush_interval, "--flush-interval", options.flush_interval);
  options.grace = period(o.grace, "--grace", options.grace);
  if (globals.dry_run) throw Error::usage("apikey serve has no dry run", "it changes nothing but its --state folder");
  const bool json = json_wanted(globals), quiet = globals.quiet;
  const auto done = serve::run(options, globals.stop, [json, quiet](const std::string& line) {
    if (!quiet) say(json, line);
  });
  if (json) {
    globals.out.json(Json{{"allowed", done.allowed},
                          {"denied", done.denied},
                          {"bad_requests", done.bad_requests},
                          {"connections", done.connections}});
  } else if (!quiet) {
    globals.out.line("stopped: " + std::to_string(done.allowed) + " allowed, " + std::to_string(done.denied) + " denied, " +
                     std::to_string(done.bad_requests) + " bad requests, " + std::to_string(done.connections) + " connections");
  }
  return 0;
}

void add_limits(CLI::App* sub, const std::shared_ptr<ServeOptions>& o) {
  sub->add_option("--threads", o->options.threads, "threads that answer, 1 to 64 (1)")->type_name("N")->check(CLI::Range(1, 64));
  sub->add_option("--max-connections", o->options.max_connections,
                  "further ones push out idle ones (what the limit of open files allows)")
      ->type_name("N")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 24));
  sub->add_option("--header-timeout", o->header_timeout, "for the head of a request, from its first byte on (10s)")
      ->type_name("DURATION");
  sub->add_option("--idle-timeout", o->idle_timeout, "for a connection without a request; longer than the proxy's (2m)")
      ->type_name("DURATION");
  sub->add_option("--flush-interval", o->flush_interval, "how often usage is written to the state folder (1m)")
      ->type_name("DURATION");
  sub->add_option("--grace", o->grace, "for requests in flight when told to stop (5s)")->type_name("DURATION");
}

}  // namespace

void add_apikey_serve(CLI::App& apikey, Globals& globals, Action& action) {
  auto* sub = apikey.add_subcommand("serve", "answer forward-auth requests of nginx, Traefik and Envoy from a signed snapshot");
  auto o = std::make_shared<ServeOptions>();
  sub->add_option("--snapshot", o->snapshot, "what apikey publish wrote; looked at again whenever it changes")
      ->type_name("FILE")
      ->required();
  repeatable(sub->add_option("--signer", o->signers, "whose snapshots are served: the home's signers/document.pem (repeatable)"))
      ->type_name("PEM")
      ->required();
  sub->add_option("--state", o->state, "remembers the newest snapshot, so that no older one is served; spools usage")
      ->type_name("DIR")
      ->required();
  repeatable(sub->add_option("--listen", o->options.listen, "ADDR:PORT, [V6]:PORT or unix:PATH (repeatable)"))
      ->type_name("ADDR:PORT")
      ->required();
  repeatable(sub->add_option("--admin-listen", o->options.admin_listen,
                             "/metrics and /healthz are answered here, and only here (repeatable)"))
      ->type_name("ADDR:PORT");
  repeatable(sub->add_option("--trusted-proxy", o->options.trusted_proxies,
                             "whose X-Forwarded-For is believed: a network, or unix (repeatable)"))
      ->type_name("CIDR");
  sub->add_option("--query-key", o->options.query_key,
                  "parameter of the original URI that may hold the key; \"\" for none (api_key)")
      ->type_name("NAME");
  sub->add_option("--socket-mode", o->socket_mode, "of unix sockets (660)")->type_name("MODE");
  add_limits(sub, o);
  sub->footer("It needs neither home nor PIN nor token. kmtool-apikey-serve(1) has the set-ups of the three proxies.");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
