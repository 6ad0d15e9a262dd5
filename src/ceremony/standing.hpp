#pragma once
#include <optional>
#include <string>
#include <vector>

#include "kmtool/op/context.hpp"

namespace kmtool::ceremony {

/// How far a ceremony has come: a row of the catalog (kind `ceremony`, id = the ceremony's), proven by the journal. It is gone
/// when the transcript is signed.
struct Standing {
  enum class Phase {
    ready,    ///< the next step has not begun
    begun,    ///< its command was started
    ran,      ///< its command has ended; the people have not signed it off
    closing,  ///< all steps are done
  };
  std::string id;
  std::string transcript;  ///< absolute path
  std::string runbook;     ///< SHA-256, hex
  std::string conductor, witness;                    ///< names
  std::string conductor_initials, witness_initials;  ///< as they signed off the first step; empty until then
  UnixTime begun = 0;
  std::size_t done = 0, deviations = 0;
  Phase phase = Phase::ready;
  std::uint64_t since = 0;            ///< entries of the journal when the command was started
  int exit = 0;                       ///< of the command that ran
  std::vector<std::string> problems;  ///< and what did not hold
  std::uint64_t size = 0;             ///< of the unfinished transcript, and its
  std::string digest;                 ///< SHA-256, hex

  [[nodiscard]] journal::Change change() const;
  [[nodiscard]] journal::Change removal() const { return {"ceremony", id, std::nullopt}; }
};
/// The open ceremony for this transcript.
std::optional<Standing> open_ceremony(op::Context& context, const std::string& transcript);

/// The journal's entry, from `since` on, which says that this command was done; nullopt where it says nothing of the kind.
std::optional<std::uint64_t> entry_of(op::Context& context, std::uint64_t since, const std::vector<std::string>& argv);

}  // namespace kmtool::ceremony
