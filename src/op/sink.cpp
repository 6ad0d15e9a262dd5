#include "op/sink.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstring>
#include <utility>

#include "kmtool/core/file.hpp"
#include "kmtool/home/policy_changes.hpp"
#include "kmtool/op/admin.hpp"

namespace kmtool::op {

namespace {

constexpr std::string_view to_file = "file:", to_socket = "unix:", to_command = "exec:";

std::filesystem::path sent_note(const Context& context) { return context.home.paths.root / "checkpoint.sent"; }

/// One write, so that what several processes append does not mix. A FIFO needs a reader: nobody waits for one.
void append_to(const std::string& path, const std::string& note) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) throw Error::from_errno("write", path, errno);
  const std::string text = note + "\n";
  struct stat info {};
  const auto written = write(fd.get(), text.data(), text.size());
  if (written >= 0 && written != static_cast<ssize_t>(text.size())) throw Error::io("cannot write " + path + ": it takes only a part");
  if (written < 0 || fstat(fd.get(), &info) != 0 || (S_ISREG(info.st_mode) && fsync(fd.get()) != 0)) throw Error::from_errno("write", path, errno);
}

void send_to(const std::string& path, const std::string& message) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) throw Error::config("the socket's path is too long");
  std::memcpy(address.sun_path, path.data(), path.size());
  const Fd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd || sendto(fd.get(), message.data(), message.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
    throw Error::from_errno("write", path, errno);
  }
}

/// RFC 3164's line: facility authpriv, severity notice. The note's lines stand behind each other.
std::string syslog_line(const std::string& note) {
  std::string line = "<85>kmtool[" + std::to_string(getpid()) + "]: checkpoint";
  std::size_t begin = 0;
  for (std::size_t end = note.find('\n'); end != std::string::npos; begin = end + 1, end = note.find('\n', begin)) {
    if (end > begin) line += " " + note.substr(begin, end - begin);
  }
  return line;
}

void run_command(Context& context, const Sink& sink, const std::string& note, std::uint64_t size) {
  Runner::Job job;
  job.words = command_words(sink.where.substr(to_command.size()), "checkpoint_sink");
  job.environment = {"KMTOOL_HOME=" + context.home.paths.root.string(), "KMTOOL_ORIGIN=" + context.home.config.origin(), "KMTOOL_SIZE=" + std::to_string(size)};
  job.input = note;
  job.longest = std::chrono::seconds(sink.wait);
  auto& runner = context.state().sink_runner;
  const auto begun = std::chrono::steady_clock::now();
  const int status = runner ? runner->run(job) : 127;
  if (status == 128 + SIGKILL && std::chrono::steady_clock::now() - begun >= job.longest) {
    throw Error::io(job.words[0] + " did not end within " + duration_text(sink.wait));
  }
  if (status != 0) throw Error::io(job.words[0] + " " + Runner::outcome_of(status));
}

Sink policy_sink(const Context& context) { return {context.home.policy.checkpoint_sink, context.home.policy.checkpoint_sink_wait}; }

/// The sink of a policy text that was once understood: by this version or by another, so no more than its two fields is asked for.
Sink sink_in(const std::string& text) {
  const Json fields = home::policy_fields(text);
  const auto field = [&fields](const char* name) {
    const auto found = fields.find(name);
    return found != fields.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  return {field("checkpoint_sink"), parse_duration(field("checkpoint_sink_wait")).value_or(policy::default_policy().checkpoint_sink_wait)};
}

/// The accepted policy's, where the record has its text; else policy.json's.
Sink sink_in_force(Context& context) {
  if (policy_accepted(context)) return policy_sink(context);
  const auto text = accepted_policy_text(context);
  return text ? sink_in(*text) : policy_sink(context);
}

/// Nothing is proven yet when this is asked, and what is damaged is said later; all that is decided is whether somebody will be there who can
/// start programs.
bool is_command_in_force(Context& context) try {
  return sink_in_force(context).where.starts_with(to_command);
} catch (const Error&) {
  return false;
}

std::vector<Sink>& sinks(Context& context) {
  auto& known = context.state().sinks;
  if (!known) {
    known.emplace();
    if (auto sink = sink_in_force(context); !sink.where.empty()) known->push_back(std::move(sink));
  }
  return *known;
}

/// policy.json names another sink, or none, and was not accepted yet.
bool is_outgoing(const Context& context, const Sink& sink) { return sink.where != context.home.policy.checkpoint_sink; }

/// `policy accept --force`, and no other command: the sink that is switched off need not be told.
bool may_be_untold(const Context& context, const Sink& sink) {
  const auto& options = context.options;
  return options.any_policy && options.overwrite && !options.repair && !options.skip_anchor && is_outgoing(context, sink);
}

void send(Context& context, const Sink& sink) {
  const auto newest = context.state().journal->last_note();
  if (!newest) return;
  const auto note = newest->dump();
  const auto size = tlog::parse_checkpoint(newest->text).size;
  const auto& where = sink.where;
  try {
    if (where == "syslog") send_to("/dev/log", syslog_line(note));
    else if (where.starts_with(to_file)) append_to(where.substr(to_file.size()), note);
    else if (where.starts_with(to_socket)) send_to(where.substr(to_socket.size()), note);
    else run_command(context, sink, note, size);
  } catch (const Error& error) {
    throw Error::io("the checkpoint did not reach its sink (" + where + "): " + error.message(),
                    is_outgoing(context, sink) ? "mend the sink, which is the accepted policy's; where it is gone for good: kmtool policy accept --force"
                                               : "mend the sink, or policy's checkpoint_sink: until then nothing more is done");
  }
  write_private_file(sent_note(context), view(where + "\n" + std::to_string(size) + "\n"), true);
}

void send_newest(Context& context) {
  const auto all = sinks(context);
  for (const auto& sink : all) {
    try {
      send(context, sink);
    } catch (const Error& error) {
      if (!may_be_untold(context, sink)) throw;
      context.state().untold = error.message();
      std::erase_if(sinks(context), [&](const Sink& other) { return other.where == sink.where; });
    }
  }
}

/// True when the newest checkpoint is known to have arrived at this sink.
bool arrived(const Context& context, const Sink& sink, const tlog::Note& newest) {
  std::error_code ignored;
  if (!std::filesystem::exists(sent_note(context), ignored)) return false;
  return read_trusted(sent_note(context)) == sink.where + "\n" + std::to_string(tlog::parse_checkpoint(newest.text).size) + "\n";
}

/// The size of the newest checkpoint that this sink took; 0 where it is not known to have taken any.
std::uint64_t last_sent(const Context& context) {
  std::error_code ignored;
  if (!std::filesystem::exists(sent_note(context), ignored)) return 0;
  const auto note = read_trusted(sent_note(context));
  const auto head = context.home.policy.checkpoint_sink + "\n";
  std::uint64_t size = 0;
  if (note.starts_with(head)) std::from_chars(note.data() + head.size(), note.data() + note.size(), size);
  return size;
}

}  // namespace

