#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kmtool {

/// SP 800-57 part 1 r5, section 7. The text forms are CycloneDX's: pre-activation, active, suspended, deactivated,
/// compromised, destroyed.
enum class State { pre_activation, active, suspended, deactivated, compromised, destroyed };

std::string_view to_text(State state);
std::optional<State> state_from(std::string_view text);
const std::vector<State>& all_states();
/// STANDARDS.md "States"; false for from == to.
bool transition_allowed(State from, State to);
/// May apply protection (encrypt, wrap, sign, mac): only active.
bool may_protect(State state);
/// May process what was protected (decrypt, unwrap, verify): active, suspended? no — active, deactivated, compromised.
/// A suspended key does nothing (SP 800-57 7.3), a pre-activation key does nothing.
bool may_process(State state);

}  // namespace kmtool
