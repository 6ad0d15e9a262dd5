#pragma once
#include <string>
#include <vector>

namespace kmtool::cmd::completion {

/// The tree of commands as the three shells need it: made from CLI11's own, so that they cannot drift apart.

enum class Kind { nothing, file, folder, key, kek, choice };

struct Value {
  Kind kind = Kind::nothing;
  std::vector<std::string> choices;
};
struct OptionNode {
  std::vector<std::string> names;  ///< with their dashes
  std::string help;
  bool takes_value = false;
  Value value;
};
struct CommandNode {
  std::string path;  ///< words after `kmtool`, e.g. `signer trust`; empty: kmtool itself
  std::string name, help;
  std::vector<std::string> commands, formats;
  std::vector<OptionNode> options;
  std::vector<Value> positionals;
};

/// The first node is kmtool itself.
std::string bash_script(const std::vector<CommandNode>& nodes);
std::string zsh_script(const std::vector<CommandNode>& nodes);
std::string fish_script(const std::vector<CommandNode>& nodes);

}  // namespace kmtool::cmd::completion
