#pragma once
#include "kmtool/op/context.hpp"

// Policy checkpoint_sink: every signed checkpoint leaves the host, so that even whoever holds the PIN cannot rewrite the record unnoticed.
// What is sent last is noted in HOME/checkpoint.sent; where that is not the newest checkpoint, the newest is sent before anything is done.

namespace kmtool::op {

/// Before a module is loaded: the process that will start the sink's command, where it has one. Throws what command_words() does.
void prepare_sink(Context& context);
/// A mutation begins: sends the newest checkpoint where it has not arrived. Throws io (74): nothing was done.
void settle_sink(Context& context);
/// The newest checkpoint, just signed. It is kept in the context's state where it does not arrive: require_sent() says so.
void send_checkpoint(Context& context) noexcept;
/// Throws io (74) where the newest checkpoint has not arrived, once, saying how things stand.
void require_sent(Context& context, const std::string& standing);

}  // namespace kmtool::op
