#pragma once
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "kmtool/core/file.hpp"

namespace kmtool {

/// COMMAND as words: split at blanks, no shell; a program without a folder is looked for in the system's. It must exist, be executable and
/// not writable by others; throws usage (64) and configuration (78) naming `option`, missing (66).
std::vector<std::string> command_words(const std::string& command, const std::string& option);

/// A small process forked before the PKCS#11 module is loaded (a process must not fork after that), which starts programs: no shell, an
/// environment of its own, nothing inherited but standard error.
class Runner {
 public:
  Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;
  ~Runner();

  struct Job {
    std::vector<std::string> words;
    std::vector<std::string> environment;  ///< NAME=VALUE, besides PATH, HOME and LANG
    std::string_view input;                ///< standard input, at most 32 KiB; empty: /dev/null
    std::chrono::seconds longest{600};     ///< it is killed after that
  };
  static constexpr int left_running = -1;  ///< the runner was ended before the program was
  /// Exit code, 128 + signal, 127: it could not be started (or ended so itself), or left_running.
  int run(const Job& job);
  /// `ended with exit code 3`; empty: it succeeded.
  static std::string outcome_of(int status);

 private:
  Fd channel_;
  int child_ = -1;
};

}  // namespace kmtool
