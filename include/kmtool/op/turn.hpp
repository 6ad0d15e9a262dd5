#pragma once
#include "kmtool/op/context.hpp"

namespace kmtool::op {

/// A mutation that is going to wait for its input, or to work long on it, lets others take their turn meanwhile: the lock is given back,
/// the token's session stays. Nothing may be open (no intent). The catalog must not be asked until take_turn().
void give_turn(Context& context);
/// Takes the lock again, reads policy.json again and holds journal, signers and anchor against each other as opening the context did; what was
/// read before may have changed, and what was judged is judged again by the policy that is accepted now. Does nothing where the turn was not
/// given away. The next entry does it by itself. Throws busy (75) where the home was restored or its config.json changed meanwhile; config (78)
/// where policy.json is not the accepted one any more.
void take_turn(Context& context);

}  // namespace kmtool::op
