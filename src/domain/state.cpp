#include "kmtool/domain/state.hpp"

#include <algorithm>

#include "kmtool/core/error.hpp"

namespace kmtool {

std::string_view to_text(State state) {
  switch (state) {
    case State::pre_activation:
      return "pre-activation";
    case State::active:
      return "active";
    case State::suspended:
      return "suspended";
    case State::deactivated:
      return "deactivated";
    case State::compromised:
      return "compromised";
    case State::destroyed:
      return "destroyed";
  }
  throw Error::internal("no such key state");
}

std::optional<State> state_from(std::string_view text) {
  for (const State state : all_states()) {
    if (to_text(state) == text) return state;
  }
  return std::nullopt;
}

const std::vector<State>& all_states() {
  static const std::vector<State> states{State::pre_activation, State::active,      State::suspended,
                                         State::deactivated,    State::compromised, State::destroyed};
  return states;
}

bool transition_allowed(State from, State to) {
  const auto one_of = [to](std::initializer_list<State> states) {
    return std::find(states.begin(), states.end(), to) != states.end();
  };
  switch (from) {
    case State::pre_activation:
      return one_of({State::active, State::compromised, State::destroyed});
    case State::active:
      return one_of({State::suspended, State::deactivated, State::compromised, State::destroyed});
    case State::suspended:
      return one_of({State::active, State::deactivated, State::compromised, State::destroyed});
    case State::deactivated:
      return one_of({State::compromised, State::destroyed});
    case State::compromised:
      return one_of({State::destroyed});
    case State::destroyed:
      return false;
  }
  return false;
}

bool may_protect(State state) { return state == State::active; }

bool may_process(State state) { return state == State::active || state == State::deactivated || state == State::compromised; }

}  // namespace kmtool
