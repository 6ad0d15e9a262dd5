#pragma once
#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kmtool/ceremony/runbook.hpp"
#include "kmtool/core/file.hpp"
#include "kmtool/core/secret.hpp"

namespace kmtool::cmd {

/// Starts this program for the steps of a ceremony. A process of its own, forked before any module is loaded (a process that has
/// one loaded must not fork). It ends when this object does, or, when kmtool itself is killed, with the command that runs.
class ProgramRunner {
 public:
  /// Commands work in `folder`. `lock`: a file that is locked as long as any of its commands runs,
  /// also beyond our own end (waits half a minute for another one; 75); may be empty.
  explicit ProgramRunner(const std::filesystem::path& folder, const std::filesystem::path& lock = {});
  ProgramRunner(const ProgramRunner&) = delete;
  ProgramRunner& operator=(const ProgramRunner&) = delete;
  ~ProgramRunner();
  /// The PIN that every command is handed (KMTOOL_PIN_SOURCE=fd:…), where it was asked for once.
  void give_pin(SecretBytes pin) { pin_ = std::move(pin); }
  /// Waits for its end.
  ceremony::Ran run(const std::vector<std::string>& argv, const std::filesystem::path& home, const std::string& pin_source);

  /// A PIN source of our own process that reads this PIN: `fd:N`, good for one reading.
  static std::string pin_source_of(const SecretBytes& pin, Fd& keeps);

 private:
  Fd lock_, channel_, out_, err_, pin_in_, pin_out_;
  pid_t child_ = -1;
  SecretBytes pin_;
};

}  // namespace kmtool::cmd
