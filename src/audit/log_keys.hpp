#pragma once
#include <vector>

#include "kmtool/audit/record.hpp"
#include "kmtool/op/context.hpp"
#include "kmtool/tlog/cosignature.hpp"

namespace kmtool::audit {

/// A log signer of the home, and the first checkpoint (its number of entries) that is its to sign.
struct LogKey {
  std::uint64_t from = 0;
  std::uint64_t introduced = 0;  ///< the entry that names it first
  crypto::PublicKey key;
};
/// Oldest first. Where there was more than one, the journal is read for the entries that introduced them.
std::vector<LogKey> log_keys(op::Context& reader);
/// True when the note is signed by the key whose turn it was.
bool signed_in_turn(const std::vector<LogKey>& keys, const std::string& origin, std::uint64_t size, const std::string& note);
/// Those of these that cosigned; throws damaged (65) naming one that did not.
std::vector<std::pair<std::string, UnixTime>> require_witnesses(const tlog::Note& note, const std::vector<tlog::VerifierKey>& witnesses);

/// The proof as a file.
std::string consistency_file(const tlog::Checkpoint& older, const Newest& newest, tlog::Proof proof);

}  // namespace kmtool::audit