void prepare_sink(Context& context, Need need) {
  const auto& sink = context.home.policy.checkpoint_sink;
  const bool by_command = sink.starts_with(to_command);
  if (by_command && need == Need::mutation) command_words(sink.substr(to_command.size()), "checkpoint_sink");
  if (by_command || is_command_in_force(context)) context.state().sink_runner = std::make_unique<Runner>();
}

void require_sink_runner(Context& context) {
  if (context.state().sink_runner || std::ranges::none_of(sinks(context), [](const Sink& sink) { return sink.where.starts_with(to_command); })) return;
  throw Error::busy("policy.json names a program as checkpoint_sink since this command was started", "run the command again: it can start that program then");
}

std::optional<Sink> outgoing_sink(Context& context) {
  auto sink = sink_in_force(context);
  if (sink.where.empty() || !is_outgoing(context, sink)) return std::nullopt;
  return sink;
}

void add_incoming_sink(Context& context) {
  const auto sink = policy_sink(context);
  if (sink.where.empty() || std::ranges::any_of(sinks(context), [&](const Sink& known) { return known.where == sink.where; })) return;
  try {
    send(context, sink);
  } catch (const Error& error) {
    throw Error(error.exit(), error.code(), "nothing was done: " + error.message(), error.hint());
  }
  sinks(context).push_back(sink);
}

void drop_outgoing_sink(Context& context) { context.state().sinks.reset(); }

std::uint64_t unsent_entries(Context& reader) try {
  const auto newest = reader.state().journal->last_note();
  if (reader.home.policy.checkpoint_sink.empty() || !newest) return 0;
  // Between a commit and its sending lies a moment, or a slow sink: whoever holds the lock is not done yet.
  const auto nobody_works = FileLock::acquire_to_read(reader.home.paths.mutate_lock(), std::chrono::milliseconds(0));
  const auto size = tlog::parse_checkpoint(newest->text).size;
  return size - std::min(size, last_sent(reader));
} catch (const Error& error) {
  if (error.exit() != ExitCode::busy) throw;
  return 0;
}

void settle_sink(Context& context) {
  if (context.options.dry_run) return;
  const auto newest = context.state().journal->last_note();
  const auto& known = sinks(context);
  if (known.empty() || !newest || arrived(context, known.front(), *newest)) return;
  try {
    send_newest(context);
  } catch (const Error& error) {
    throw Error(error.exit(), error.code(), "nothing was done: " + error.message(), error.hint());
  }
}

void send_checkpoint(Context& context) noexcept {
  auto& unsent = context.state().unsent;
  unsent.reset();
  try {
    send_newest(context);
  } catch (const Error& error) {
    unsent = error;
  } catch (const std::exception& error) {
    unsent = Error::internal(error.what());
  }
}

void require_sent(Context& context, const std::string& standing) {
  const auto unsent = std::exchange(context.state().unsent, std::nullopt);
  if (unsent) throw Error(unsent->exit(), unsent->code(), standing + " " + unsent->message(), unsent->hint());
}

}  // namespace kmtool::op
