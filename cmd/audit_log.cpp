#include <poll.h>

#include <cerrno>
#include <csignal>

#include "audit.hpp"
#include "kmtool/audit/log.hpp"

namespace kmtool::cmd {

namespace {

struct LogOptions {
  std::string since, until;
  audit::LogFilter filter;
  std::optional<std::uint64_t> last;
  bool follow = false;
};

/// A time, or how long ago.
UnixTime parse_since(const std::string& text, const std::string& option) {
  if (const auto ago = parse_duration(text); ago && text.back() != 'm') return system_clock()() - *ago;
  return parse_time(text, option);
}

using Spell = std::function<std::string(const journal::Entry&)>;

Spell spelling(const std::string& format, const std::string& origin) {
  if (format == "ocsf") return [origin](const journal::Entry& entry) { return audit::log_ocsf(entry, origin); };
  if (format == "cef") return [origin](const journal::Entry& entry) { return audit::log_cef(entry, origin); };
  if (format == "table") return [](const journal::Entry& entry) { return audit::log_line(entry); };
  return [](const journal::Entry& entry) { return audit::log_jsonl(entry); };
}

/// Written as it is read: a journal may be longer than memory.
class Printer {
 public:
  Printer(Output& out, Spell spell, bool document) : out_(out), spell_(std::move(spell)), document_(document) {}
  void add(const journal::Entry& entry) {
    const auto line = spell_(entry);
    if (document_) out_.raw(view(count_ == 0 ? line : "," + line));
    else out_.line(line);
    if (++count_ % 256 == 0) out_.flush();
  }
  [[nodiscard]] std::uint64_t count() const { return count_; }

 private:
  Output& out_;
  Spell spell_;
  bool document_;
  std::uint64_t count_ = 0;
};

void follow(Globals& globals, const journal::Journal& journal, audit::LogFilter filter, std::uint64_t next, Printer& printer) {
  filter.last.reset();
  while (!globals.stop.requested()) {
    globals.out.flush();
    poll(nullptr, 0, 500);
    if (journal.size() == next) continue;
    next = audit::each_passing(journal, next, filter, [&](const journal::Entry& entry) {
      printer.add(entry);
      return true;
    });
  }
}

int run(Globals& globals, const LogOptions& o) {
  const auto format = chosen_format(globals);
  auto filter = o.filter;
  if (!o.since.empty()) filter.since = parse_since(o.since, "--since");
  if (!o.until.empty()) filter.until = parse_since(o.until, "--until");
  filter.last = o.last;
  if (o.follow && format == "json") throw Error::usage("--follow never ends, a JSON document must", "use --format jsonl");
  constexpr std::uint64_t lines_of_tail = 10;
  if (o.follow && !filter.last && !filter.since) filter.last = lines_of_tail;
  auto context = op::Context::open(options_of(globals), op::Need::reader);
  auto& journal = context.journal();
  if (std::signal(SIGPIPE, SIG_DFL) == SIG_ERR) throw Error::from_errno("reset", "SIGPIPE", errno);  // `| head` is no error
  Printer printer(globals.out, spelling(format, context.home.config.origin()), format == "json");
  if (format == "json") globals.out.raw(view("{\"entries\":["));
  if (format == "table") globals.out.line(audit::log_heading());
  const auto next = audit::each_passing(journal, 0, filter, [&](const journal::Entry& entry) {
    printer.add(entry);
    return !globals.stop.requested();
  });
  if (format == "json") globals.out.line("]}");
  if (o.follow) follow(globals, journal, filter, next, printer);
  if (printer.count() == 0 && format == "table") note(globals, "no entries");
  return 0;
}

}  // namespace

void add_audit_log(CLI::App& audit, Globals& globals, Action& action) {
  auto* sub = audit.add_subcommand("log", "what was done and refused: the journal's entries (the token is not asked)");
  offer_formats(sub, globals, {"table", "json", "jsonl", "ocsf", "cef"});
  auto o = std::make_shared<LogOptions>();
  sub->add_option("--since", o->since, "from this time on: RFC 3339, or how long ago (7d)")->type_name("TIME");
  sub->add_option("--until", o->until, "before this time")->type_name("TIME");
  sub->add_option("--key", o->filter.key, "what was done to this key or version")->type_name("KEY");
  sub->add_option("--command", o->filter.command, "only this command, such as wrap or \"state suspend\"")->type_name("COMMAND");
  sub->add_option("--user", o->filter.user, "only what this user did")->type_name("USER");
  sub->add_option("--result", o->filter.result, "done, undone, failed, refused or intent")->type_name("RESULT")->check(CLI::IsMember({"done", "undone", "failed", "refused", "intent"}));
  sub->add_option("--last", o->last, "only the newest N of them")->type_name("N")->check(whole_number());
  sub->add_flag("--follow", o->follow, "go on with new entries as they come, until stopped");
  sub->callback([&globals, &action, o] { action = [&globals, o] { return run(globals, *o); }; });
}

}  // namespace kmtool::cmd
