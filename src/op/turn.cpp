#include "kmtool/op/turn.hpp"

#include "op/sink.hpp"
#include "op/state.hpp"

namespace kmtool::op {

void give_turn(Context& context) {
  auto& state = context.state();
  if (!state.mutation.held() || state.unsettled) throw Error::internal("a turn was given away that was not held, or in the middle of something");
  state.mutation.release();
  state.turn_given = true;
}

void take_turn(Context& context) {
  auto& state = context.state();
  if (!state.turn_given) return;
  state.mutation = FileLock::acquire(context.home.paths.mutate_lock(), context.options.lock_wait);
  state.turn_given = false;
  context.token().forget_objects();
  state.signer_handles.clear();
  state.keys.clear();
  state.anchors.clear();
  trust_home_journal(context);
  bind_token(context);
  settle_sink(context);
  for (auto& line : recover(context)) state.repaired.push_back(std::move(line));
}

}  // namespace kmtool::op
