#pragma once
#include "op/state.hpp"

// Policy checkpoint_sink: every signed checkpoint leaves the host, so that even whoever holds the PIN cannot rewrite the record unnoticed.
// What is sent last is noted in HOME/checkpoint.sent; where that is not the newest checkpoint, the newest is sent before anything is done.
// The sink that counts is the accepted policy's: a policy.json that nobody accepted switches none off and starts no program.

namespace kmtool::op {

/// Before a module is loaded: the process that will start the sink's command, where it has one. Throws what command_words() does where
/// something will be changed; who only looks may have a refusal to record, and needs no sink before that.
void prepare_sink(Context& context, Need need);
/// After policy.json was read again: a program that it names since then cannot be started from a process that has loaded the token's module.
/// Throws busy (75).
void require_sink_runner(Context& context);
/// The policy in force changes to that of policy.json: the sink so far, where it is another and known from the record.
std::optional<Sink> outgoing_sink(Context& context);
/// From here on checkpoints go to policy.json's sink too, where it has one; it has taken the newest one. Throws io (74).
void add_incoming_sink(Context& context);
/// Only policy.json's sink is left.
void drop_outgoing_sink(Context& context);
/// A mutation begins: sends the newest checkpoint where it has not arrived. Throws io (74): nothing was done.
void settle_sink(Context& context);
/// The newest checkpoint, just signed. It is kept in the context's state where it does not arrive: require_sent() says so.
void send_checkpoint(Context& context) noexcept;
/// Throws io (74) where the newest checkpoint has not arrived, once, saying how things stand.
void require_sent(Context& context, const std::string& standing);

}  // namespace kmtool::op
