#include "kmtool/domain/state.hpp"

#include <doctest/doctest.h>

#include <map>
#include <set>

using namespace kmtool;

TEST_CASE("texts are CycloneDX's") {
  CHECK(all_states().size() == 6);
  for (const State state : all_states()) CHECK(state_from(to_text(state)) == state);
  CHECK(to_text(State::pre_activation) == "pre-activation");
  CHECK_FALSE(state_from("pre_activation"));
  CHECK_FALSE(state_from("Active"));
  CHECK_FALSE(state_from(""));
}

TEST_CASE("every pair of states against the table") {
  using enum State;
  const std::map<State, std::set<State>> table{{pre_activation, {active, compromised, destroyed}},
                                               {active, {suspended, deactivated, compromised, destroyed}},
                                               {suspended, {active, deactivated, compromised, destroyed}},
                                               {deactivated, {compromised, destroyed}},
                                               {compromised, {destroyed}},
                                               {destroyed, {}}};
  for (const State from : all_states()) {
    for (const State to : all_states()) {
      CAPTURE(to_text(from));
      CAPTURE(to_text(to));
      CHECK(transition_allowed(from, to) == table.at(from).contains(to));
    }
  }
}

TEST_CASE("what a key may do in each state") {
  for (const State state : all_states()) CHECK(may_protect(state) == (state == State::active));
  CHECK(may_process(State::active));
  CHECK(may_process(State::deactivated));
  CHECK(may_process(State::compromised));
  CHECK_FALSE(may_process(State::pre_activation));
  CHECK_FALSE(may_process(State::suspended));
  CHECK_FALSE(may_process(State::destroyed));
}
