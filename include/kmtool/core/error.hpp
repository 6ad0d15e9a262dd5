#pragma once
#include <exception>
#include <string>

namespace kmtool {

/// Process exit codes (sysexits.h where it has one); the numbers are a contract with scripts.
enum class ExitCode : int {
  done = 0,
  no = 1,            ///< the answer is no: findings, an untrusted signer, a denied API key
  usage = 64,        ///< the command line is wrong
  damaged = 65,      ///< data damaged, tampered with or falsely signed
  missing = 66,      ///< an input does not exist
  unavailable = 69,  ///< token or module unavailable
  internal = 70,     ///< a fault of kmtool itself, or a token that breaks its contract
  exists = 73,       ///< output exists or cannot be created
  io = 74,           ///< reading or writing failed
  busy = 75,         ///< somebody else holds it; try again
  refused = 77,      ///< refused by policy, by a rule, or by the token's PIN check
  config = 78,       ///< configuration or policy file is wrong
};

/// The one exception type of the program; caught once, in main.
///
/// `message` and `hint` are lower case, one line, no full stop, never a secret. `code` is a short stable word for scripts:
/// a rule id ("G-KEK"), a CKR name ("CKR_PIN_INCORRECT"), or a class such as "tampered".
class Error : public std::exception {
 public:
  Error(ExitCode exit, std::string code, std::string message, std::string hint = {});

  [[nodiscard]] ExitCode exit() const noexcept { return exit_; }
  [[nodiscard]] const std::string& code() const noexcept { return code_; }
  [[nodiscard]] const std::string& message() const noexcept { return message_; }
  [[nodiscard]] const std::string& hint() const noexcept { return hint_; }
  [[nodiscard]] const char* what() const noexcept override { return message_.c_str(); }

  static Error no(std::string message, std::string hint = {});
  static Error usage(std::string message, std::string hint = {});
  static Error tampered(std::string message, std::string hint = {});
  static Error missing(std::string message, std::string hint = {});
  static Error unavailable(std::string message, std::string hint = {});
  static Error internal(std::string message, std::string hint = {});
  static Error exists(std::string message, std::string hint = {});
  static Error io(std::string message, std::string hint = {});
  /// `what` is the failed action ("write", "open"), `path` the file; the errno text is added. ENOENT maps to missing (66)
  /// when reading, EACCES and others to io (74).
  static Error from_errno(const std::string& what, const std::string& path, int error_number);
  static Error busy(std::string message, std::string hint = {});
  /// `rule` is an id of the rulebook (G-KEK…) or a policy word.
  static Error refused(std::string rule, std::string message, std::string hint = {});
  static Error config(std::string message, std::string hint = {});

 private:
  ExitCode exit_;
  std::string code_;
  std::string message_;
  std::string hint_;
};

}  // namespace kmtool
