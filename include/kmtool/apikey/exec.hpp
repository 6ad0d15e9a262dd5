#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "kmtool/core/secret.hpp"
#include "kmtool/op/context.hpp"

namespace kmtool::apikey {

struct ExecRequest {
  std::string app;
  struct Set {
    std::string variable;  ///< [A-Za-z_][A-Za-z0-9_]*
    std::string name;      ///< of a stored key, or `@ENVIRONMENT` (`@` alone: `@default`) for the application's own issued key
    /// `VAR=NAME`; throws usage (64).
    static Set parse(const std::string& text);
  };
  std::vector<Set> set;
  std::vector<std::string> command;
  bool only = false;       ///< of the caller's environment, only PATH, HOME, LANG, TERM and the like
};

/// `VAR=value` texts on the secret heap, and the caller's other variables without those of kmtool itself.
class ChildEnvironment {
 public:
  /// Notes the caller's variables: to be made before a home is opened, which sets SOFTHSM2_CONF for an embedded token.
  ChildEnvironment();
  void add(const std::string& variable, const SecretBytes& value);
  void inherit(bool only, const std::string& pin_source);
  /// For execve; holds as long as this lives.
  [[nodiscard]] std::vector<char*> block() const;

 private:
  [[nodiscard]] bool has(const std::string& variable) const;
  std::vector<SecretBytes> secrets_;
  std::vector<std::string> names_;
  std::vector<char*> callers_, inherited_;
};

/// Opens the keys in the token and journals that they were handed out (names and program, never a value).
void prepare(op::Context& context, const ExecRequest& request, ChildEnvironment& environment);
/// Becomes the command: the environment is the process's from its first instruction on, and no process of kmtool is left. No shell: PATH is
/// searched for command[0], and a script without #! is refused. Throws missing (66) where there is no such program, io (74) otherwise.
[[noreturn]] void become(const ChildEnvironment& environment, const std::vector<std::string>& command, mode_t file_mask);
/// Where command[0] is found. Throws missing (66).
std::string program_path(const std::string& word);

}  // namespace kmtool::apikey
