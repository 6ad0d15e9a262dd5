#include "kmtool/op/turn.hpp"

#include <sys/stat.h>

#include <optional>

#include "kmtool/core/encoding.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/crypto/digest.hpp"
#include "kmtool/op/admin.hpp"
#include "op/sink.hpp"
#include "op/state.hpp"

namespace kmtool::op {

namespace {

constexpr const char* once_more = "run the command again";

/// Which file the home's journal is: a restore puts another in its place, and what is written into the one that was opened is lost.
std::pair<dev_t, ino_t> journal_file(const home::Paths& paths) {
  struct stat info {};
  if (stat(paths.journal().c_str(), &info) != 0) throw Error::from_errno("read", paths.journal().string(), errno);
  return {info.st_dev, info.st_ino};
}

/// What lies there now; nothing where policy.json cannot be read: somebody may be in the middle of writing it.
std::optional<home::Home> readable_home(const home::Paths& paths) {
  try {
    return home::open_home(paths);
  } catch (const Error& error) {
    if (error.exit() != ExitCode::config) throw;
    return std::nullopt;
  }
}

/// Policy and configuration as they are now. Another configuration may mean another token than the one that is logged in to.
void read_home_again(Context& context) {
  const auto& paths = context.home.paths;
  require_whole_home(paths);
  if (context.state().journal_given != journal_file(paths)) {
    throw Error::busy("the home " + paths.root.string() + " was restored from a backup while this command waited for its input", once_more);
  }
  if (hex(crypto::sha256(view(read_file(paths.config())))) != context.home.config_digest) {
    throw Error::busy(paths.config().string() + " was changed while this command waited for its input", once_more);
  }
  if (auto now = readable_home(paths)) context.home = std::move(*now);
}

}  // namespace

void give_turn(Context& context) {
  auto& state = context.state();
  if (!state.mutation.held() || state.unsettled) throw Error::internal("a turn was given away that was not held, or in the middle of something");
  state.journal_given = journal_file(context.home.paths);
  state.mutation.release();
  state.turn_given = true;
}

void take_turn(Context& context) {
  auto& state = context.state();
  if (!state.turn_given) return;
  auto turn = FileLock::acquire(context.home.paths.mutate_lock(), context.options.lock_wait);
  const auto before = context.home;
  read_home_again(context);  // where this throws the turn stays given, and nothing can be recorded in what is another home now
  state.mutation = std::move(turn);
  state.turn_given = false;
  context.token().forget_objects();
  state.signer_handles.clear();
  state.keys.clear();
  state.anchors.clear();
  state.sinks.reset();
  trust_home_journal(context);
  if (!policy_accepted(context)) context.home = before;  // policy.json is being edited; what was in force may be so still
  bind_token(context);
  require_sink_runner(context);
  settle_sink(context);
  for (auto& line : recover(context)) state.repaired.push_back(std::move(line));
  if (!context.options.any_policy) require_accepted_policy(context);
}

}  // namespace kmtool::op
